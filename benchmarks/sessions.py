"""Tempo sessions: start and event over HTTP with key, limits and audit on, in a closed loop.

Run: `python -m benchmarks.sessions [--rounds 5] [--seconds 3] [--drivers 1 50]`. Prints one JSON line for each
measurement, then medians.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import msgspec

from benchmarks.drive import Shape, WrongAnswer, measure, percentile
from benchmarks.http1 import Connection
from benchmarks.machine import cpu_seconds, process_table
from benchmarks.models import resident_megabytes
from benchmarks.program import Program, free_port

KEY = "il-bench-key-of-the-tempo-sessions-0123456789"
START = b'{"flow_id":"echo_test_flow","params":{"input":"x"}}'
CONFIRM = b'{"event_type":"USER_CONFIRM","payload":{"a":1}}'


class _Started(msgspec.Struct):
    session_id: str
    session_state: str


class _Moved(msgspec.Struct):
    session_state: str


_Answer = TypeVar("_Answer", _Started, _Moved)


@contextmanager
def server() -> Iterator[tuple[int, int]]:
    """Port and process of a server on fresh data, whose limits are checked and cannot be reached."""
    keys = {KEY: {"scopes": ["workflows:execute", "executions:signal"], "rate_limit_tier": "development"}}
    environment = {"INTERLOCK_LOCAL": "true", "MCP_API_KEYS": json.dumps(keys)}
    with tempfile.TemporaryDirectory(prefix="interlock-tempo-") as folder:
        place, port = Path(folder), free_port()
        command = [sys.executable, "-m", "interlock", "up", "--port", str(port), "--data", str(place / "data")]
        with Program(command, log=place / "interlock.log", environment=environment) as program:
            program.expect("ready ", 60)
            yield port, program.pid


class Sessions:
    """Each run starts one session and ends it with one event; the latencies of both are kept, in seconds."""

    def __init__(self, free: list[Connection]) -> None:
        self._free = free
        self.starts: list[float] = []
        self.events: list[float] = []

    async def run_one(self) -> None:
        """Start, then confirm. WrongAnswer if either is answered otherwise than it must."""
        connection, clock = self._free.pop(), asyncio.get_running_loop().time
        try:
            began = clock()
            started = _read(await connection.post("/api/workflow/start", START), _Started, "waiting_user")
            between = clock()
            path = f"/api/workflow/{started.session_id}/event"
            _read(await connection.post(path, CONFIRM), _Moved, "completed")
            self.events.append(clock() - between)
            self.starts.append(between - began)
        finally:
            self._free.append(connection)


def _read(answer: tuple[int, bytes], shape: type[_Answer], wanted: str) -> _Answer:
    status, body = answer
    if status != 200:
        raise WrongAnswer(f"{status}: {body[:300]!r}")
    found = msgspec.json.decode(body, type=shape)
    if found.session_state != wanted:
        raise WrongAnswer(f"{found.session_state!r} instead of {wanted!r}: {body[:300]!r}")
    return found


async def load(port: int, drivers: int, seconds: float) -> dict[str, float]:
    """A closed loop of so many drivers, each on its own connection."""
    free = [await Connection.open(port, {"Authorization": f"Bearer {KEY}"}) for _ in range(drivers)]
    await measure(Sessions(free).run_one, Shape(drivers, 200, 0, seconds))
    sessions = Sessions(free)
    figures = await measure(sessions.run_one, Shape(drivers, 10_000_000, 0, seconds))
    for connection in free:
        connection.close()
    if figures.failed:
        raise SystemExit(f"a wrong answer: {figures.first_failure}")
    sessions.starts.sort()
    sessions.events.sort()
    return {
        "requests": 2 * figures.done,
        "rps": round(2 * figures.done / figures.wall_s, 1),
        "start_p50_ms": round(percentile(sessions.starts, 0.5) * 1e3, 3),
        "start_p99_ms": round(percentile(sessions.starts, 0.99) * 1e3, 3),
        "event_p50_ms": round(percentile(sessions.events, 0.5) * 1e3, 3),
        "event_p99_ms": round(percentile(sessions.events, 0.99) * 1e3, 3),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--drivers", type=int, nargs="+", default=[1, 50])
    options = parser.parse_args()
    rows: dict[int, list[dict[str, float]]] = {}
    with server() as (port, pid):
        for _ in range(options.rounds):
            for drivers in options.drivers:
                row = _measure(port, pid, drivers, options.seconds)
                rows.setdefault(drivers, []).append(row)
                print(json.dumps({"c": drivers, **row}), flush=True)
    for drivers, measured in rows.items():
        print(
            f"c={drivers:<3}", {key: round(statistics.median(row[key] for row in measured), 3) for key in measured[0]}
        )


def _measure(port: int, pid: int, drivers: int, seconds: float) -> dict[str, float]:
    server_before, all_before = process_table()[pid].cpu, cpu_seconds(pid)
    row = asyncio.run(load(port, drivers, seconds))
    requests = row.pop("requests")
    return {
        **row,
        "server_cpu_ms": round((process_table()[pid].cpu - server_before) * 1000 / requests, 4),
        "database_cpu_ms": round((cpu_seconds(pid) - all_before) * 1000 / requests, 4),
        "rss_mb": round(resident_megabytes(pid), 1),
    }


if __name__ == "__main__":
    main()
