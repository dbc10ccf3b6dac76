"""E1 and E2: the most starts a second that a server sustains, and what it does with three times as many.

    PYTHONPATH=src:. python tests/load/e2_overload.py --seconds 30

Starts come at a rate of their own, whatever the answers take. The rate grows until p99 exceeds 250 ms or something is
refused: the one before that is the knee. Then three times the knee comes for so many seconds, and half of it again.
Prints one JSON object; the exit code is 1 if fewer starts succeeded under overload than 70 % of the knee, if anything
but 200, 429 and 503 was answered, or if an accepted start does not exist.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import sys
from contextlib import AsyncExitStack
from typing import Any

import httpx2
from benchmarks.http1 import Connection, ConnectionGone
from stand import percentiles, resident_mb, stand

ECHO = {"name": "Echo", "nodes": [{"id": "a", "type": "echo"}], "connections": []}
P99_MS = 250.0
GROWTH = 1.4
MOST_OPEN = 1_500


class Load:
    """Starts executions of one tenant at a given rate, over as many connections as that takes."""

    def __init__(self, port: int, token: str, path: str) -> None:
        self._port = port
        self._headers = {"Authorization": f"Bearer {token}"}
        self._path = path
        self._idle: list[Connection] = []
        self.open = 0

    async def press(self, rate: float, seconds: float) -> dict[str, Any]:
        """``rate`` starts a second for so long; what was answered, and how fast."""
        loop = asyncio.get_running_loop()
        begun, at = loop.time(), 0.0
        taken: dict[int, list[float]] = {}
        lost = 0
        running: set[asyncio.Task[None]] = set()

        async def start() -> None:
            nonlocal lost
            sent = loop.time()
            try:
                connection = await self._connection()
                status, _ = await connection.post(self._path, b"{}")
            except (ConnectionGone, OSError):
                lost += 1
                return
            taken.setdefault(status, []).append(loop.time() - sent)
            self._idle.append(connection)

        while at < seconds:
            await asyncio.sleep(max(0.0, begun + at - loop.time()))
            task = asyncio.create_task(start())
            running.add(task)
            task.add_done_callback(running.discard)
            at += random.expovariate(rate)
        if running:
            await asyncio.wait(running, timeout=60)
        return {
            "rate": round(rate, 1),
            "statuses": {status: len(found) for status, found in sorted(taken.items())},
            "lost": lost,
            "good_a_second": round(len(taken.get(200, [])) / seconds, 1),
            "good": percentiles(taken.get(200, [])),
            "refused": percentiles(taken.get(429, []) + taken.get(503, [])),
        }

    async def _connection(self) -> Connection:
        while self._idle:
            connection = self._idle.pop()
            if not connection.closed:
                return connection
        self.open += 1
        return await Connection.open(self._port, self._headers)


def is_sustained(found: dict[str, Any]) -> bool:
    return set(found["statuses"]) == {200} and not found["lost"] and found["good"]["p99"] <= P99_MS


async def find_knee(load: Load, first: float, seconds: float) -> tuple[float, list[dict[str, Any]]]:
    """The highest rate that was sustained, and the curve up to it."""
    curve: list[dict[str, Any]] = []
    rate, knee = first, 0.0
    while True:
        curve.append(await load.press(rate, seconds))
        if not is_sustained(curve[-1]):
            return knee or rate / GROWTH, curve
        knee, rate = rate, rate * GROWTH
        await asyncio.sleep(1.0)


async def count(client: httpx2.AsyncClient, workflow_id: str) -> int:
    listed = await client.get(f"/api/app/workflows/{workflow_id}/executions?limit=1")
    return int(listed.raise_for_status().json()["total_count"])


async def run(first: float, seconds: float, processes: int) -> dict[str, Any]:
    async with AsyncExitStack() as stack:
        place = await stand(stack, processes, redis=processes > 1)
        server = place.servers[0]
        token = place.token("somebody", "many")
        client = await stack.enter_async_context(server.client(token))
        stored = (await client.post("/api/app/workflows", json=ECHO)).raise_for_status()
        workflow_id = stored.json()["workflow_id"]
        load = Load(server.port, token, f"/api/app/workflows/{workflow_id}/execute")
        await load.press(first, 3.0)
        knee, curve = await find_knee(load, first, 5.0)
        before = await count(client, workflow_id)
        overload = await load.press(min(knee * 3, MOST_OPEN), seconds)
        missing = overload["statuses"].get(200, 0) - (await count(client, workflow_id) - before)
        calm = [await load.press(knee / 2, 5.0) for _ in range(2)]
        return {
            "knee": round(knee, 1),
            "curve": curve,
            "overload": overload,
            "goodput": round(overload["good_a_second"] / knee, 2),
            "accepted_and_missing": max(0, missing),
            "after": calm,
            "connections": load.open,
            "resident_mb": resident_mb(server.process.pid),
            "load_average": os.getloadavg(),
        }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--first", type=float, default=50.0, help="the rate to begin with, starts a second")
    options = parser.parse_args()
    found = asyncio.run(run(options.first, options.seconds, 1))
    print(json.dumps(found, indent=2))
    is_clean = set(found["overload"]["statuses"]) <= {200, 429, 503} and not found["accepted_and_missing"]
    return int(found["goodput"] < 0.7 or not is_clean)


if __name__ == "__main__":
    sys.exit(main())
