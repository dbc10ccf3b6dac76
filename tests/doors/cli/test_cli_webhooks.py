"""Webhooks from the command line, from their making to their end; and the relay of a process that dies."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg
import httpx2
import pytest
from standardwebhooks import Webhook as Outside

from cli_house import Interlock
from served import environment, stop_server
from webhook_house import Receiver, receiving, until

ECHO = "kind: graph\nname: hook\nnodes:\n  - {id: a, type: echo}\n"


@pytest.fixture
async def receiver() -> Any:
    async with receiving() as found:
        yield found


async def test_a_webhook_from_its_making_to_its_end(interlock: Interlock, receiver: Receiver, tmp_path: Path) -> None:
    async def call(*arguments: str) -> Any:
        return await asyncio.to_thread(interlock, *arguments)

    made = await call("webhooks", "create", receiver.url, "--event", "execution.succeeded", "--json")
    assert made.code == 0, made.err
    webhook_id, secret = made.json["webhook_id"], made.json["secret"]
    listed = await call("webhooks", "list")
    assert webhook_id in listed.out
    assert secret not in listed.out
    file = tmp_path / "echo.yaml"
    file.write_text(ECHO)
    assert (await call("run", str(file), "--json")).code == 0
    got = (await receiver.wait_for(1))[0]
    Outside(secret).verify(got.body, got.headers)

    async def is_delivered() -> Any:
        shown = await call("webhooks", "deliveries", webhook_id, "--status", "delivered", "--json")
        return shown.json["deliveries"]

    delivery_id = (await until(is_delivered, "the delivery"))[0]["delivery_id"]
    assert delivery_id in (await call("webhooks", "deliveries", webhook_id)).out
    again = await call("webhooks", "redeliver", delivery_id, "--json")
    assert again.json["redelivery_of"] == delivery_id
    await receiver.wait_for(2)
    assert (await call("webhooks", "delete", webhook_id)).code == 0
    assert webhook_id not in (await call("webhooks", "list")).out


async def test_a_webhook_that_was_turned_off_is_turned_on_and_gets_another_secret(
    interlock: Interlock, receiver: Receiver
) -> None:
    async def call(*arguments: str) -> Any:
        return await asyncio.to_thread(interlock, *arguments)

    made = (await call("webhooks", "create", receiver.url, "--event", "execution.succeeded", "--json")).json
    webhook_id = made["webhook_id"]
    assert (await call("webhooks", "disable", webhook_id, "--json")).json["is_active"] is False
    shown = await call("webhooks", "show", webhook_id)
    assert shown.out.splitlines()[0] == f"Webhook {webhook_id} is off (by hand)."
    assert f"interlock webhooks enable {webhook_id}" in shown.out
    assert made["secret"] not in shown.out
    assert (await call("webhooks", "enable", webhook_id)).out.startswith(f"Webhook {webhook_id} is on.\n")
    rotated = await call("webhooks", "rotate-secret", webhook_id)
    assert rotated.out.startswith("whsec_")
    assert rotated.out.strip() != made["secret"]
    assert (await call("webhooks", "delete", webhook_id)).code == 0


async def test_an_unknown_type_of_event_is_said_with_those_that_there_are(interlock: Interlock) -> None:
    ended = await asyncio.to_thread(interlock, "webhooks", "create", "https://x.example", "--event", "run.done")
    assert ended.code == 1
    assert "execution.succeeded" in ended.err


class Served:
    """``interlock serve`` in local mode over a database of the test."""

    def __init__(self, url: str, data_dir: Path, failpoint: str = "") -> None:
        told = {"INTERLOCK_DATABASE_URL": url, "INTERLOCK_LOCAL": "true", "INTERLOCK_FAILPOINTS": failpoint}
        command = [sys.executable, "-m", "interlock", "serve", "--port", "0", "--data", str(data_dir)]
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment(**told)
        )
        assert self.process.stdout is not None
        found: dict[str, str] = {}
        for line in self.process.stdout:
            word, _, rest = line.strip().partition(" ")
            found[word] = rest
            if {"ready", "token"} <= found.keys():
                break
        self.url, self.headers = found.get("ready", ""), {"authorization": f"Bearer {found.get('token')}"}

    def died(self) -> int:
        """Its exit code, once it has ended by itself."""
        code = self.process.wait(20)
        if self.process.stdout is not None:
            self.process.stdout.close()
        return code


async def test_a_server_that_dies_between_the_call_and_its_record_repeats_it_under_the_same_id(
    own_database: Any, receiver: Receiver, tmp_path: Path
) -> None:
    """J5."""
    first = await asyncio.to_thread(Served, own_database.serve_url, tmp_path, "relay.after_call=exit@1")
    async with httpx2.AsyncClient(base_url=first.url, headers=first.headers) as client:
        body = {"url": receiver.url, "events": ["execution.succeeded"]}
        made = (await client.post("/api/app/webhooks", json=body)).json()
        told = {"name": "w", "nodes": [{"id": "a", "type": "echo", "parameters": {}}]}
        workflow_id = (await client.post("/api/app/workflows", json=told)).json()["workflow_id"]
        await client.post(f"/api/app/workflows/{workflow_id}/execute", json={"wait_ms": 5000})
    await receiver.wait_for(1)
    assert await asyncio.to_thread(first.died) == 86
    connection = await asyncpg.connect(own_database.superuser_url)
    webhook_id = UUID(made["webhook_id"])
    left = await connection.fetchrow("select status, attempts, log::text from interlock.deliveries")
    assert tuple(left) == ("pending", 1, "[]"), "nobody wrote down how the call ended"
    await connection.execute("update interlock.deliveries set due_at = now() where webhook_id = $1", webhook_id)
    second = await asyncio.to_thread(Served, own_database.serve_url, tmp_path)
    try:
        got = await receiver.wait_for(2)

        async def is_delivered() -> bool:
            return await connection.fetchval("select status from interlock.deliveries") == "delivered"

        await until(is_delivered, "the record of the delivery")
    finally:
        await connection.close()
        await asyncio.to_thread(stop_server, second.process)
    assert len({one.headers["webhook-id"] for one in got}) == 1
    assert len({one.body for one in got}) == 1
    for one in got:
        Outside(made["secret"]).verify(one.body, one.headers)
