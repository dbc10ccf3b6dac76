"""Tenants: the operator looks after all of them, and a disabled one is shut out with every credential it has."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import httpx2
import pytest

from interlock.core.principal import LOCAL_TENANT, Scope
from interlock.kit.ids import RandomIds
from interlock.services.access.gate import REFRESH_SECONDS, TenantGate


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


async def test_an_administrator_sees_its_own_tenant_and_changes_none(make_caller: Any, operator: Any, name: str) -> None:
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


@pytest.fixture
async def shut_out(operator: Any, make_caller: Any, house: Any) -> AsyncIterator[dict[str, httpx2.Request | Any]]:
    """A disabled tenant, and one call with each kind of credential it has."""
    admin = await make_caller(scopes=frozenset(Scope))
    key = (await admin.post("/api-keys", {"client_name": "c", "scopes": ["executions:read"]})).json()["key"]
    resource = "/api/app/workflows/1/stream"
    ticket = (await admin.post("/stream-tickets", {"resource": resource})).json()["ticket"]
    calls = {
        "token": lambda: admin.get("/executions"),
        "key": lambda: admin.http.get("/api/metrics", headers={"authorization": f"Bearer {key}"}),
        "ticket": lambda: admin.http.get(resource, params={"ticket": ticket}, headers={"authorization": ""}),
    }
    answer = await operator.put(f"/tenants/{admin.tenant_id}", {"disabled": True})
    assert answer.json()["disabled"] is True
    yield {"calls": calls, "admin": admin}
    await operator.put(f"/tenants/{admin.tenant_id}", {"disabled": False})


async def test_a_disabled_tenant_is_refused_with_its_token_and_its_key(shut_out: Any, operator: Any) -> None:
    for kind in ("token", "key"):
        answer = await shut_out["calls"][kind]()
        assert answer.status_code == 401, kind
    refused = await shut_out["calls"]["token"]()
    assert (refused.json()["error_code"], refused.json()["reason"]) == ("AUTHENTICATION_FAILED", "client_disabled")
    tenant_id = shut_out["admin"].tenant_id
    assert (await operator.put(f"/tenants/{tenant_id}", {"disabled": False})).json()["disabled"] is False
    assert (await shut_out["calls"]["token"]()).status_code == 200


async def test_another_process_shuts_a_tenant_out_with_its_next_look(
    operator: Any, make_caller: Any, house: Any, database: Any
) -> None:
    from interlock.backends.store.postgres.access import PostgresAccess

    other_store = PostgresAccess(database.serve_url)
    await other_store.open()
    gate, caller = TenantGate(other_store), await make_caller(scopes=frozenset(Scope))
    principal = await house.services.identity.authenticate(caller.token)
    gate.admit(principal)
    assert (await operator.get("/tenants", params={"search": caller.tenant_id})).status_code == 200
    await gate.refresh()
    await operator.put(f"/tenants/{caller.tenant_id}", {"disabled": True})
    await gate.refresh()
    with pytest.raises(Exception, match="disabled"):
        gate.admit(principal)
    await operator.put(f"/tenants/{caller.tenant_id}", {"disabled": False})
    await other_store.close()
    assert timedelta(seconds=REFRESH_SECONDS) <= timedelta(seconds=2.5)
