"""What a session calls is what was registered when it started; what may be a credential is never kept as plain text."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import asyncpg
import httpx2
import pytest
from aiohttp import web
from standardwebhooks import Webhook as Outside

from interlock.backends.store.postgres.ledger import PostgresLedger
from interlock.backends.store.postgres.webhook_ledger import PostgresWebhooks
from interlock.core.webhook import sign
from interlock.runtime.relay import KEEP_DAYS
from webhook_house import Receiver, receiving

TWICE = """states: [rest, call, end]
state_node_map: {call: "webhook://small"}
user_input_states: [rest]
transitions:
  - {from: rest, event: GO, to: call}
  - {from: call, event: STEP_DONE, to: end}
"""
DONE = {"step": "call", "result": 1}
SUCCESS = {"status": "success", "result": 1}


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as found:
        yield found


async def registered(caller: Any, url: str, status: int = 200, **more: Any) -> dict[str, Any]:
    body = {"node_id": "small", "endpoint": url, "name": "Small", **more}
    answer = await caller.http.post("/api/registry/nodes", json=body)
    assert answer.status_code == status, answer.text
    return dict(answer.json())


async def begun(caller: Any) -> str:
    """A session that rests in front of the call."""
    told = {"flow_id": "w", "name": "w", "yaml_content": TWICE}
    assert (await caller.http.post("/api/registry/flows", json=told)).status_code == 200
    answer = await caller.http.post("/api/workflow/start", json={"flow_id": "w"})
    assert answer.json()["state"] == "rest", answer.text
    return str(answer.json()["session_id"])


async def go(caller: Any, session_id: str, wait_ms: int = 10_000) -> dict[str, Any]:
    answer = await caller.http.post(f"/api/workflow/{session_id}/event", json={"event_type": "GO", "wait_ms": wait_ms})
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


async def test_a_session_keeps_the_address_and_headers_it_started_with(caller: Any, receiver: Receiver) -> None:
    receiver.answers = [web.json_response(SUCCESS) for _ in range(2)]
    await registered(caller, receiver.url + "/old", headers={"X-Api-Key": "old-key"})
    old = await begun(caller)
    await registered(caller, receiver.url + "/new", headers={"X-Api-Key": "new-key"})
    new = await begun(caller)
    for session_id in (old, new):
        assert (await go(caller, session_id))["new_state"] == "end"
    assert [(got.path, got.headers["x-api-key"]) for got in receiver.got] == [
        ("/hook/old", "old-key"),
        ("/hook/new", "new-key"),
    ]


async def test_a_session_outlives_its_node_and_the_secret_of_the_node_does_not(
    caller: Any, nobody: httpx2.AsyncClient, receiver: Receiver
) -> None:
    """J6."""
    secret = (await registered(caller, receiver.url))["callback_secret"]
    old = await begun(caller)
    assert (await caller.http.delete("/api/registry/nodes/small")).status_code == 204
    told = await caller.http.post("/api/workflow/start", json={"flow_id": "w"})
    refused = await go(caller, told.json()["session_id"])
    assert refused["session_state"] == "error", "a session that starts now finds no such node"
    await go(caller, old, wait_ms=300)
    got = (await receiver.wait_for(1))[0]
    Outside(secret).verify(got.body, got.headers)
    body, path = json.dumps(DONE).encode(), f"/api/workflow/{old}/callback"
    headers = {"content-type": "application/json"}
    by_secret = await nobody.post(path, content=body, headers=headers | sign([secret], "m", datetime.now(UTC), body))
    assert (by_secret.status_code, by_secret.json()["code"]) == (401, "AUTHENTICATION_FAILED")
    by_token = await nobody.post(got.json["callback_url"], content=body, headers=headers)
    assert by_token.json()["new_state"] == "end"


async def test_registering_anew_after_deletion_begins_with_another_secret(caller: Any, receiver: Receiver) -> None:
    first = await registered(caller, receiver.url)
    assert "callback_secret" not in await registered(caller, receiver.url), "once"
    await caller.http.delete("/api/registry/nodes/small")
    second = await registered(caller, receiver.url)
    assert first["callback_secret"] != second["callback_secret"]


@pytest.mark.parametrize(
    "headers", [{"X\r\nY": "1"}, {"X": "1\r\nHost: y"}, {"": "1"}, {"X": "\u20ac"}, {"X": "1\u0000"}]
)
async def test_headers_that_no_request_can_carry_are_refused(caller: Any, headers: dict[str, str]) -> None:
    body = {"node_id": "n", "endpoint": "https://x.example", "name": "N", "headers": headers}
    answer = await caller.http.post("/api/registry/nodes", json=body)
    assert answer.status_code in (400, 422), answer.text


async def test_no_secret_and_no_header_is_kept_as_plain_text(caller: Any, receiver: Receiver, database: Any) -> None:
    given = "whsec_" + "QUJDREVG" * 6
    await registered(caller, receiver.url, headers={"Authorization": "Bearer canary-of-a-header"}, secret=given)
    await begun(caller)
    connection = await asyncpg.connect(database.superuser_url)
    try:
        tables = await connection.fetch("select tablename from pg_tables where schemaname = 'interlock'")
        for (table,) in tables:
            found = await connection.fetchval(
                f"""select count(*) from interlock.{table} t
                  where t::text like '%canary-of-a-header%' or t::text like '%QUJDREVGQUJDREVG%'"""
            )
            assert found == 0, table
    finally:
        await connection.close()


async def test_versions_that_no_session_needs_are_forgotten_with_their_headers(
    caller: Any, receiver: Receiver, database: Any
) -> None:
    ledger = PostgresLedger(database.serve_url, connections=1)
    await ledger.open()
    receiver.answers = [web.json_response(SUCCESS)]
    await registered(caller, receiver.url + "/1", headers={"X": "1"})
    session_id = await begun(caller)
    await registered(caller, receiver.url + "/2", headers={"X": "2"})
    connection = await asyncpg.connect(database.superuser_url)

    async def left() -> tuple[int, int]:
        """How many versions and headers there are a day later, after a purge."""
        aged = dict.fromkeys(("live", "executions", "webhook_secrets"), "created_at")
        for table, column in {"node_versions": "registered_at", **aged}.items():
            await connection.execute(
                f"update interlock.{table} set {column} = {column} - interval '1 day' where tenant_id = $1",
                caller.tenant_id,
            )
        await PostgresWebhooks(ledger.connection).purge(KEEP_DAYS)
        versions = "select count(*) from interlock.node_versions where tenant_id = $1"
        secrets = "select count(*) from interlock.webhook_secrets where tenant_id = $1 and owner like 'headers/%'"
        return await connection.fetchval(versions, caller.tenant_id), await connection.fetchval(
            secrets, caller.tenant_id
        )

    try:
        assert await left() == (2, 2), "the session may still call the first"
        assert (await go(caller, session_id))["new_state"] == "end"
        assert [got.headers["x"] for got in receiver.got] == ["1"]
        assert await left() == (1, 1)
    finally:
        await connection.close()
        await ledger.close()


async def test_secrets_of_nothing_and_old_message_ids_are_forgotten(
    caller: Any, receiver: Receiver, database: Any
) -> None:
    await registered(caller, receiver.url)
    told = {"url": receiver.url, "events": ["execution.succeeded"]}
    webhook = (await caller.post("/webhooks", told)).json()["webhook_id"]
    ledger, connection = (
        PostgresLedger(database.serve_url, connections=1),
        await asyncpg.connect(database.superuser_url),
    )
    await ledger.open()
    rows = PostgresWebhooks(ledger.connection)
    unknown = "01990000-0000-7000-8000-000000000001"
    try:
        for owner in (f"webhook/{unknown}", f"headers/{unknown}", "node/unknown"):
            statement = "insert into interlock.webhook_secrets (tenant_id, owner, sealed) values ($1, $2, '')"
            await connection.execute(statement, caller.tenant_id, owner)
        mine, other = UUID(unknown), UUID(webhook)
        assert await rows.bind_message(caller.tenant_id, "node/small", "m", mine)
        assert not await rows.bind_message(caller.tenant_id, "node/small", "m", other)
        for table, column in (("webhook_secrets", "created_at"), ("callback_messages", "received_at")):
            await connection.execute(
                f"update interlock.{table} set {column} = {column} - interval '2 hours' where tenant_id = $1",
                caller.tenant_id,
            )
        await rows.purge(KEEP_DAYS)
        left = await connection.fetch(
            "select owner from interlock.webhook_secrets where tenant_id = $1 order by owner", caller.tenant_id
        )
        assert [row["owner"] for row in left] == ["node/small", f"webhook/{webhook}"]
        assert await rows.bind_message(caller.tenant_id, "node/small", "m", other), "its signature is no longer good"
    finally:
        await connection.close()
        await ledger.close()
