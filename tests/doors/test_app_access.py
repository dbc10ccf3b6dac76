"""API keys, stream tickets and the audit log over the app door."""

from __future__ import annotations

import asyncio
import dataclasses
import hashlib
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import asyncpg
import httpx2
import pytest

from interlock.backends.limiter.memory import MemoryLimiter
from interlock.core.limits import LimitTable
from interlock.core.principal import Scope
from interlock.core.signed_request import SignedRequest, from_text
from interlock.doors.http.app_factory import build_app
from interlock.doors.http.plumbing.client import ClientAddresses
from interlock.doors.http.plumbing.limits import Limits
from interlock.kit.ids import RandomIds
from interlock.services.limits import CountRequests


@pytest.fixture
async def admin(make_caller: Any) -> Any:
    """Somebody who holds every scope in a fresh tenant."""
    return await make_caller(scopes=frozenset(Scope))


async def made(admin: Any, **wishes: Any) -> dict[str, Any]:
    body = {"client_name": "ci", "scopes": ["executions:read"], **wishes}
    answer = await admin.post("/api-keys", body)
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


async def listed(admin: Any) -> list[dict[str, Any]]:
    return list((await admin.get("/api-keys")).json()["api_keys"])


# Keys -----------------------------------------------------------------------------------------------------------


async def test_a_new_key_is_shown_once_and_listed_without_its_secret(admin: Any) -> None:
    key = await made(admin, rate_limit_tier="premium", expires_in_days=1, allowed_tools=["a"], signing=True)
    assert key["key"].startswith(f"il_local_{key['public_id']}_")
    assert key["key"].endswith(key["last4"])
    assert len(from_text(key["signing_secret"])) == 32
    (shown,) = await listed(admin)
    assert shown == {name: value for name, value in key.items() if name not in ("key", "signing_secret")}
    assert (shown["active"], shown["rate_limit_tier"], shown["allowed_tools"]) == (True, "premium", ["a"])
    assert key["key"] not in (await admin.get("/api-keys")).text


@pytest.mark.parametrize(
    "wishes",
    [
        {"scopes": ["executions:fly"]},
        {"scopes": []},
        {"client_name": ""},
        {"rate_limit_tier": "gold"},
        {"expires_at": "2020-01-01T00:00:00Z"},
        {"expires_at": "2030-01-01T00:00:00"},
        {"expires_at": "2030-01-01T00:00:00Z", "expires_in_days": 3},
        {"tenant": "other"},
        {"digest": "x"},
    ],
)
async def test_a_key_that_makes_no_sense_is_not_made(admin: Any, wishes: dict[str, Any]) -> None:
    answer = await admin.post("/api-keys", {"client_name": "ci", "scopes": ["executions:read"], **wishes})
    assert (answer.status_code, answer.json()["error_code"]) == (400, "VALIDATION_ERROR")
    assert await listed(admin) == []


async def test_a_key_is_made_for_no_other_tenant(admin: Any) -> None:
    answer = await admin.post("/api-keys", {"client_name": "n", "scopes": ["admin"], "tenant_id": "other"})
    assert (answer.status_code, answer.json()["error_code"]) == (403, "TENANT_MISMATCH")


async def test_only_administrators_look_after_keys_and_read_the_log(caller: Any, admin: Any) -> None:
    key = await made(admin)
    for method, path in (
        ("GET", "/api-keys"),
        ("POST", "/api-keys"),
        ("POST", f"/api-keys/{key['id']}/rotate"),
        ("DELETE", f"/api-keys/{key['id']}"),
        ("GET", "/audit"),
    ):
        answer = await caller.http.request(method, "/api/app" + path, json={} if method == "POST" else None)
        assert (answer.status_code, answer.json()["required_scopes"]) == (403, ["admin"]), path


async def test_keys_of_another_tenant_are_unknown(admin: Any, make_caller: Any) -> None:
    stranger = await make_caller(scopes=frozenset(Scope))
    key = await made(admin)
    for reference in (key["id"], key["public_id"], "nothing", "0" * 36):
        assert (await stranger.http.delete(f"/api/app/api-keys/{reference}")).status_code == 404
        assert (await stranger.post(f"/api-keys/{reference}/rotate")).status_code == 404
    assert await listed(stranger) == []
    assert [one["active"] for one in await listed(admin)] == [True]


async def test_a_rotated_key_and_its_successor_are_both_good_for_a_while(admin: Any, house: Any) -> None:
    old = await made(admin, allowed_models=["m"], signing=True)
    new = (await admin.post(f"/api-keys/{old['public_id']}/rotate", {"grace_seconds": 3600})).json()
    assert (new["client_name"], new["scopes"], new["allowed_models"]) == ("ci", ["executions:read"], ["m"])
    assert new["key"] != old["key"]
    for text in (old["key"], new["key"]):
        assert (await house.services.identity.authenticate(text)).tenant_id == admin.tenant_id
    newest, oldest = await listed(admin)
    assert (oldest["replaced_by"], newest["expires_at"]) == (newest["id"], None)
    assert oldest["expires_at"] is not None
    assert (await admin.post(f"/api-keys/{old['id']}/rotate")).status_code == 409


async def test_a_key_rotated_without_grace_is_over_at_once(admin: Any) -> None:
    old = await made(admin)
    assert (await admin.post(f"/api-keys/{old['id']}/rotate", {"grace_seconds": 0})).status_code == 201
    assert [one["active"] for one in await listed(admin)] == [True, False]


async def test_a_key_can_be_revoked_twice(admin: Any) -> None:
    key = await made(admin)
    answers = [await admin.http.delete(f"/api/app/api-keys/{key['id']}") for _ in range(2)]
    assert [answer.status_code for answer in answers] == [200, 200]
    assert answers[0].json()["revoked_at"][:19] == answers[1].json()["revoked_at"][:19]
    assert (await admin.post(f"/api-keys/{key['id']}/rotate")).status_code == 409


async def test_the_app_door_takes_no_key(admin: Any, nobody: Any) -> None:
    key = await made(admin, scopes=["admin"])
    for headers in ({"x-api-key": key["key"]}, {"authorization": f"Bearer {key['key']}"}):
        answer = await nobody.get("/api/app/executions", headers=headers)
        assert (answer.status_code, answer.json()["reason"]) == (401, "invalid_token")


async def test_a_signed_request_counts_once_and_only_as_it_was_signed(admin: Any, house: Any) -> None:
    key = await made(admin, signing=True)
    plain = await made(admin)
    identity = house.services.access.key_identity

    def signed(public_id: str = key["public_id"], seconds: float = 0, **changes: Any) -> SignedRequest:
        at = house.clock.now() + timedelta(seconds=seconds)
        parts = {
            "public_id": public_id,
            "timestamp": str(int(at.timestamp())),
            "nonce": hashlib.sha256(str(house.ids.new()).encode()).hexdigest()[:20],
            "signature": "v1=",
            "method": "POST",
            "raw_path": b"/api/mcp/invoke",
            "raw_query": b"",
            "body": b"{}",
        }
        unsigned = SignedRequest(**parts)
        signature = "v1=" + unsigned.sign(from_text(key["signing_secret"]))
        return SignedRequest(**{**parts, "signature": signature, **changes})

    good = signed()
    assert (await identity.authenticate_signed(good)).subject == f"key:{key['public_id']}"
    wrong = [
        good,
        signed(body=b"{} "),
        signed(method="PUT"),
        signed(seconds=-301),
        signed(seconds=301),
        signed(public_id=plain["public_id"]),
        signed(public_id="x" * 12),
    ]
    for request in wrong:
        assert await refusal_of(identity.authenticate_signed(request)) == "invalid_signature"
    raced = signed()
    outcomes = await asyncio.gather(*(identity.authenticate_signed(raced) for _ in range(10)), return_exceptions=True)
    assert sum(not isinstance(outcome, Exception) for outcome in outcomes) == 1
    await admin.http.delete(f"/api/app/api-keys/{key['id']}")
    assert await refusal_of(identity.authenticate_signed(signed())) == "client_disabled"


async def refusal_of(work: Any) -> str:
    try:
        await work
    except Exception as error:
        return str(getattr(error, "details", {}).get("reason"))
    return "taken"


# Tickets --------------------------------------------------------------------------------------------------------

WAITING = {"nodes": [{"id": "w", "type": "wait", "parameters": {"signal": "GO"}}]}


async def test_a_ticket_opens_its_stream_once(caller: Any, house: Any, open_stream: Callable[..., Any]) -> None:
    execution_id = await caller.started(WAITING)
    path = f"/api/app/executions/{execution_id}/stream"
    answer = await caller.post("/stream-tickets", {"resource": path})
    assert (answer.status_code, answer.json()["expires_in"]) == (201, 60)
    app, query = house.app(is_local=False), f"ticket={answer.json()['ticket']}"
    stream = open_stream(app, path, query=query)
    await stream.until(lambda one: "execution_started" in one.text)
    assert stream.status == 200
    again = open_stream(app, path, query=query)
    await again.end()
    assert again.status == 401


async def test_a_ticket_is_for_one_place_only_and_is_used_up_by_trying(caller: Any, nobody: Any) -> None:
    first, second = [await caller.started(WAITING) for _ in range(2)]
    path = f"/api/app/executions/{first}/stream"
    other = f"/api/app/executions/{second}/stream"
    ticket = (await caller.post("/stream-tickets", {"resource": path})).json()["ticket"]
    for tried in (f"/api/app/executions/{first}", other, path):
        assert (await nobody.get(tried, params={"ticket": ticket})).status_code == 401, tried


async def test_a_ticket_shows_nothing_its_maker_may_not_see(caller: Any, make_caller: Any, nobody: Any) -> None:
    execution_id = await caller.started(WAITING)
    stranger = await make_caller()
    path = f"/api/app/executions/{execution_id}/stream"
    ticket = (await stranger.post("/stream-tickets", {"resource": path})).json()["ticket"]
    assert (await nobody.get(path, params={"ticket": ticket})).status_code == 404


@pytest.mark.parametrize("resource", ["", "x", "/a?b=1", "/a#b", "/" + "x" * 600])
async def test_a_ticket_is_for_a_path(caller: Any, resource: str) -> None:
    assert (await caller.post("/stream-tickets", {"resource": resource})).status_code == 400


# The log --------------------------------------------------------------------------------------------------------


async def entries(admin: Any, **query: Any) -> list[dict[str, Any]]:
    answer = await admin.get("/audit", params=query)
    assert answer.status_code == 200, answer.text
    return list(answer.json()["entries"])


async def test_every_change_stands_in_the_log_with_who_what_where_and_how(admin: Any) -> None:
    key = await made(admin)
    await admin.http.delete(f"/api/app/api-keys/{key['id']}", headers={"user-agent": "probe/1", "x-trace-id": "t-1"})
    revoked, created = await entries(admin)
    assert created["action"] == "POST /api/app/api-keys"
    assert revoked == {
        **revoked,
        "subject": admin.subject,
        "kind": "user",
        "action": "DELETE /api/app/api-keys/{key_id}",
        "target": key["id"],
        "outcome": "done",
        "status": 200,
        "code": "",
        "door": "app",
        "client": "127.0.0.1",
        "user_agent": "probe/1",
        "trace_id": "t-1",
    }
    assert key["key"] not in str([revoked, created])


async def test_a_refusal_stands_in_the_log_and_looking_does_not(admin: Any, make_caller: Any) -> None:
    viewer = await make_caller(admin.tenant_id, subject="viewer", scopes={Scope.EXECUTIONS_READ})
    assert (await viewer.get("/executions")).status_code == 200
    assert (await viewer.get("/api-keys")).status_code == 403
    assert (await viewer.post("/workflows", {})).status_code == 403
    found = [(one["action"], one["outcome"], one["code"]) for one in await entries(admin, subject="viewer")]
    assert found == [
        ("POST /api/app/workflows", "refused", "AUTHORIZATION_FAILED"),
        ("GET /api/app/api-keys", "refused", "AUTHORIZATION_FAILED"),
    ]


async def test_the_log_is_read_by_pages(admin: Any) -> None:
    for _ in range(5):
        await made(admin)
    first = (await admin.get("/audit", params={"limit": 2})).json()
    assert (len(first["entries"]), first["total_count"], first["has_more"]) == (2, 5, True)
    rest = (await admin.get("/audit", params={"limit": 9, "cursor": first["next_cursor"]})).json()
    assert (len(rest["entries"]), rest["has_more"], rest["next_cursor"]) == (3, False, None)
    assert (await admin.get("/audit", params={"cursor": "x"})).status_code == 400
    assert await entries(admin, action="DELETE") == []
    assert await entries(admin, until="2020-01-01T00:00:00Z") == []


async def test_another_tenant_reads_its_own_log_only(admin: Any, make_caller: Any) -> None:
    await made(admin)
    assert await entries(await make_caller(scopes=frozenset(Scope))) == []


async def test_text_that_no_database_holds_loses_no_entry(admin: Any) -> None:
    path = "/api/app/api-keys/a%00b%ED%A0%80/rotate"
    await admin.http.post(path, json={}, headers={"user-agent": "\x7f" + "x" * 999})
    assert (await entries(admin))[0]["status"] in (400, 404)


@pytest.mark.parametrize("credential", ["none", "wrong", "no scope"])
async def test_a_stream_that_was_refused_stands_in_the_log(
    admin: Any, make_caller: Any, house: Any, database: Any, credential: str
) -> None:
    narrow = await make_caller(admin.tenant_id, subject="narrow", scopes={Scope.WORKFLOWS_READ})
    bearer = {"none": "", "wrong": "Bearer nobody", "no scope": f"Bearer {narrow.token}"}[credential]
    headers = {"authorization": bearer, "x-trace-id": f"probe-{RandomIds().new().hex}"}
    app, log = house.app_with_log()
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://127.0.0.1:8000") as client:
        if not bearer:
            del headers["authorization"]
        answer = await client.get(f"/api/app/executions/{RandomIds().new()}/stream", headers=headers)
    assert answer.status_code == (403 if credential == "no scope" else 401)
    await log.flush()
    connection = await asyncpg.connect(database.superuser_url)
    row = await connection.fetchrow("select * from interlock.audit where trace_id = $1", headers["x-trace-id"])
    await connection.close()
    assert (row["action"], row["outcome"]) == ("GET /api/app/executions/{execution_id}/stream", "refused")
    assert row["tenant_id"] == (admin.tenant_id if credential == "no scope" else "")


async def test_the_log_names_who_is_behind_a_trusted_proxy_and_believes_nobody_else(
    house: Any, make_caller: Any
) -> None:
    context = house.context(is_local=False)
    count = CountRequests(LimitTable(None, is_local=True), MemoryLimiter(house.clock))
    for trusted, client in ((("loopback",), "203.0.113.7"), ((), "127.0.0.1")):
        limits = Limits(count, house.clock, ClientAddresses(trusted))
        app = build_app(dataclasses.replace(context, limits=limits), house.telemetry.expose)
        admin = await make_caller(app=app, scopes=frozenset(Scope))
        forwarded = {"x-forwarded-for": "198.51.100.9, 203.0.113.7"}
        await admin.post("/api-keys", {"client_name": "ci", "scopes": ["tools:read"]}, headers=forwarded)
        assert [one["client"] for one in await entries(admin)] == [client]


async def test_the_log_is_filtered_by_actor_action_outcome_target_and_time(admin: Any, make_caller: Any) -> None:
    other = await make_caller(admin.tenant_id, subject="other", scopes=frozenset(Scope))
    key, _ = await made(admin), await made(other)
    await other.http.delete(f"/api/app/api-keys/{key['id']}")
    await other.http.delete("/api/app/api-keys/nothing")
    everything = await entries(admin)
    assert len(everything) == 4
    second = everything[1]["at"]  # some may be of its millisecond
    for query, count in (
        ({"actor": "other"}, 3),
        ({"actor": admin.subject, "action": "POST "}, 1),
        ({"outcome": "refused"}, 1),
        ({"target": key["id"]}, 2),
        ({"since": second}, sum(entry["at"] >= second for entry in everything)),
        ({"until": second}, sum(entry["at"] < second for entry in everything)),
        ({"actor": "other", "action": "DELETE", "outcome": "done"}, 1),
    ):
        assert len(await entries(admin, **query)) == count, query


async def test_keys_are_listed_by_pages_by_name_and_by_state(admin: Any) -> None:
    names = ["build", "Deploy", "deploy-2"]
    issued = [await made(admin, client_name=name) for name in names]
    await admin.http.delete(f"/api/app/api-keys/{issued[0]['id']}")
    page = (await admin.get("/api-keys", params={"limit": 2})).json()
    assert ([one["client_name"] for one in page["api_keys"]], page["total"], page["has_more"]) == (
        ["deploy-2", "Deploy"],
        3,
        True,
    )
    for query, found in (
        ({"limit": 2, "offset": 2}, ["build"]),
        ({"search": "DEPLOY"}, ["deploy-2", "Deploy"]),
        ({"state": "over"}, ["build"]),
        ({"state": "active", "search": "build"}, []),
    ):
        answer = (await admin.get("/api-keys", params=query)).json()
        assert [one["client_name"] for one in answer["api_keys"]] == found, query
        assert answer["total_count"] == len(found) or "offset" in query
    assert (await admin.get("/api-keys", params={"state": "x"})).status_code == 400
