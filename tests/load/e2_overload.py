"""E1 and E2: the most starts a second that a server sustains, and what it does with three times as many.

    PYTHONPATH=src:. python tests/load/e2_overload.py --seconds 30

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
import random
import sys
from collections import Counter
from contextlib import AsyncExitStack
from typing import Any

import asyncpg
import uvloop
from benchmarks.http1 import Connection, ConnectionGone
from stand import cpu_seconds, percentiles, resident_mb, stand

ECHO = {"name": "Echo", "nodes": [{"id": "a", "type": "echo"}], "connections": []}
P99_MS = 250.0
GOOD_SECONDS = 2.0
GROWTH = 1.25
LEAST = 10.0
MOST_OPEN = 1_500
TENANT = "many"


class Load:
    """Starts executions of one tenant at a given rate, over as many connections as that takes."""

    def __init__(self, port: int, token: str, path: str) -> None:
        self._port = port
        self._headers = {"Authorization": f"Bearer {token}"}
        self._path = path
        self._idle: list[Connection] = []
        self._taken: dict[int, list[float]] = {}
        self.open = 0
        self._unsent = self._lost = 0
        self._reasons: Counter[str] = Counter()

    async def press(self, rate: float, seconds: float) -> dict[str, Any]:
        """``rate`` starts a second for so long; what was answered, and how fast."""
        loop = asyncio.get_running_loop()
        self._taken, self._unsent, self._lost = {}, 0, 0
        self._reasons.clear()
        begun, at = loop.time(), 0.0
        running: set[asyncio.Task[None]] = set()
        while at < seconds:
            await asyncio.sleep(max(0.0, begun + at - loop.time()))
            task = asyncio.create_task(self._start(begun + at))
            running.add(task)
            task.add_done_callback(running.discard)
            at += random.expovariate(rate)
        if running:
            await asyncio.wait(running, timeout=60)
        return self._told(rate, seconds)

    async def _start(self, due: float) -> None:
        if not self._idle and self.open >= MOST_OPEN:
            self._unsent += 1
            return
        try:
            connection = await self._connection()
            status, body = await connection.post(self._path, b"{}")
        except (ConnectionGone, OSError):
            self._lost += 1
            self.open -= 1
            return
        self._taken.setdefault(status, []).append(asyncio.get_running_loop().time() - due)
        if status != 200:
            self._reasons[json.loads(body)["message"]] += 1
        self._idle.append(connection)

    async def _connection(self) -> Connection:
        while self._idle:
            connection = self._idle.pop()
            if not connection.closed:
                return connection
            self.open -= 1
        self.open += 1
        return await Connection.open(self._port, self._headers)

    def _told(self, rate: float, seconds: float) -> dict[str, Any]:
        accepted = self._taken.get(200, [])
        good = [taken for taken in accepted if taken <= GOOD_SECONDS]
        return {
            "rate": round(rate, 1),
            "statuses": {status: len(found) for status, found in sorted(self._taken.items())},
            "reasons": dict(self._reasons),
            "unsent": self._unsent,
            "lost": self._lost,
            "good_a_second": round(len(good) / seconds, 1),
            "accepted": percentiles(accepted),
            "refused": percentiles(self._taken.get(429, []) + self._taken.get(503, [])),
        }


def is_sustained(found: dict[str, Any]) -> bool:
    is_whole = set(found["statuses"]) == {200} and not found["lost"] and not found["unsent"]
    return is_whole and found["accepted"]["p99"] <= P99_MS


async def find_knee(load: Load, first: float, seconds: float) -> tuple[float, list[dict[str, Any]]]:
    """The highest rate that was sustained, and the curve up to it. A rate that is not gets a second chance."""
    curve: list[dict[str, Any]] = []
    rate, knee, misses = first, 0.0, 0
    while misses < 2:
        curve.append(await load.press(rate, seconds))
        if is_sustained(curve[-1]):
            knee, rate, misses = rate, rate * GROWTH, 0
        else:
            misses += 1
        if misses == 2 and not knee and rate > LEAST:
            rate, misses = rate / 2, 0
        await asyncio.sleep(1.0)
    return knee or rate, curve


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
        load = Load(server.port, token, f"/api/app/workflows/{workflow_id}/execute")
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
            "connections": load.open,
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
