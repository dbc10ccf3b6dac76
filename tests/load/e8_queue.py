"""E8: a tenant that starts more than its queue holds is refused at the cap, and what waits is then done in order.

    PYTHONPATH=src python tests/load/e8_queue.py --starts 12000 --queue 10000

One process works on a single execution of the tenant at a time, so all others queue. Then a process with more room
joins, and the queue drains. Prints one JSON object; the exit code is 1 if the queue grew more than 5 % beyond its cap,
or if anything but 200 and 429 was answered.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import time
from collections import Counter
from contextlib import AsyncExitStack
from typing import Any

import httpx2
from stand import percentiles, resident_mb, stand

HOLDS = {"name": "Holds", "nodes": [{"id": "w", "type": "wait", "parameters": {"seconds": 4}}], "connections": []}
WIDTH = 32


async def store(client: httpx2.AsyncClient, workflow: dict[str, Any]) -> str:
    stored = (await client.post("/api/app/workflows", json=workflow)).raise_for_status()
    return f"/api/app/workflows/{stored.json()['workflow_id']}/execute"


async def depth(client: httpx2.AsyncClient) -> int:
    listed = (await client.get("/api/app/executions?status=active&limit=1")).raise_for_status()
    return int(listed.json()["total_count"])


async def run(starts: int, queue: int) -> dict[str, Any]:
    async with AsyncExitStack() as stack:
        place = await stand(stack, 1, INTERLOCK_TENANT_CAP="1", INTERLOCK_TENANT_QUEUE=str(queue))
        server = place.servers[0]
        client = await stack.enter_async_context(server.client(place.token("somebody", "many")))
        path = await store(client, HOLDS)
        statuses: Counter[int] = Counter()
        refused: list[float] = []
        turns = asyncio.Semaphore(WIDTH)

        async def start() -> None:
            async with turns:
                began = time.perf_counter()
                answer = await client.post(path, json={})
                statuses[answer.status_code] += 1
                if answer.status_code == 429:
                    assert answer.headers["retry-after"]
                    refused.append(time.perf_counter() - began)

        began = time.perf_counter()
        await asyncio.gather(*(start() for _ in range(starts)))
        filled = time.perf_counter() - began
        deepest = await depth(client)
        drain = time.perf_counter()
        place.start(INTERLOCK_TENANT_CAP="100000", INTERLOCK_SLOTS="2000").ready()
        while left := await depth(client):
            deepest = max(deepest, left)
            await asyncio.sleep(2.0)
        return {
            "starts": starts,
            "queue": queue,
            "fill_seconds": round(filled, 1),
            "statuses": statuses,
            "most_waiting": deepest,
            "refused": percentiles(refused),
            "drain_seconds": round(time.perf_counter() - drain, 1),
            "resident_mb": resident_mb(server.process.pid),
            "load_average": os.getloadavg(),
        }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--starts", type=int, default=12_000)
    parser.add_argument("--queue", type=int, default=10_000)
    options = parser.parse_args()
    found = asyncio.run(run(options.starts, options.queue))
    print(json.dumps(found, indent=2))
    too_deep = found["most_waiting"] > options.queue * 1.05
    return int(too_deep or not set(found["statuses"]) <= {200, 429})


if __name__ == "__main__":
    sys.exit(main())
