"""E2: the most starts a second that a server sustains, and what it does with three times as many.

    PYTHONPATH=src python tests/load/e2_overload.py --seconds 30

Starts come at a rate of their own, whatever the answers take, over at most MOST_OPEN connections; what finds none of
them free is not sent. The rate grows until p99 exceeds 250 ms or something is refused: the one before that is the
knee. Then three times the knee comes for so many seconds, and half of it again. A start is good if its answer is 200
and comes within two seconds of when it was due.

Prints one JSON object; the exit code is 1 if fewer starts were good under overload than 70 % of the knee, if anything
but 200, 429 and 503 was answered, or if an accepted start does not exist.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
from contextlib import AsyncExitStack
from typing import Any

import asyncpg
import uvloop
from open_loop import Load, find_knee, request_of
from stand import cpu_seconds, resident_mb, stand

ECHO = {"name": "Echo", "nodes": [{"id": "a", "type": "echo"}], "connections": []}
TENANT = "many"


async def count(url: str) -> int:
    """The executions of the tenant, by its database."""
    connection = await asyncpg.connect(url)
    try:
        return int(await connection.fetchval("select count(*) from interlock.executions where tenant_id = $1", TENANT))
    finally:
        await connection.close()


async def run(first: float, seconds: float, processes: int) -> dict[str, Any]:
    async with AsyncExitStack() as stack:
        place = await stand(stack, processes, redis=processes > 1)
        server = place.servers[0]
        token = place.token("somebody", TENANT)
        client = await stack.enter_async_context(server.client(token))
        stored = (await client.post("/api/app/workflows", json=ECHO)).raise_for_status()
        workflow_id = stored.json()["workflow_id"]
        path = f"/api/app/workflows/{workflow_id}/execute"
        request = request_of("POST", path, server.port, token, b"{}")
        load = Load(server.port, lambda: request)
        await load.press(first, 3.0)
        knee, curve = await find_knee(load, first, 5.0)
        before = await count(place.superuser_url)
        cpu = cpu_seconds(server.process.pid)
        overload = await load.press(knee * 3, seconds)
        cpu = cpu_seconds(server.process.pid) - cpu
        missing = overload["statuses"].get(200, 0) - (await count(place.superuser_url) - before)
        calm = [await load.press(knee / 2, 5.0) for _ in range(2)]
        return {
            "knee": round(knee, 1),
            "curve": curve,
            "overload": overload,
            "goodput": round(overload["good_a_second"] / knee, 2),
            "accepted_and_missing": max(0, missing),
            "after": calm,
            "connections": load.connections,
            "server_cpu": round(cpu / seconds, 2),
            "resident_mb": resident_mb(server.process.pid),
            "load_average": os.getloadavg(),
        }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--first", type=float, default=200.0, help="the rate to begin with, starts a second")
    options = parser.parse_args()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:  # the load must cost less than the server
        found = runner.run(run(options.first, options.seconds, 1))
    print(json.dumps(found, indent=2))
    is_clean = set(found["overload"]["statuses"]) <= {200, 429, 503} and not found["accepted_and_missing"]
    return int(found["goodput"] < 0.7 or not is_clean)


if __name__ == "__main__":
    sys.exit(main())
