"""``/v1/budgets``: whose budget is meant, and that one can be lifted again."""

from __future__ import annotations

import asyncio
from typing import Any, NamedTuple

import httpx2
import pytest

from interlock.backends.identity.local import LocalIdentity
from interlock.core.principal import Scope
from interlock.kit.clock import SystemClock
from interlock.kit.ids import RandomIds
from model_gateway import HELLO, Gateway
from model_house import KEY


class Payer(NamedTuple):
    """A tenant of its own with one key, which may do everything."""

    http: httpx2.AsyncClient
    person: dict[str, str]
    key: dict[str, str]
    key_id: str
    public_id: str

    async def budget(self, method: str, holder: str = "", **body: Any) -> httpx2.Response:
        path = f"/v1/budgets/{holder}" if holder else "/v1/budgets"
        return await self.http.request(method, path, headers=self.key, json=body or None)

    async def audited(self, action: str) -> dict[str, Any]:
        """What the audit log says of an action, as soon as it is there."""
        async with asyncio.timeout(10):
            while True:
                listed = (await self.http.get("/api/app/audit", headers=self.person)).json()["entries"]
                for entry in listed:
                    if entry["action"] == action:
                        return entry
                await asyncio.sleep(0.05)

    async def ask_in_a_task(self, model: str) -> list[str]:
        """What went wrong in a session of the node that asks a model, which the key started."""
        wanted = {"node_id": "llm_chat", "params": {"model": model, "prompt": "hello", "max_tokens": 20}}
        started = (await self.http.post("/api/workflow/start", json=wanted, headers=self.key)).json()
        path = f"/api/workflow/{started['session_id']}/events"
        told = (await self.http.get(path, headers=self.key)).json()["events"]
        return [one["payload"]["error"]["code"] for one in told if one["type"] == "EVENT_ERROR"]

    async def chat(self, model: str = "m") -> int:
        body = {"model": model, "messages": HELLO, "max_tokens": 20}
        return (await self.http.post("/v1/chat/completions", json=body, headers=self.key)).status_code


@pytest.fixture
async def payer(gateway: Gateway) -> Payer:
    identity = LocalIdentity(gateway.folder, SystemClock())
    identity.open()
    person = {"Authorization": f"Bearer {identity.mint('ann', f'tenant-{RandomIds().new()}', frozenset(Scope))}"}
    wanted = {"client_name": "payer", "scopes": ["admin"]}
    made = (await gateway.http.post("/api/app/api-keys", json=wanted, headers=person)).json()
    key = {"Authorization": f"Bearer {made['key']}"}
    return Payer(gateway.http, person, key, made["id"], made["key"].split("_")[2])


async def test_a_key_is_meant_by_either_of_its_ids(payer: Payer) -> None:
    assert await payer.chat("priced") == 200
    answer = await payer.budget("PUT", payer.public_id, cap_usd=0)
    assert (answer.status_code, answer.json()["holder"]) == (200, payer.key_id)
    assert await payer.chat("priced") == 429
    assert (await payer.budget("PUT", payer.key_id, cap_usd=1)).json()["cap_usd"] == 1
    assert await payer.chat("priced") == 200
    (listed,) = (await payer.budget("GET")).json()["data"]
    assert (listed["holder"], listed["key"]) == (payer.key_id, payer.public_id)


async def test_a_key_that_takes_the_place_of_another_one_spends_the_same_budget(payer: Payer) -> None:
    await payer.budget("PUT", payer.public_id, cap_usd=0)
    renewed = await payer.http.post(f"/api/app/api-keys/{payer.key_id}/rotate", headers=payer.person)
    after = payer._replace(key={"Authorization": f"Bearer {renewed.json()['key']}"})
    assert (await payer.chat("priced"), await after.chat("priced")) == (429, 429)
    public_id = renewed.json()["public_id"]
    (listed,) = (await after.budget("GET")).json()["data"]
    assert (listed["holder"], listed["key"]) == (payer.key_id, public_id)
    assert (await after.budget("PUT", public_id, cap_usd=1)).json()["holder"] == payer.key_id
    assert await after.chat("priced") == 200
    (listed,) = (await after.budget("GET")).json()["data"]
    assert listed["cap_usd"] == 1


@pytest.mark.parametrize("holder", ["nobody", "Tenant", "tenant%20", "ann@example.org", "user:nobody"])
async def test_nobody_sets_a_budget_for_who_is_not_there(payer: Payer, holder: str) -> None:
    answer = await payer.budget("PUT", holder, cap_usd=1)
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "holder_not_found")
    assert (await payer.budget("GET")).json()["data"] == []


async def test_a_key_of_another_tenant_is_not_there(gateway: Gateway, payer: Payer) -> None:
    others = (await gateway.http.get("/v1/models", headers={"Authorization": f"Bearer {KEY}"})).status_code
    assert others == 200
    identity = LocalIdentity(gateway.folder, SystemClock())
    identity.open()
    stranger = {"Authorization": f"Bearer {identity.mint('bob', f'tenant-{RandomIds().new()}', frozenset(Scope))}"}
    wanted = {"client_name": "stranger", "scopes": ["models:use"]}
    made = (await gateway.http.post("/api/app/api-keys", json=wanted, headers=stranger)).json()
    for holder in (made["id"], made["key"].split("_")[2]):
        assert (await payer.budget("PUT", holder, cap_usd=1)).status_code == 404


async def test_a_person_is_meant_by_an_account_of_the_tenant(payer: Payer) -> None:
    email = f"{RandomIds().new()}@example.org"
    wanted = {"email": email, "password": "a-long-enough-password"}
    made = await payer.http.post("/api/app/users", json=wanted, headers=payer.person)
    for holder in (email, made.json()["user_id"]):
        answer = await payer.budget("PUT", holder, cap_usd=2)
        assert (answer.status_code, answer.json()["holder"]) == (200, made.json()["user_id"])
    assert (await payer.budget("PUT", "local", cap_usd=2)).json()["holder"] == "local"


async def test_a_budget_that_is_removed_limits_nobody_and_begins_anew(payer: Payer) -> None:
    await payer.budget("PUT", "tenant", cap_usd=1)
    await payer.budget("PUT", payer.public_id, cap_usd=1)
    assert await payer.chat("priced") == 200
    assert await payer.chat("m") == 400, "what has no price cannot be paid from a budget"
    removed = await payer.budget("DELETE", payer.public_id)
    assert (removed.status_code, removed.json()) == (
        200,
        {"holder": payer.key_id, "deleted": True, "object": "budget"},
    )
    assert await payer.chat("m") == 400, "the tenant's is still there"
    assert (await payer.budget("DELETE", "tenant")).json()["holder"] == "tenant"
    assert await payer.chat("m") == 200
    assert (await payer.budget("GET")).json()["data"] == []
    again = await payer.budget("DELETE", "tenant")
    assert (again.status_code, again.json()["error"]["code"]) == (404, "budget_not_found")
    assert (await payer.budget("PUT", "tenant", cap_usd=1)).json()["spent_usd"] == 0


async def test_the_removal_of_a_budget_is_in_the_audit_log(payer: Payer) -> None:
    await payer.budget("PUT", "tenant", cap_usd=1)
    await payer.budget("DELETE", "tenant")
    assert (await payer.audited("DELETE /v1/budgets/{holder}"))["target"] == "tenant"


@pytest.mark.parametrize("door", ["/v1", "/api/app"])
async def test_the_audit_log_has_a_cap_to_the_cent(payer: Payer, door: str) -> None:
    headers = payer.key if door == "/v1" else payer.person
    set_to = await payer.http.put(f"{door}/budgets/{payer.public_id}", headers=headers, json={"cap_usd": 12345678.91})
    assert set_to.json()["cap_usd"] == 12345678.91
    told = await payer.audited(f"PUT {door}/budgets/{{holder}}")
    assert (told["target"], told["detail"]) == (payer.public_id, "cap_usd=12345678.91")


async def test_a_task_spends_the_budget_of_the_key_that_started_it(payer: Payer) -> None:
    await payer.budget("PUT", payer.public_id, cap_usd=0)
    assert await payer.ask_in_a_task("priced") == ["BUDGET_EXCEEDED"]
    await payer.budget("PUT", payer.public_id, cap_usd=1)
    assert await payer.ask_in_a_task("priced") == []
    async with asyncio.timeout(10):
        while not (await payer.budget("GET")).json()["data"][0]["spent_usd"]:
            await asyncio.sleep(0.05)


async def test_a_task_asks_no_model_that_the_key_may_not_ask(payer: Payer) -> None:
    wanted = {"client_name": "narrow", "scopes": ["workflows:execute", "executions:read"], "allowed_models": ["mapped"]}
    made = (await payer.http.post("/api/app/api-keys", json=wanted, headers=payer.person)).json()
    narrow = payer._replace(key={"Authorization": f"Bearer {made['key']}"})
    assert await narrow.ask_in_a_task("mapped") == []
    assert await narrow.ask_in_a_task("priced") == ["AUTHORIZATION_FAILED"]
