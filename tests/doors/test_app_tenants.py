"""Tenants: the operator looks after all of them, and a disabled one is shut out with every credential it has."""

from __future__ import annotations

from typing import Any

import httpx2
import pytest

from interlock.backends.store.postgres.access import PostgresAccess
from interlock.core.errors import InterlockError
from interlock.core.principal import LOCAL_TENANT, Scope
from interlock.core.signed_request import SignedRequest, from_text
from interlock.kit.clock import SystemClock
from interlock.kit.ids import RandomIds
from interlock.services.access.gate import REFRESH_SECONDS, TenantGate

WAITING = {"nodes": [{"id": "w", "type": "wait", "parameters": {"seconds": 3600}}], "connections": []}


@pytest.fixture
async def operator(make_caller: Any) -> Any:
    """An administrator of the installation's own tenant."""
    return await make_caller(LOCAL_TENANT, subject="operator", scopes=frozenset(Scope))


@pytest.fixture
def name() -> str:
    return f"t-{RandomIds().new().hex}"


async def test_a_tenant_is_made_shown_and_listed(operator: Any, name: str) -> None:
    made = await operator.post("/tenants", {"name": name, "title": "Acme"})
    assert made.status_code == 201, made.text
    shown = (await operator.get(f"/tenants/{name}")).json()
    assert shown == made.json()
    assert (shown["title"], shown["disabled"], shown["users"], shown["api_keys"]) == ("Acme", False, 0, 0)
    listed = (await operator.get("/tenants", params={"search": name[:20]})).json()
    assert [one["name"] for one in listed["tenants"]] == [name]
    again = await operator.post("/tenants", {"name": name})
    assert (again.status_code, again.json()["error_code"]) == (409, "ALREADY_EXISTS")
    for wrong in ("", "a b", "x" * 65, "a/b"):
        assert (await operator.post("/tenants", {"name": wrong})).status_code == 400, wrong


async def test_a_tenant_is_known_once_somebody_came_from_it(operator: Any, make_caller: Any, name: str) -> None:
    caller = await make_caller(name, scopes=frozenset(Scope))
    assert (await operator.get(f"/tenants/{name}")).status_code == 404
    assert (await caller.get("/executions")).status_code == 200
    assert (await operator.get(f"/tenants/{name}")).json()["name"] == name


async def test_tenants_are_listed_by_pages_and_by_state(operator: Any, name: str) -> None:
    names = [f"{name}-{number}" for number in range(5)]
    for one in names:
        await operator.post("/tenants", {"name": one})
    first = (await operator.get("/tenants", params={"search": name, "limit": 2})).json()
    assert (first["total_count"], first["has_more"]) == (5, True)
    query = {"search": name, "limit": 9, "cursor": first["next_cursor"]}
    rest = (await operator.get("/tenants", params=query)).json()
    assert [one["name"] for one in first["tenants"] + rest["tenants"]] == names
    assert (rest["has_more"], rest["next_cursor"]) == (False, None)
    await operator.put(f"/tenants/{names[3]}", {"disabled": True})
    for state, found in (("disabled", [names[3]]), ("active", [one for one in names if one != names[3]])):
        answer = (await operator.get("/tenants", params={"search": name, "state": state})).json()
        assert [one["name"] for one in answer["tenants"]] == found


async def test_an_administrator_sees_its_own_tenant_and_changes_none(
    make_caller: Any, operator: Any, name: str
) -> None:
    admin = await make_caller(scopes=frozenset(Scope))
    await operator.post("/tenants", {"name": name})
    assert [one["name"] for one in (await admin.get("/tenants")).json()["tenants"]] == [admin.tenant_id]
    assert (await admin.get(f"/tenants/{admin.tenant_id}")).status_code == 200
    foreign, unknown = await admin.get(f"/tenants/{name}"), await admin.get("/tenants/nothing")
    assert (foreign.status_code, unknown.status_code) == (404, 404)
    for answer in (
        await admin.post("/tenants", {"name": f"{name}-2"}),
        await admin.put(f"/tenants/{name}", {"disabled": True}),
        await admin.put(f"/tenants/{admin.tenant_id}", {"disabled": True}),
    ):
        assert (answer.status_code, answer.json()["error_code"]) == (403, "AUTHORIZATION_FAILED")


async def test_members_of_the_operators_tenant_are_no_operators(make_caller: Any) -> None:
    member = await make_caller(LOCAL_TENANT, subject="member")
    assert (await member.get("/tenants")).status_code == 403


async def test_the_operators_own_tenant_cannot_be_shut_out(operator: Any) -> None:
    answer = await operator.put(f"/tenants/{LOCAL_TENANT}", {"disabled": True})
    assert (answer.status_code, answer.json()["error_code"]) == (400, "VALIDATION_ERROR")
    assert (await operator.get("/tenants")).status_code == 200


async def test_a_disabled_tenant_is_refused_with_every_credential_it_has(operator: Any, make_caller: Any) -> None:
    admin = await make_caller(scopes=frozenset(Scope))
    wishes = {"client_name": "c", "scopes": ["metrics:read"], "signing": True}
    key = (await admin.post("/api-keys", wishes)).json()
    execution_id = await admin.started(WAITING)
    stream = f"/api/app/executions/{execution_id}/stream"
    ticket = (await admin.post("/stream-tickets", {"resource": stream})).json()["ticket"]
    async with httpx2.AsyncClient(transport=admin.http._transport, base_url=admin.http.base_url) as nobody:
        calls = {
            "token": lambda: admin.get("/executions"),
            "key": lambda: nobody.get("/api/metrics", headers={"x-api-key": key["key"]}),
            "signature": lambda: nobody.get("/api/metrics", headers=signature(key)),
            "ticket": lambda: nobody.get(stream, params={"ticket": ticket}),
            "local": lambda: nobody.get("/api/registry/nodes", headers={"x-tenant-id": admin.tenant_id}),
        }
        for kind in ("token", "key", "signature", "local"):
            assert (await calls[kind]()).status_code == 200, kind
        await operator.put(f"/tenants/{admin.tenant_id}", {"disabled": True})
        for kind, ask in calls.items():
            refused = await ask()
            assert (refused.status_code, "disabled" in refused.text) == (401, True), (kind, refused.text)
        await operator.put(f"/tenants/{admin.tenant_id}", {"disabled": False})
        for kind in ("token", "key", "signature", "local"):
            assert (await calls[kind]()).status_code == 200, kind


def signature(key: dict[str, Any]) -> dict[str, str]:
    """The headers of a signed request to /api/metrics."""
    request = SignedRequest(
        public_id=key["public_id"],
        timestamp=str(int(SystemClock().now().timestamp())),
        nonce=RandomIds().new().hex,
        signature="",
        method="GET",
        raw_path=b"/api/metrics",
        raw_query=b"",
        body=b"",
    )
    return {
        "x-api-key-id": request.public_id,
        "x-api-timestamp": request.timestamp,
        "x-api-nonce": request.nonce,
        "x-api-signature": "v1=" + request.sign(from_text(key["signing_secret"])),
    }


async def test_another_process_shuts_a_tenant_out_with_its_next_look(
    operator: Any, make_caller: Any, house: Any, database: Any
) -> None:
    other_store = PostgresAccess(database.serve_url)
    await other_store.open()
    gate, caller = TenantGate(other_store), await make_caller(scopes=frozenset(Scope))
    principal = await house.services.identity.authenticate(caller.token)
    gate.admit(principal)
    assert (await operator.get("/tenants", params={"search": caller.tenant_id})).status_code == 200
    await gate.refresh()
    await operator.put(f"/tenants/{caller.tenant_id}", {"disabled": True})
    await gate.refresh()
    with pytest.raises(InterlockError, match="disabled"):
        gate.admit(principal)
    await operator.put(f"/tenants/{caller.tenant_id}", {"disabled": False})
    await other_store.close()
    assert REFRESH_SECONDS < 4
