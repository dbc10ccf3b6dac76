"""W5: chats through `/v1/chat/completions` with key, limits, budget and booking on, beside LiteLLM and the provider.

Run: `python -m benchmarks.models [--rounds 5] [--seconds 3] [--without-peer]`. All systems run at the same time and are
measured in turn. Prints one JSON line for each measurement, then the medians and how they stand to the goals.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.drive import Figures, Shape, WrongAnswer, measure
from benchmarks.http1 import Connection
from benchmarks.machine import cpu_seconds, process_table
from benchmarks.peers import litellm
from benchmarks.program import Program, free_port

KEYS = tuple(f"il-bench-key-{number}-of-the-model-relay-0123456789" for number in range(5))
"""Several, because one caller may hold 20 streams open."""
ADMIN = "il-bench-admin-of-the-model-relay-0123456789"
MESSAGES = [{"role": "user", "content": "hello, what can you do for me?"}]
PATH = "/v1/chat/completions"
MODES, DRIVERS = ("plain", "stream"), (1, 50)
PEER_FACTOR = {"plain": 25.0, "stream": 50.0}
MOST_MEGABYTES = 150.0

Row = dict[str, float]
Place = tuple[str, str, int]
"""System, mode and number of drivers."""


@dataclass(frozen=True)
class System:
    """Where one of them listens, its process, and the keys to call it with."""

    port: int
    pid: int
    keys: tuple[str, ...]


def _environment(upstream: int) -> dict[str, str]:
    price = {"fake": {"input": 0.1, "output": 0.2}}
    provider = {"base_url": f"http://127.0.0.1:{upstream}/v1", "models": ["fake"], "prices": price}
    tier = "development"  # the limits are checked and cannot be reached
    keys = {key: {"scopes": ["models:use"], "rate_limit_tier": tier} for key in KEYS}
    return {
        "INTERLOCK_LOCAL": "true",
        "INTERLOCK_MODEL_PROVIDERS": json.dumps({"fake": provider}),
        "MCP_API_KEYS": json.dumps({**keys, ADMIN: {"scopes": ["admin"], "rate_limit_tier": tier}}),
    }


@contextmanager
def systems(*, with_peer: bool) -> Iterator[dict[str, System]]:
    """The provider by itself, Interlock before it, and LiteLLM before it."""
    with ExitStack() as stack:
        place = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="interlock-w5-")))
        upstream, port = free_port(), free_port()
        fake = [sys.executable, "-m", "benchmarks.models_upstream", str(upstream)]
        provider = stack.enter_context(Program(fake, log=place / "upstream.log"))
        provider.expect("ready", 10)
        up = [sys.executable, "-m", "interlock", "up", "--port", str(port), "--data", str(place / "data")]
        log, environment = place / "interlock.log", _environment(upstream)
        server = stack.enter_context(Program(up, log=log, environment=environment))
        server.expect("ready ", 60)
        _set_budget(port)
        found = {"direct": System(upstream, provider.pid, KEYS), "interlock": System(port, server.pid, KEYS)}
        if with_peer:
            peer = free_port()
            pid = stack.enter_context(litellm.running(peer, upstream, place))
            found["litellm"] = System(peer, pid, (litellm.KEY,))
        yield found


def _set_budget(port: int) -> None:
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/v1/budgets/tenant",
        data=b'{"cap_usd": 1000}',
        method="PUT",
        headers={"Authorization": f"Bearer {ADMIN}", "Content-Type": "application/json"},
    )
    urllib.request.urlopen(request, timeout=10).close()


async def load(system: System, drivers: int, seconds: float, *, is_stream: bool) -> tuple[Figures, float]:
    """A closed loop of so many drivers, each on its own connection, and the CPU seconds that it cost the system."""
    asked = {"model": "fake", "max_tokens": 100, "messages": MESSAGES, **({"stream": True} if is_stream else {})}
    body = json.dumps(asked, separators=(",", ":")).encode()
    keys = system.keys
    free = [
        await Connection.open(system.port, {"Authorization": f"Bearer {keys[number % len(keys)]}"})
        for number in range(drivers)
    ]
    wanted = b"data: [DONE]" if is_stream else b"how may I help"

    async def run_one() -> None:
        connection = free.pop()
        try:
            status, answer = await connection.post(PATH, body)
        finally:
            free.append(connection)
        if status != 200 or wanted not in answer:
            raise WrongAnswer(f"{status}: {answer[:200]!r}")

    await measure(run_one, Shape(drivers, 200, 0, seconds / 2))
    before = _cpu(system.pid)
    figures = await measure(run_one, Shape(drivers, 10_000_000, 0, seconds))
    cpu = _cpu(system.pid) - before
    for connection in free:
        connection.close()
    return figures, cpu


def resident_megabytes(pid: int) -> float:
    """Memory of one process."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096 / 1_048_576


def _cpu(pid: int) -> float:
    """CPU seconds of a process and all that it started: its database too."""
    return process_table()[pid].cpu + cpu_seconds(pid)


def _measure(system: System, drivers: int, seconds: float, mode: str) -> Row:
    figures, cpu = asyncio.run(load(system, drivers, seconds, is_stream=mode == "stream"))
    if figures.failed:
        raise SystemExit(f"a wrong answer: {figures.first_failure}")
    return {
        "rps": round(figures.done / figures.wall_s, 1),
        "p50_ms": round(figures.p50_ms, 3),
        "p99_ms": round(figures.p99_ms, 3),
        "cpu_ms": round(cpu * 1000 / figures.done, 4),
        "rss_mb": round(resident_megabytes(system.pid), 1),
    }


def medians(rows: dict[Place, list[Row]]) -> dict[Place, Row]:
    """The middle of each figure."""
    return {
        place: {name: round(statistics.median(row[name] for row in measured), 3) for name in measured[0]}
        for place, measured in rows.items()
    }


def verdicts(found: dict[Place, Row]) -> Iterator[str]:
    """How the medians stand to the goals, a line each."""
    largest = max(row["rss_mb"] for place, row in found.items() if place[0] == "interlock")
    yield f"memory: {largest:.0f} MB (goal: below {MOST_MEGABYTES:.0f})"
    if ("litellm", "plain", 1) not in found:
        return
    for mode in MODES:
        ours, theirs = found["interlock", mode, 50]["rps"], found["litellm", mode, 50]["rps"]
        yield f"{mode} c=50: {ours / theirs:.1f} x LiteLLM (goal: {PEER_FACTOR[mode]:.0f} x)"
        bare = found["direct", mode, 1]["p50_ms"]
        added = {name: found[name, mode, 1]["p50_ms"] - bare for name in ("interlock", "litellm")}
        share = added["interlock"] / added["litellm"]
        yield f"{mode} c=1: {added['interlock']:.2f} ms added, 1/{1 / share:.0f} of LiteLLM's (goal: 1/10)"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--without-peer", action="store_true", help="leave LiteLLM out")
    options = parser.parse_args()
    rows: dict[Place, list[Row]] = {}
    with systems(with_peer=not options.without_peer) as found:
        for _ in range(options.rounds):
            for mode in MODES:
                for drivers in DRIVERS:
                    for name, system in found.items():
                        row = _measure(system, drivers, options.seconds, mode)
                        rows.setdefault((name, mode, drivers), []).append(row)
                        print(json.dumps({"system": name, "mode": mode, "c": drivers, **row}), flush=True)
    middle = medians(rows)
    for (name, mode, drivers), row in middle.items():
        print(f"{name:10} {mode:7} c={drivers:<3} {row}")
    for line in verdicts(middle):
        print(line)


if __name__ == "__main__":
    main()
