"""D1 at its scale: fifty parallel copies of each of three hundred keyed starts, over two processes.

    PYTHONPATH=src python tests/load/d1_copies.py --keys 300 --copies 50

Prints one JSON object. The exit code is 1 unless each key has started exactly one execution, every answer that is no
conflict names that one, and all but one of them say that they are replays.
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
from stand import stand

ECHO = {"name": "Echo", "nodes": [{"id": "a", "type": "echo", "parameters": {"input": "{{ $input.n }}"}}]}
AT_ONCE = 4
"""Keys whose copies are under way at the same time."""


async def copies_of(key: str, clients: list[httpx2.AsyncClient], path: str, count: int) -> list[httpx2.Response]:
    """The answers to so many copies of one start, sent together."""

    async def copy(number: int) -> httpx2.Response:
        client = clients[number % len(clients)]
        return await client.post(path, json={"inputs": {"n": key}}, headers={"idempotency-key": key})

    return await asyncio.gather(*(copy(number) for number in range(count)))


def wrong_with(answers: list[httpx2.Response]) -> str:
    """What of one key's answers contradicts that it is one execution; empty if nothing does."""
    good = [answer for answer in answers if answer.status_code == 200]
    others = {(a.status_code, a.json().get("error_code")) for a in answers if a.status_code != 200}
    if len({answer.json()["execution_id"] for answer in good}) != 1:
        return "not one execution"
    if sum("idempotency-replayed" not in answer.headers for answer in good) > 1:
        return "more than one answer that is no replay"
    return "" if others <= {(409, "IDEMPOTENCY_IN_PROGRESS")} else f"answers {sorted(map(str, others))}"


async def run(keys: int, copies: int) -> dict[str, Any]:
    async with AsyncExitStack() as stack:
        place = await stand(stack, 2)
        token = place.token("somebody", "copies")
        clients = [await stack.enter_async_context(server.client(token)) for server in place.servers]
        stored = await clients[0].post("/api/app/workflows", json=ECHO)
        workflow_id = stored.raise_for_status().json()["workflow_id"]
        path = f"/api/app/workflows/{workflow_id}/execute"
        turns = asyncio.Semaphore(AT_ONCE)
        statuses: Counter[int] = Counter()
        wrong: Counter[str] = Counter()

        async def one(number: int) -> None:
            async with turns:
                answers = await copies_of(f"key-{number}", clients, path, copies)
            statuses.update(answer.status_code for answer in answers)
            if found := wrong_with(answers):
                wrong[found] += 1

        began = time.perf_counter()
        await asyncio.gather(*(one(number) for number in range(keys)))
        lasted = time.perf_counter() - began
        listed = (await clients[0].get(f"/api/app/workflows/{workflow_id}/executions?limit=1")).raise_for_status()
        return {
            "keys": keys,
            "copies": copies,
            "seconds": round(lasted, 1),
            "statuses": statuses,
            "executions": listed.json()["total_count"],
            "wrong": wrong,
            "load_average": os.getloadavg(),
        }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keys", type=int, default=300)
    parser.add_argument("--copies", type=int, default=50)
    options = parser.parse_args()
    found = asyncio.run(run(options.keys, options.copies))
    print(json.dumps(found, indent=2))
    return int(bool(found["wrong"]) or found["executions"] != options.keys)


if __name__ == "__main__":
    sys.exit(main())
