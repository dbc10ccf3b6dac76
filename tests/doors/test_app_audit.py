"""The audit log tells who was refused and what was made, and its operator can read all of it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest
from tests.tenants_house import until

from interlock.core.principal import LOCAL_TENANT, Scope
from interlock.kit.ids import RandomIds

BASE = "http://127.0.0.1:8000"


@pytest.fixture
async def admin(make_caller: Any) -> Any:
    return await make_caller(scopes=frozenset(Scope))


@pytest.fixture
async def operator(make_caller: Any) -> Any:
    return await make_caller(LOCAL_TENANT, scopes=frozenset(Scope))


@pytest.fixture
async def production(house: Any) -> AsyncIterator[httpx2.AsyncClient]:
    """A client without a credential of a server outside local mode."""
    transport = httpx2.ASGITransport(app=house.app(is_local=False))
    async with httpx2.AsyncClient(transport=transport, base_url=BASE) as client:
        yield client


async def entries(reader: Any, **query: Any) -> list[dict[str, Any]]:
    answer = await reader.get("/audit", params=query)
    assert answer.status_code == 200, answer.text
    return list(answer.json()["entries"])


async def key_of(admin: Any, *scopes: str) -> dict[str, Any]:
    answer = await admin.post("/api-keys", {"client_name": "ci", "scopes": list(scopes)})
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


async def test_a_true_credential_that_is_refused_is_named_to_its_tenant(
    admin: Any, production: httpx2.AsyncClient
) -> None:
    key, over = await key_of(admin, "executions:read"), await key_of(admin, "models:use")
    bearer = {"authorization": f"Bearer {admin.token}"}
    elsewhere = await production.get("/api/app/executions", headers={**bearer, "x-tenant-id": "somebody-else"})
    wrong_door = await production.get("/api/app/workflows", headers={"x-api-key": key["key"]})
    await admin.http.delete(f"/api/app/api-keys/{over['id']}")
    revoked = await production.get("/v1/models", headers={"x-api-key": over["key"]})
    assert [one.status_code for one in (elsewhere, wrong_door, revoked)] == [403, 401, 401]
    found = [(one["subject"], one["key_id"], one["action"], one["status"]) for one in await entries(admin)]
    of_key, of_over = [(f"key:{one['public_id']}", one["id"]) for one in (key, over)]
    assert (admin.subject, None, "GET /api/app/executions", 403) in found
    assert (*of_key, "GET /api/app/workflows", 401) in found
    assert (*of_over, "GET /v1/models", 401) in found


async def test_what_was_made_and_what_was_set_stands_in_the_log(admin: Any, operator: Any) -> None:
    key = await key_of(admin, "executions:read", "models:use")
    newer = (await admin.post(f"/api-keys/{key['id']}/rotate")).json()
    workflow_id = await admin.stored({"nodes": [{"id": "a", "type": "echo", "parameters": {"input": 1}}]})
    stored, rotated, created = await entries(admin)
    assert (created["target"], created["detail"]) == (key["id"], "scopes=executions:read,models:use tier=standard")
    assert rotated["target"] == key["id"]
    assert f"new={newer['id']} " in rotated["detail"]
    assert stored["target"] == workflow_id
    name = f"t-{RandomIds().new().hex}"
    assert (await operator.post("/tenants", {"name": name})).status_code == 201
    assert (await operator.put(f"/tenants/{name}", {"disabled": True})).status_code == 200
    changed, made = await entries(operator, target=name)
    assert (made["action"], changed["detail"]) == ("POST /api/app/tenants", "disabled=true")
    assert key["key"] not in str(await entries(admin))


@pytest.mark.parametrize("start", ["/api/app/executions/x/stream?access_token=", "/x#access_token=", ""])
async def test_a_ticket_that_was_refused_for_its_address_leaves_no_token_in_the_log(admin: Any, start: str) -> None:
    token = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhIn0.c2lnbmF0dXJl"
    assert (await admin.post("/stream-tickets", {"resource": start + token})).status_code == 400
    (entry,) = await entries(admin, action="POST /api/app/stream-tickets")
    assert (entry["status"], "eyJ" in str(entry)) == (400, False)


async def test_a_ticket_is_noted_with_its_stream(admin: Any) -> None:
    path = "/api/app/executions/x/stream"
    assert (await admin.post("/stream-tickets", {"resource": path})).status_code == 201
    (entry,) = await entries(admin, action="POST /api/app/stream-tickets")
    assert entry["target"] == path


@pytest.mark.parametrize("chosen", ["order-9", "5f0c7a52-6f2e-4d7b-9a53-2d0f5e8f0b11"])
async def test_who_asks_for_what_is_not_there_stands_in_the_log_with_the_id_that_was_written(
    admin: Any, chosen: str
) -> None:
    assert (await admin.post(f"/executions/{chosen}/cancel")).status_code == 404
    (entry,) = await entries(admin, action="POST /api/app/executions/{execution_id}/cancel")
    assert (entry["target"], entry["status"]) == (chosen, 404)


async def test_a_refusal_of_the_models_door_has_its_code(admin: Any, production: httpx2.AsyncClient) -> None:
    key = await key_of(admin, "models:use")
    body = {"model": "nobody-has-this", "messages": [{"role": "user", "content": "hi"}]}
    answer = await production.post("/v1/chat/completions", json=body, headers={"x-api-key": key["key"]})
    (entry,) = await entries(admin, action="POST /v1/chat/completions")
    assert answer.status_code >= 400
    assert entry["status"] == answer.status_code
    assert entry["code"] == answer.json()["error"]["code"].upper()


async def test_a_page_that_may_not_call_stands_in_the_log(operator: Any, nobody: httpx2.AsyncClient) -> None:
    path = f"/api/app/{RandomIds().new().hex}"

    async def stands_there() -> dict[str, Any] | None:
        # Of so many callers without a tenant in one second, who may be those of other tests, the rest is left out.
        answer = await nobody.get(path, headers={"origin": "https://evil.example"})
        assert answer.status_code == 403
        return next(iter(await entries(operator, strangers=True, target=path)), None)

    entry = await until(stands_there, "the refusal stands in the log")
    assert (entry["action"], entry["status"], entry["code"]) == ("GET *", 403, "ORIGIN_DENIED")


async def test_a_caller_who_does_not_stop_at_a_refusal_is_one_entry_with_a_number(admin: Any, make_caller: Any) -> None:
    viewer = await make_caller(admin.tenant_id, subject="viewer", scopes={Scope.EXECUTIONS_READ})
    for _ in range(30):
        assert (await viewer.http.delete(f"/api/app/api-keys/{RandomIds().new()}")).status_code == 403
    assert (await viewer.get("/audit")).status_code == 403
    found = await entries(admin, actor="viewer")
    assert sum(one["times"] for one in found) == 31
    assert len(found) < 10
    assert {one["action"] for one in found} == {"DELETE /api/app/api-keys/{key_id}", "GET /api/app/audit"}


async def test_the_operator_reads_what_no_tenant_can(operator: Any, admin: Any, production: httpx2.AsyncClient) -> None:
    told = f"probe-{RandomIds().new().hex}"
    headers = {"authorization": "Bearer nobody", "user-agent": told}

    async def stands_there() -> dict[str, Any] | None:
        assert (await production.get("/api/app/executions", headers=headers)).status_code == 401
        found = await entries(operator, strangers=True, limit=100)
        return next((one for one in found if one["user_agent"] == told), None)

    entry = await until(stands_there, "the refusal stands in the log")
    assert (entry["subject"], entry["status"]) == ("anonymous", 401)
    assert (await admin.get("/audit", params={"strangers": True})).status_code == 403


async def test_the_operator_reads_the_log_of_a_tenant_that_is_shut_out(operator: Any, admin: Any) -> None:
    key = await key_of(admin, "executions:read")
    assert (await operator.put(f"/tenants/{admin.tenant_id}", {"disabled": True})).status_code == 200
    assert (await admin.get("/audit")).status_code == 401
    found = await entries(operator, tenant=admin.tenant_id)
    assert key["id"] in {one["target"] for one in found}
    assert admin.subject in {one["subject"] for one in found if one["status"] == 401}
    await operator.put(f"/tenants/{admin.tenant_id}", {"disabled": False})


async def test_nobody_else_reads_the_log_of_another_tenant(admin: Any, make_caller: Any) -> None:
    other = await make_caller(scopes=frozenset(Scope))
    assert (await other.get("/audit", params={"tenant": admin.tenant_id})).status_code == 403
    assert (await other.get("/audit", params={"tenant": other.tenant_id})).status_code == 200
