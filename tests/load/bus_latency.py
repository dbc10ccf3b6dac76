"""How long an event of process A takes to a watcher on process B: over Postgres, and over Redis.

    PYTHONPATH=src python tests/load/bus_latency.py --events 400

Prints one JSON object. Times are milliseconds: ``delay`` from the moment the event was decided on A, its commit
included, until the watcher has it; ``across`` what B's watcher waits longer than A's own. The exit code is 1 if the
median delay on B is more than 20 ms, for one session or for all of the tenant.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import time
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from stand import percentiles, stand
from wire_client import WireClient

BOUND_MS = 20.0
PAUSE = 0.02  # seconds between two events, so that they do not share a commit


class Delays:
    """When each watcher had each tick."""

    def __init__(self) -> None:
        self.delay: list[float] = []
        self.at: dict[int, float] = {}

    def note(self, client: WireClient, tick: int, age: float) -> None:
        self.delay.append(age)
        self.at[tick] = time.perf_counter()


async def measure(redis: bool, events: int) -> dict[str, Any]:
    """Push events on A and watch them on both."""
    async with AsyncExitStack() as stack:
        found = await stand(stack, 2, redis=redis)
        here, there = found.servers
        flow = await found.flow("t")
        token = found.token("watcher", "t")
        client = await stack.enter_async_context(here.client(token))
        started = await client.post("/api/workflow/start", json={"flow_id": flow})
        started.raise_for_status()
        session = started.json()["session_id"]
        await asyncio.sleep(5)  # until each knows of the other
        watched = {name: Delays() for name in ("on_a", "on_b", "all_on_b")}
        places = {"on_a": (here, session), "on_b": (there, session), "all_on_b": (there, "*")}
        for name, (server, wanted) in places.items():
            url = f"{server.url.replace('http', 'ws', 1)}/ws/events/{wanted}?live=1"
            watcher = await WireClient(url, token, watched[name].note).connect()
            stack.callback(watcher.leave)
        await asyncio.sleep(1)
        for _ in range(events // 2):
            body = {"event_type": "TURN", "wait_ms": 0}
            (await client.post(f"/api/workflow/{session}/event", json=body)).raise_for_status()
            await asyncio.sleep(PAUSE)
        await asyncio.sleep(2)
        across = [at - watched["on_a"].at[tick] for tick, at in watched["on_b"].at.items()]
        return {
            **{name: percentiles(delays.delay) for name, delays in watched.items()},
            "across": percentiles(across),
        }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=400)
    events = parser.parse_args().events
    found: dict[str, Any] = {
        "postgres": asyncio.run(measure(False, events)),
        "redis": asyncio.run(measure(True, events)),
        "load_average": os.getloadavg(),
    }
    print(json.dumps(found, indent=2))
    medians = [found[bus][name]["p50"] for bus in ("postgres", "redis") for name in ("on_b", "all_on_b")]
    return int(max(medians) > BOUND_MS)


if __name__ == "__main__":
    sys.exit(main())
