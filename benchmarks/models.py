"""W5: chats through `/v1/chat/completions` with key, limits, budget and booking on, beside the same chats direct.

Run: `python -m benchmarks.models [--rounds 5] [--seconds 3]`. Prints one JSON line for each measurement, then medians.
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
from contextlib import contextmanager
from pathlib import Path

from benchmarks.drive import Figures, Shape, WrongAnswer, measure
from benchmarks.http1 import Connection
from benchmarks.machine import cpu_seconds, process_table
from benchmarks.program import Program, free_port

KEY = "il-bench-key-of-the-model-relay-0123456789"
ADMIN = "il-bench-admin-of-the-model-relay-0123456789"
MESSAGES = [{"role": "user", "content": "hello, what can you do for me?"}]
PATH = "/v1/chat/completions"


def _environment(upstream: int) -> dict[str, str]:
    price = {"fake": {"input": 0.1, "output": 0.2}}
    provider = {"base_url": f"http://127.0.0.1:{upstream}/v1", "models": ["fake"], "prices": price}
    tier = "development"  # the limits are checked and cannot be reached
    keys = {
        KEY: {"scopes": ["models:use"], "rate_limit_tier": tier},
        ADMIN: {"scopes": ["admin"], "rate_limit_tier": tier},
    }
    return {
        "INTERLOCK_LOCAL": "true",
        "INTERLOCK_MODEL_PROVIDERS": json.dumps({"fake": provider}),
        "MCP_API_KEYS": json.dumps(keys),
    }


@contextmanager
def systems() -> Iterator[dict[str, tuple[int, int]]]:
    """Port and process of the provider by itself and of Interlock before it."""
    with tempfile.TemporaryDirectory(prefix="interlock-w5-") as folder:
        place, upstream, port = Path(folder), free_port(), free_port()
        fake = [sys.executable, "-m", "benchmarks.models_upstream", str(upstream)]
        up = [sys.executable, "-m", "interlock", "up", "--port", str(port), "--data", str(place / "data")]
        with (
            Program(fake, log=place / "upstream.log") as provider,
            Program(up, log=place / "interlock.log", environment=_environment(upstream)) as server,
        ):
            provider.expect("ready", 10)
            server.expect("ready ", 60)
            _set_budget(port)
            yield {"direct": (upstream, provider.pid), "interlock": (port, server.pid)}


def _set_budget(port: int) -> None:
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/v1/budgets/tenant",
        data=b'{"cap_usd": 1000}',
        method="PUT",
        headers={"Authorization": f"Bearer {ADMIN}", "Content-Type": "application/json"},
    )
    urllib.request.urlopen(request, timeout=10).close()


async def load(port: int, drivers: int, seconds: float, *, is_stream: bool) -> Figures:
    """A closed loop of so many drivers, each on its own connection."""
    asked = {"model": "fake", "max_tokens": 100, "messages": MESSAGES, **({"stream": True} if is_stream else {})}
    body = json.dumps(asked, separators=(",", ":")).encode()
    free = [await Connection.open(port, {"Authorization": f"Bearer {KEY}"}) for _ in range(drivers)]
    wanted = b"data: [DONE]" if is_stream else b"how may I help"

    async def run_one() -> None:
        connection = free.pop()
        try:
            status, answer = await connection.post(PATH, body)
        finally:
            free.append(connection)
        if status != 200 or wanted not in answer:
            raise WrongAnswer(f"{status}: {answer[:200]!r}")

    await measure(run_one, Shape(drivers, 200, 0, seconds))
    figures = await measure(run_one, Shape(drivers, 10_000_000, 0, seconds))
    for connection in free:
        connection.close()
    return figures


def resident_megabytes(pid: int) -> float:
    """Memory of one process."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096 / 1_048_576


def _cpu(pid: int) -> float:
    """CPU seconds of a process and all that it started: its database too."""
    return process_table()[pid].cpu + cpu_seconds(pid)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3.0)
    options = parser.parse_args()
    rows: dict[tuple[str, str, int], list[dict[str, float]]] = {}
    with systems() as found:
        for _ in range(options.rounds):
            for mode in ("plain", "stream"):
                for drivers in (1, 50):
                    for name, (port, pid) in found.items():
                        row = _measure(port, pid, drivers, options.seconds, mode)
                        rows.setdefault((name, mode, drivers), []).append(row)
                        print(json.dumps({"system": name, "mode": mode, "c": drivers, **row}), flush=True)
    for (name, mode, drivers), measured in rows.items():
        medians = {key: round(statistics.median(row[key] for row in measured), 3) for key in measured[0]}
        print(f"{name:10} {mode:7} c={drivers:<3} {medians}")


def _measure(port: int, pid: int, drivers: int, seconds: float, mode: str) -> dict[str, float]:
    before = _cpu(pid)
    figures = asyncio.run(load(port, drivers, seconds, is_stream=mode == "stream"))
    if figures.failed:
        raise SystemExit(f"a wrong answer: {figures.first_failure}")
    return {
        "rps": round(figures.done / figures.wall_s, 1),
        "p50_ms": round(figures.p50_ms, 3),
        "p99_ms": round(figures.p99_ms, 3),
        "cpu_ms": round((_cpu(pid) - before) * 1000 / figures.done, 4),
        "rss_mb": round(resident_megabytes(pid), 1),
    }


if __name__ == "__main__":
    main()
