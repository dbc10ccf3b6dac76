"""The closed loop every load goes through, and the few lines a driver and the harness say to each other.

driver: `warm`, harness: `go`, driver: `figures {json}`,
harness: SIGTERM. Standard library only: it also runs inside a peer's environment.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass

_MOST_FAILURES = 20


class WrongAnswer(Exception):
    """An execution ended otherwise than it must: the measurement is worth nothing, the text says why."""


@dataclass(frozen=True)
class Shape:
    """How much to run: `drivers` at once, at most `executions`, no new one after `seconds`; `warm` of them first."""

    drivers: int
    executions: int
    warm: int
    seconds: float


@dataclass(frozen=True)
class Figures:
    """What a driver saw. Latencies are start to result of one execution in ms; cpu_s is the driver's own."""

    done: int
    wall_s: float
    p50_ms: float
    p99_ms: float
    max_ms: float
    cpu_s: float
    failed: int
    first_failure: str | None


RunOne = Callable[[], Awaitable[None]]


async def drive(run_one: RunOne, shape: Shape) -> None:
    """Warm up, report `warm`, wait for `go`, run the closed loop, print the figures, stay until ended.

    It stays because closing connections ends processes of the database, and their CPU is to be read first.
    """
    await _closed_loop(run_one, shape.drivers, shape.warm, shape.seconds)
    print("warm", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    print("figures " + json.dumps(asdict(await measure(run_one, shape))), flush=True)
    await asyncio.to_thread(sys.stdin.readline)


async def measure(run_one: RunOne, shape: Shape) -> Figures:
    """Run the closed loop once and return what it showed."""
    cpu, start = time.process_time(), time.perf_counter()
    latencies, failures = await _closed_loop(run_one, shape.drivers, shape.executions, shape.seconds)
    wall = time.perf_counter() - start
    latencies.sort()
    return Figures(
        done=len(latencies),
        wall_s=round(wall, 4),
        p50_ms=percentile(latencies, 0.50) * 1e3,
        p99_ms=percentile(latencies, 0.99) * 1e3,
        max_ms=percentile(latencies, 1.0) * 1e3,
        cpu_s=time.process_time() - cpu,
        failed=len(failures),
        first_failure=failures[0] if failures else None,
    )


def percentile(ordered: list[float], share: float) -> float:
    """The value below which `share` of the ordered values lie; nan if there are none."""
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else float("nan")


async def _closed_loop(run_one: RunOne, drivers: int, executions: int, seconds: float) -> tuple[list[float], list[str]]:
    latencies: list[float] = []
    failures: list[str] = []
    tickets = iter(range(executions))
    end = time.perf_counter() + seconds

    async def driver() -> None:
        for _ in tickets:
            start = time.perf_counter()
            if start > end or len(failures) >= _MOST_FAILURES:
                return
            try:
                await run_one()
            except WrongAnswer as wrong:
                failures.append(str(wrong))
            else:
                latencies.append(time.perf_counter() - start)

    await asyncio.gather(*(driver() for _ in range(min(drivers, executions))))
    return latencies, failures
