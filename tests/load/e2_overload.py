"""E1 and E2: the most starts a second that a server sustains, and what it does with three times as many.

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
import random
import re
import sys
from collections import Counter
from contextlib import AsyncExitStack
from typing import Any, cast

import asyncpg
import uvloop
from stand import cpu_seconds, percentiles, resident_mb, stand

ECHO = {"name": "Echo", "nodes": [{"id": "a", "type": "echo"}], "connections": []}
P99_MS = 250.0
GOOD_SECONDS = 2.0
GROWTH = 1.25
LEAST = 10.0
MOST_OPEN = 1_500
A_TICK = 0.001
"""Seconds in which what is due is sent together: to wait for each start by itself costs more than to send it."""
TENANT = "many"
_LENGTH = re.compile(rb"(?i)\r\ncontent-length: *(\d+)")


class Starter(asyncio.Protocol):
    """One connection that carries one start at a time. It costs next to nothing, so that the server has its core."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self._buffer = b""
        self._due = 0.0
        self._transport: asyncio.Transport | None = None
        self.is_busy = True  # until it is connected

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def begin(self, due: float) -> None:
        """Send the start that was due at a time of the loop's clock."""
        assert self._transport is not None
        self.is_busy, self._due = True, due
        self._transport.write(self._load.request)

    def data_received(self, data: bytes) -> None:
        self._buffer = self._buffer + data if self._buffer else data
        head, end, body = self._buffer.partition(b"\r\n\r\n")
        size = _LENGTH.search(head)
        if not end or size is None or len(body) < int(size[1]):
            return
        self._buffer = b""
        self.is_busy = False
        self._load.note(self, int(head[9:12]), body, self._due)

    def connection_lost(self, exc: Exception | None) -> None:
        self._load.forget(self)


class Load:
    """Starts executions of one tenant at a given rate, over as many connections as that takes."""

    def __init__(self, port: int, token: str, path: str) -> None:
        self._port = port
        self.request = (
            f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json\r\n"
            f"Authorization: Bearer {token}\r\nContent-Length: 2\r\n\r\n{{}}"
        ).encode()
        self._idle: list[Starter] = []
        self._opening: set[asyncio.Task[None]] = set()
        self._taken: dict[int, list[float]] = {}
        self._open = self._unanswered = self._unsent = self._lost = 0
        self._reasons: Counter[str] = Counter()

    @property
    def connections(self) -> int:
        """How many are open."""
        return self._open

    async def press(self, rate: float, seconds: float) -> dict[str, Any]:
        """``rate`` starts a second for so long; what was answered, and how fast."""
        loop = asyncio.get_running_loop()
        self._taken, self._unsent, self._lost = {}, 0, 0
        self._reasons.clear()
        begun, at = loop.time(), 0.0
        while at < seconds:
            await asyncio.sleep(max(A_TICK, begun + at - loop.time()))
            while at < seconds and begun + at <= loop.time():
                self._start(begun + at)
                at += random.expovariate(rate)
        async with asyncio.timeout(60):
            while self._unanswered:
                await asyncio.sleep(0.02)
        return self._told(rate, seconds)

    def _start(self, due: float) -> None:
        if self._idle:
            self._unanswered += 1
            self._idle.pop().begin(due)
        elif self._open < MOST_OPEN:
            self._open += 1
            self._unanswered += 1
            opening = asyncio.create_task(self._start_anew(due))
            self._opening.add(opening)
            opening.add_done_callback(self._opening.discard)
        else:
            self._unsent += 1

    async def _start_anew(self, due: float) -> None:
        loop = asyncio.get_running_loop()
        try:
            _, starter = await loop.create_connection(lambda: Starter(self), "127.0.0.1", self._port)
        except OSError:
            self._lost += 1
            self._open -= 1
            self._unanswered -= 1
            return
        starter.begin(due)

    def note(self, starter: Starter, status: int, body: bytes, due: float) -> None:
        """A start was answered."""
        self._unanswered -= 1
        self._taken.setdefault(status, []).append(asyncio.get_running_loop().time() - due)
        if status != 200:
            self._reasons[json.loads(body)["message"]] += 1
        self._idle.append(starter)

    def forget(self, starter: Starter) -> None:
        """A connection is gone, and with it the start that had no answer yet."""
        self._open -= 1
        if starter.is_busy:
            self._unanswered -= 1
            self._lost += 1
        else:
            self._idle.remove(starter)

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
