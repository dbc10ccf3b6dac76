"""Tenants that have one of everything, in a served process; what is theirs carries a word that nobody else has."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, TypeVar

import asyncpg
import httpx2

from interlock.core.principal import Scope
from interlock.kit.ids import RandomIds
from webhook_house import receiving

EVERYTHING = frozenset(map(str, Scope))
IDEMPOTENCY_KEY = "a-key-that-both-tenants-chose"
SCRATCH = "scratch-of-everybody"
KEPT_BY_PROCESSES = ("audit", "budget_slices", "node_totals", "tenants")
"""Tables in which processes note in their own time who was there and what was used."""
T = TypeVar("T")
Mint = Callable[[str, str, frozenset[str]], str]

ASKING = [
    {"id": "write", "type": "write_artifact", "parameters": {"name": "report.md", "content": "{{ $json.word }}"}},
    {"id": "ask", "type": "approval", "parameters": {"title": "{{ $json.word }}"}},
]
FLOW = """
name: {word}
description: {word}
states: [a, b, end]
state_node_map: {{a: builtin://echo}}
user_input_states: [b]
transitions:
  - {{from: a, event: STEP_DONE, to: b}}
  - {{from: b, event: OK, to: end}}
"""


@dataclass
class Owner:
    """A tenant. ``ids`` are of its things, by the names that routes and bodies have for them."""

    tenant_id: str
    subject: str
    word: str
    token: str
    http: httpx2.AsyncClient
    key: str = ""
    ids: dict[str, str] = field(default_factory=dict)

    def headers(self, kind: str = "user") -> dict[str, str]:
        """The credential of a person, or of a program (``key``)."""
        return {"authorization": f"Bearer {self.key if kind == 'key' else self.token}"}

    async def ask(self, method: str, path: str, body: Any = None, kind: str = "user", **headers: str) -> Any:
        """The body of an answer that went well."""
        told = self.headers(kind) | {name.replace("_", "-"): value for name, value in headers.items()}
        answer = await self.http.request(method, path, json=body, headers=told)
        assert answer.is_success, (method, path, answer.status_code, answer.text)
        return answer.json() if answer.content else None


async def until(find: Callable[[], Awaitable[T | None]], what: str) -> T:
    """What ``find`` gives once it is there."""
    async with asyncio.timeout(15):
        while (found := await find()) is None:
            await asyncio.sleep(0.02)
    return found


async def owner_of_everything(mint: Mint, http: httpx2.AsyncClient) -> Owner:
    """A new tenant with one of everything; ``mint`` makes a token of a subject, a tenant and scopes."""
    tenant_id = f"tenant-{RandomIds().new().hex}"
    word = f"cAnArY{RandomIds().new().hex[-12:]}"
    subject = f"owner-of-{tenant_id}"
    owner = Owner(tenant_id, subject, word, mint(subject, tenant_id, EVERYTHING), http)
    owner.ids["tenant"] = tenant_id
    await _access(owner)
    await _workflows(owner)
    await _sessions(owner)
    await _webhooks(owner)
    await _models(owner)
    return owner


async def _access(owner: Owner) -> None:
    made = await owner.ask("POST", "/api/app/api-keys", {"client_name": owner.word, "scopes": sorted(EVERYTHING)})
    owner.key = made["key"]
    owner.ids["key_id"] = owner.ids["holder"] = made["id"]
    account = {"email": f"{owner.word.lower()}@example.org", "password": f"{owner.word}-correct-horse"}
    owner.ids["user"] = owner.ids["user_id"] = (await owner.ask("POST", "/api/app/users", account))["user_id"]


def start_of(word: str) -> dict[str, Any]:
    """What the execution of the tenant with this word was started with: the word, also as bytes."""
    content = word.encode()
    told = {"sha256": sha256(content).hexdigest(), "base64": base64.b64encode(content).decode()}
    inputs = {"word": word, "bytes": {"$binary": told}}
    return {"inputs": inputs, "wait_ms": 10_000, "metadata": {"word": word}}


async def _workflows(owner: Owner) -> None:
    definition = {
        "name": owner.word,
        "description": owner.word,
        "nodes": ASKING,
        "connections": [{"from": "write", "to": "ask"}],
    }
    stored = await owner.ask("POST", "/api/app/workflows", definition)
    owner.ids["workflow_id"] = stored["workflow_id"]
    started = await owner.ask(
        "POST",
        f"/api/app/workflows/{stored['workflow_id']}/execute",
        start_of(owner.word),
        idempotency_key=IDEMPOTENCY_KEY,
    )
    owner.ids |= {"execution_id": started["execution_id"], "trace_id": started["trace_id"], "name": "report.md"}
    owner.ids["run_id"] = started["execution_id"]  # as the runs door calls it
    owner.ids["sha256"] = sha256(owner.word.encode()).hexdigest()  # of the bytes it was given

    async def asked() -> str | None:
        found = (await owner.ask("GET", "/api/app/approvals"))["approvals"]
        return str(found[0]["approval_id"]) if found else None

    owner.ids["approval_id"] = await until(asked, "an approval")


async def _sessions(owner: Owner) -> None:
    mark = RandomIds().new().hex[-12:]  # ids are repeated in refusals; the word is not in them
    node = {"node_id": f"node-{mark}", "endpoint": "http://example.com/hook", "name": owner.word}
    await owner.ask("POST", "/api/registry/nodes", node)
    flow = {"flow_id": f"flow-{mark}", "name": owner.word, "yaml_content": FLOW.format(word=owner.word)}
    await owner.ask("POST", "/api/registry/flows", flow)
    wanted = {"flow_id": flow["flow_id"], "params": {"word": owner.word}, "session_id": f"session-{mark}"}
    session = await owner.ask("POST", "/api/workflow/start", wanted, idempotency_key=f"start-{IDEMPOTENCY_KEY}")
    owner.ids |= {"node_id": node["node_id"], "flow_id": flow["flow_id"], "session_id": session["session_id"]}
    owner.ids["key"] = "note"
    for board in (session["session_id"], SCRATCH):
        await owner.ask("PUT", f"/api/state/{board}/note", {"value": owner.word})


async def _webhooks(owner: Owner) -> None:
    quick = {"name": owner.word, "nodes": [{"id": "a", "type": "echo", "parameters": {"input": owner.word}}]}
    workflow = (await owner.ask("POST", "/api/app/workflows", quick))["workflow_id"]
    wanted = {"events": ["execution.succeeded"], "workflow_id": workflow, "description": owner.word}
    async with receiving() as receiver:  # of one message, so that there is nothing to tell later on
        wanted["url"] = f"{receiver.url}/{owner.word}"
        owner.ids["webhook_id"] = (await owner.ask("POST", "/api/app/webhooks", wanted))["webhook_id"]
        await owner.ask("POST", f"/api/app/workflows/{workflow}/execute", {"wait_ms": 10_000})

        async def delivered() -> str | None:
            listed = await owner.ask("GET", f"/api/app/webhooks/{owner.ids['webhook_id']}/deliveries")
            found = [one for one in listed["deliveries"] if one["status"] == "delivered"]
            return str(found[0]["delivery_id"]) if found else None

        owner.ids["delivery_id"] = await until(delivered, "the delivery")


async def _models(owner: Owner) -> None:
    await owner.ask("PUT", f"/v1/budgets/{owner.ids['holder']}", {"cap_usd": 12.5}, "key")
    chat = {"model": "scripted", "messages": [{"role": "user", "content": owner.word}]}
    await owner.ask("POST", "/v1/chat/completions", chat, "key")


AT_REST = """
select not exists (select from interlock.outbox where tenant_id = $1)
  and not exists (select from interlock.deliveries where tenant_id = $1 and status = 'pending')
  and not exists (select from interlock.live where tenant_id = $1 and owner is not null)
"""


async def at_rest(url: str, tenant_id: str) -> dict[str, list[str]]:
    """The rows of a tenant once nothing of it is under way: what changes from then on, somebody has asked for."""
    connection = await asyncpg.connect(url)
    try:

        async def rests() -> bool | None:
            return await connection.fetchval(AT_REST, tenant_id) or None

        await until(rests, "the rest of the tenant")
    finally:
        await connection.close()
    return await rows_of(url, tenant_id)


async def rows_of(url: str, tenant_id: str) -> dict[str, list[str]]:
    """Every row of a tenant as text, by table; without what processes write by themselves about its use."""
    connection = await asyncpg.connect(url)
    try:
        tables = await connection.fetch(
            """select c.table_name from information_schema.columns c join information_schema.tables t
                 using (table_schema, table_name)
               where c.table_schema = 'interlock' and c.column_name = 'tenant_id' and t.table_type = 'BASE TABLE'
                 and c.table_name <> all($1::text[])""",
            list(KEPT_BY_PROCESSES),
        )
        found = {}
        for (name,) in tables:
            rows = await connection.fetch(
                f"""select (to_jsonb(t) - '{{last_used_at, leased, updated_at}}'::text[])::text as row
                  from interlock."{name}" t where tenant_id = $1""",
                tenant_id,
            )
            found[name] = sorted(row["row"] for row in rows)
        return found
    finally:
        await connection.close()
