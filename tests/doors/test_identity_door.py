"""The built-in directory over real HTTP, as web clients of GoTrue's shape use it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import jwt
import pytest

from interlock.kit.ids import RandomIds
from served import RunningServer

PASSWORD = "correct horse battery"


@pytest.fixture
async def client(server: RunningServer) -> AsyncIterator[httpx2.AsyncClient]:
    """A client as supabase-js is one: with the project's key in two headers, neither of which means anything here."""
    async with httpx2.AsyncClient(base_url=server.url, headers={"apikey": "any"}, timeout=30) as client:
        yield client


def address() -> str:
    return f"{RandomIds().new().hex}@example.org"


async def signed_up(client: httpx2.AsyncClient, email: str | None = None, **more: Any) -> dict[str, Any]:
    answer = await client.post("/auth/v1/signup", json={"email": email or address(), "password": PASSWORD, **more})
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


async def logged_in(client: httpx2.AsyncClient, email: str, password: str = PASSWORD) -> httpx2.Response:
    body = {"email": email, "password": password, "gotrue_meta_security": {}}
    return await client.post("/auth/v1/token?grant_type=password", json=body)


async def renewed(client: httpx2.AsyncClient, refresh_token: str) -> httpx2.Response:
    return await client.post("/auth/v1/token?grant_type=refresh_token", json={"refresh_token": refresh_token})


def bearer(login: dict[str, Any]) -> dict[str, str]:
    return {"authorization": f"Bearer {login['access_token']}"}


async def test_signing_up_logs_in_and_gives_a_tenant_of_ones_own(client: httpx2.AsyncClient) -> None:
    email = address()
    login = await signed_up(client, email.upper(), data={"name": "Ann", "interlock_role": "admin"})
    assert set(login) == {"access_token", "token_type", "expires_in", "expires_at", "refresh_token", "user"}
    assert (login["token_type"], login["expires_in"]) == ("bearer", 3600)
    user = login["user"]
    needed = {"id", "aud", "role", "email", "email_confirmed_at", "created_at", "updated_at", "app_metadata"}
    assert needed | {"user_metadata"} <= set(user)
    assert (user["aud"], user["role"], user["email"]) == ("authenticated", "authenticated", email)
    assert user["app_metadata"]["interlock_role"] == "member"
    assert user["app_metadata"]["tenant_id"] == user["id"]
    assert user["user_metadata"] == {"name": "Ann", "interlock_role": "admin"}
    claims = jwt.decode(login["access_token"], options={"verify_signature": False})
    assert (claims["sub"], claims["exp"], claims["aud"]) == (user["id"], login["expires_at"], "authenticated")


async def test_the_token_opens_the_app_door_and_nobody_elses_tenant(client: httpx2.AsyncClient) -> None:
    ann, ben = await signed_up(client), await signed_up(client)
    made = await client.post(
        "/api/app/workflows", json={"name": "mine", "nodes": [{"id": "a", "type": "echo"}]}, headers=bearer(ann)
    )
    assert made.status_code == 200, made.text
    path = f"/api/app/workflows/{made.json()['workflow_id']}"
    assert (await client.get(path, headers=bearer(ann))).status_code == 200
    assert (await client.get(path, headers=bearer(ben))).status_code == 404
    assert (await client.get("/api/app/users", headers=bearer(ann))).status_code == 403


async def test_anybody_can_check_the_token_with_the_public_keys(client: httpx2.AsyncClient) -> None:
    login = await signed_up(client)
    keys = jwt.PyJWKSet.from_dict((await client.get("/auth/v1/.well-known/jwks.json")).json())
    header = jwt.get_unverified_header(login["access_token"])
    assert header["alg"] == "ES256"
    claims = jwt.decode(
        login["access_token"], keys[header["kid"]].key, ["ES256"], issuer="interlock", audience="authenticated"
    )
    assert claims["sub"] == login["user"]["id"]
    assert "d" not in (await client.get("/auth/v1/.well-known/jwks.json")).json()["keys"][0], "no private part"


async def test_wrong_credentials_are_answered_in_the_same_words_for_everybody(client: httpx2.AsyncClient) -> None:
    email = (await signed_up(client))["user"]["email"]
    known = await logged_in(client, email, "wrong password")
    unknown = await logged_in(client, address())
    assert known.status_code == unknown.status_code == 400
    assert known.json() == unknown.json()
    assert set(known.json()) == {"code", "error_code", "error", "error_description", "msg"}
    assert (known.json()["code"], known.json()["error_code"]) == (400, "invalid_credentials")
    assert known.json()["error"] == "invalid_grant"
    assert (await logged_in(client, email)).status_code == 200


async def test_a_refresh_token_works_once_and_its_second_use_ends_the_login(client: httpx2.AsyncClient) -> None:
    login = await signed_up(client)
    second = await renewed(client, login["refresh_token"])
    assert second.status_code == 200
    assert second.json()["refresh_token"] != login["refresh_token"]
    third = (await renewed(client, second.json()["refresh_token"])).json()
    stolen = await renewed(client, login["refresh_token"])
    assert (stolen.status_code, stolen.json()["error_code"]) == (400, "refresh_token_already_used")
    after = await renewed(client, third["refresh_token"])
    assert (after.status_code, after.json()["error_code"]) == (400, "refresh_token_not_found")
    assert (await client.get("/auth/v1/user", headers=bearer(third))).status_code == 401


async def test_the_user_is_shown_and_may_change_what_is_theirs(client: httpx2.AsyncClient) -> None:
    login = await signed_up(client, data={"name": "Ann", "theme": "dark"})
    other = (await logged_in(client, login["user"]["email"])).json()
    shown = await client.get("/auth/v1/user", headers=bearer(login))
    assert (shown.status_code, shown.json()["id"]) == (200, login["user"]["id"])
    body = {"password": "another password", "data": {"theme": None, "city": "Ulm"}}
    changed = await client.put("/auth/v1/user", json=body, headers=bearer(login))
    assert changed.json()["user_metadata"] == {"name": "Ann", "city": "Ulm"}
    assert (await renewed(client, other["refresh_token"])).status_code == 400, "other logins have ended"
    assert (await renewed(client, login["refresh_token"])).status_code == 200, "this one has not"
    assert (await logged_in(client, login["user"]["email"])).status_code == 400
    assert (await logged_in(client, login["user"]["email"], "another password")).status_code == 200
    moved = await client.put("/auth/v1/user", json={"email": address()}, headers=bearer(login))
    assert (moved.status_code, moved.json()["error_code"]) == (422, "email_change_disabled")


@pytest.mark.parametrize(("scope", "this", "that"), [("local", 400, 200), ("others", 200, 400), ("global", 400, 400)])
async def test_logging_out_ends_the_logins_that_are_meant(
    client: httpx2.AsyncClient, scope: str, this: int, that: int
) -> None:
    first = await signed_up(client)
    second = (await logged_in(client, first["user"]["email"])).json()
    left = await client.post(f"/auth/v1/logout?scope={scope}", headers=bearer(first))
    assert (left.status_code, left.content) == (204, b"")
    assert (await renewed(client, first["refresh_token"])).status_code == this
    assert (await renewed(client, second["refresh_token"])).status_code == that
    shown = await client.get("/auth/v1/user", headers=bearer(first))
    assert shown.status_code == (200 if this == 200 else 401)


async def test_without_a_login_there_is_no_user(client: httpx2.AsyncClient, server: RunningServer) -> None:
    for headers, error_code in (({}, "no_authorization"), ({"authorization": "Bearer a.b.c"}, "bad_jwt")):
        for method, path in (("GET", "/auth/v1/user"), ("POST", "/auth/v1/logout")):
            refused = await client.request(method, path, headers=headers)
            assert (refused.status_code, refused.json()["error_code"]) == (401, error_code)
    local = await client.get("/auth/v1/user", headers={"authorization": f"Bearer {server.token}"})
    assert local.status_code == 401, "the local user has no account"


async def test_the_key_of_a_project_in_the_authorization_header_stops_nobody_from_logging_in(
    client: httpx2.AsyncClient,
) -> None:
    headers = {"authorization": "Bearer any", "x-client-info": "supabase-js-web/2"}
    body = {"email": address(), "password": PASSWORD}
    assert (await client.post("/auth/v1/signup", json=body, headers=headers)).status_code == 200
    answer = await client.post("/auth/v1/token?grant_type=password", json=body, headers=headers)
    assert answer.status_code == 200


@pytest.mark.parametrize(
    ("body", "status", "error_code"),
    [
        ({"email": "a@example.org", "password": "short"}, 422, "weak_password"),
        ({"email": "a@example.org", "password": "x" * 2000}, 422, "weak_password"),
        ({"email": "nobody", "password": PASSWORD}, 422, "validation_failed"),
        ({"email": "a b@example.org", "password": PASSWORD}, 422, "validation_failed"),
        ({"email": 7, "password": PASSWORD}, 422, "validation_failed"),
        ({"data": {}}, 422, "anonymous_provider_disabled"),
        ({"email": "b@example.org", "password": PASSWORD, "data": {"x": "y" * 20_000}}, 422, "validation_failed"),
    ],
)
async def test_what_cannot_be_an_account_is_refused(
    client: httpx2.AsyncClient, body: dict[str, Any], status: int, error_code: str
) -> None:
    refused = await client.post("/auth/v1/signup", json=body)
    assert (refused.status_code, refused.json()["error_code"]) == (status, error_code)


async def test_the_token_of_somebody_with_much_to_say_is_still_taken(client: httpx2.AsyncClient) -> None:
    login = await signed_up(client, data={"text": "é" * 680})
    assert (await client.get("/api/app/workflows", headers=bearer(login))).status_code == 200
    refused = await client.put("/auth/v1/user", json={"data": {"more": "é" * 10}}, headers=bearer(login))
    assert (refused.status_code, refused.json()["error_code"]) == (422, "validation_failed")


async def test_an_address_signs_up_once(client: httpx2.AsyncClient) -> None:
    email = (await signed_up(client))["user"]["email"]
    again = await client.post("/auth/v1/signup", json={"email": email.title(), "password": PASSWORD})
    assert (again.status_code, again.json()["error_code"]) == (422, "user_already_exists")


async def test_signing_up_logging_in_and_renewing_count_once_under_a_key(client: httpx2.AsyncClient) -> None:
    email, body = address(), {"password": PASSWORD}

    async def twice(path: str, body: dict[str, str]) -> dict[str, Any]:
        headers = {"idempotency-key": RandomIds().new().hex}
        first, again = [await client.post(f"/auth/v1/{path}", json=body, headers=headers) for _ in range(2)]
        assert (first.status_code, again.status_code) == (200, 200), again.text
        assert again.content == first.content
        assert "idempotency-replayed" not in first.headers
        assert again.headers["idempotency-replayed"] == "true"
        other = await client.post(f"/auth/v1/{path}", json={**body, "data": {}}, headers=headers)
        assert (other.status_code, other.json()["error_code"]) == (422, "idempotency_mismatch")
        told: dict[str, Any] = first.json()
        return told

    made = await twice("signup", {"email": email, **body})
    login = await twice("token?grant_type=password", {"email": email, **body})
    assert login["user"]["id"] == made["user"]["id"]
    renewed = await twice("token?grant_type=refresh_token", {"refresh_token": login["refresh_token"]})
    assert (await client.get("/auth/v1/user", headers=bearer(renewed))).status_code == 200, "a repeat ends no login"


async def test_strangers_who_choose_the_same_key_do_not_meet(client: httpx2.AsyncClient) -> None:
    headers = {"idempotency-key": "1"}
    bodies = [{"email": address(), "password": PASSWORD} for _ in range(2)]
    made = [await client.post("/auth/v1/signup", json=body, headers=headers) for body in bodies]
    assert [answer.json()["user"]["email"] for answer in made] == [body["email"] for body in bodies]
    own = [await client.post("/auth/v1/token?grant_type=password", json=body, headers=headers) for body in bodies]
    assert [answer.json()["user"]["email"] for answer in own] == [body["email"] for body in bodies]


async def test_a_refused_login_does_not_use_a_key_up(client: httpx2.AsyncClient) -> None:
    email = (await signed_up(client))["user"]["email"]
    headers = {"idempotency-key": RandomIds().new().hex}
    for password, status in (("wrong password", 400), (PASSWORD, 200)):
        body = {"email": email, "password": password}
        answer = await client.post("/auth/v1/token?grant_type=password", json=body, headers=headers)
        assert answer.status_code == status


async def test_another_grant_is_refused(client: httpx2.AsyncClient) -> None:
    for query in ("", "?grant_type=pkce", "?grant_type=id_token"):
        refused = await client.post(f"/auth/v1/token{query}", json={})
        assert (refused.status_code, refused.json()["error_code"]) == (400, "invalid_request")


async def test_ten_failures_close_the_account_for_this_address(client: httpx2.AsyncClient) -> None:
    email = (await signed_up(client))["user"]["email"]
    answers = await asyncio.gather(*(logged_in(client, email, f"wrong {number}") for number in range(12)))
    assert sorted(answer.status_code for answer in answers) == [400] * 10 + [429] * 2
    closed = await logged_in(client, email)
    assert (closed.status_code, closed.json()["error_code"]) == (429, "over_request_rate_limit")
    assert 0 < int(closed.headers["retry-after"]) <= 600
    assert (await logged_in(client, address())).status_code == 400, "others are not concerned"


async def test_what_clients_ask_first(client: httpx2.AsyncClient) -> None:
    assert (await client.get("/auth/v1/health")).json()["name"] == "interlock"
    settings = (await client.get("/auth/v1/settings")).json()
    assert (settings["external"]["email"], settings["external"]["google"]) == (True, False)
    assert settings["mailer_autoconfirm"] is True


async def test_answers_with_tokens_are_kept_by_nobody(client: httpx2.AsyncClient) -> None:
    answer = await client.post("/auth/v1/signup", json={"email": address(), "password": PASSWORD})
    assert answer.headers["cache-control"] == "no-store"
