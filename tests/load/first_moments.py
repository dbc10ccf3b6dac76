"""Subscribe at one server, and have something happen at the other in the same breath.

    PYTHONPATH=src python tests/load/first_moments.py --rounds 300

Each round subscribes a new tenant at one of two servers and starts an execution at the other as soon as that is
answered; the message must come. Every third round all subscriptions are deleted first, so that both servers stop
telling and must begin again. Beside it executions of another tenant keep both servers committing. Prints one JSON
object; the exit code is 1 if a message did not come within ten seconds.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import uvloop

sys.path.insert(0, str(Path(__file__).parent))

from stand import Stand, percentiles, stand

from webhook_house import Receiver, receiving

PATIENCE = 10.0
ECHO = {"name": "Echo", "nodes": [{"id": "a", "type": "echo", "parameters": {}}]}


async def stored(client: Any) -> str:
    """A workflow of the caller's tenant."""
    answer = await client.post("/api/app/workflows", json=ECHO)
    answer.raise_for_status()
    return str(answer.json()["workflow_id"])


async def started(client: Any, workflow_id: str) -> str:
    answer = await client.post(f"/api/app/workflows/{workflow_id}/execute", json={})
    answer.raise_for_status()
    return str(answer.json()["execution_id"])


async def bustle(client: Any, pause: float) -> None:
    """Keep a server committing."""
    workflow_id = await stored(client)
    while True:
        await started(client, workflow_id)
        await asyncio.sleep(pause)


async def one_round(servers: Stand, number: int, url: str, got: Receiver) -> tuple[float | None, str]:
    """Subscribe here, start there: seconds until the message came, None if it did not; and the webhook."""
    first, second = servers.servers[number % 2], servers.servers[(number + 1) % 2]
    token = servers.token("ann", f"tenant-{number}")
    async with first.client(token) as here, second.client(token) as there:
        workflow_id = await stored(there)
        wanted = {"url": url, "events": ["execution.started"]}
        answer = await here.post("/api/app/webhooks", json=wanted)
        answer.raise_for_status()
        began = asyncio.get_running_loop().time()
        execution_id = await started(there, workflow_id)
        while asyncio.get_running_loop().time() - began < PATIENCE:
            if any(execution_id.encode() in one.body for one in got.got):
                return asyncio.get_running_loop().time() - began, answer.json()["webhook_id"]
            await asyncio.sleep(0.01)
    return None, answer.json()["webhook_id"]


async def forget(servers: Stand, made: dict[int, str]) -> None:
    """Delete all subscriptions."""
    for number, webhook_id in made.items():
        async with servers.servers[0].client(servers.token("ann", f"tenant-{number}")) as client:
            (await client.delete(f"/api/app/webhooks/{webhook_id}")).raise_for_status()
    made.clear()


async def main(told: argparse.Namespace) -> int:
    async with AsyncExitStack() as stack:
        got = await stack.enter_async_context(receiving())
        servers = await stand(stack, 2)
        bustles = []
        for server in servers.servers:
            client = await stack.enter_async_context(server.client(servers.token("bee", "bustle")))
            bustles.append(asyncio.create_task(bustle(client, told.pause)))
        waits: list[float | None] = []
        made: dict[int, str] = {}
        for number in range(told.rounds):
            if number % 3 == 0:
                await forget(servers, made)
            wait, made[number] = await one_round(servers, number, got.url, got)
            waits.append(wait)
        for task in bustles:
            assert not task.done(), "the other tenant's executions go on all the time"
            task.cancel()
    came = [wait for wait in waits if wait is not None]
    print(json.dumps({"rounds": len(waits), "lost": len(waits) - len(came), "ms": percentiles(came)}, indent=2))
    return 0 if len(came) == len(waits) else 1


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=300)
    parser.add_argument("--pause", type=float, default=0.02, help="seconds between two executions beside it")
    sys.exit(uvloop.run(main(parser.parse_args())))
