"""How many calls of trusted functions the durable engine makes a second, each recorded, with its result, in the log.

    PYTHONPATH=src python tests/load/trusted_functions.py --executions 10 --tasks 1000

Executions of one graph are started together; each maps a registered function of one line over a list, a hundred at a
time. The function runs in the server's own child processes. One round to warm up, three that count.

Prints one JSON object; the exit code is 1 if the median round made fewer than LEAST tasks a second, or if a result
is missing or wrong.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import sys
import tempfile
import time
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from stand import cpu_seconds, stand

LEAST = 3_000.0
"""Tasks a second that a server on two cores is to make."""
WAIT = 30.0
"""Seconds for one execution to end."""
TENANT = "many"
MODULE = "def increase(arguments):\n    return {'n': arguments['n'] + 1}\n"
GRAPH = {
    "name": "Increase",
    "nodes": [
        {"id": "each", "type": "map", "parameters": {"items": "{{ $json.numbers }}", "concurrency": 100}},
        {
            "id": "increase",
            "type": "python",
            "parameters": {"function": "load.increase", "arguments": {"n": "{{ $loop.item }}"}},
        },
    ],
    "connections": [
        {"from": "each", "to": "increase", "port": "iteration"},
        {"from": "increase", "to": "each"},
    ],
}


def install(folder: Path) -> None:
    """Make a package with one registered function, as ``pip install`` would leave it there."""
    metadata = folder / "load_functions-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: load_functions\nVersion: 1.0\n", encoding="utf-8")
    (metadata / "entry_points.txt").write_text(
        "[interlock.functions]\nload.increase = load_functions:increase\n", encoding="utf-8"
    )
    (folder / "load_functions.py").write_text(MODULE, encoding="utf-8")


async def run_round(client: Any, workflow_id: str, executions: int, tasks: int) -> float:
    """Seconds until all executions have succeeded; raises if a result is not what it should be."""
    numbers = list(range(tasks))

    async def run_one() -> None:
        body = {"input": {"numbers": numbers}, "wait_ms": int(1000 * WAIT)}
        found = (await client.post(f"/api/app/workflows/{workflow_id}/execute", json=body)).json()
        results = found.get("result") or []
        if found["status"] != "SUCCESS" or [each["n"] for each in results] != [number + 1 for number in numbers]:
            raise SystemExit(f"an execution is wrong: {str(found)[:500]}")

    began = time.perf_counter()
    await asyncio.gather(*(run_one() for _ in range(executions)))
    return time.perf_counter() - began


async def measure(executions: int, tasks: int, rounds: int) -> dict[str, Any]:
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="interlock-functions-")))
        install(folder)
        path = os.pathsep.join(filter(None, (os.environ.get("PYTHONPATH"), str(folder))))
        server = (await stand(stack, 1, PYTHONPATH=path)).servers[0]
        client = await stack.enter_async_context(server.client(server.mint("author", TENANT)))
        made = (await client.post("/api/app/workflows", json=GRAPH)).json()
        await run_round(client, made["id"], executions, tasks)
        before = cpu_seconds(server.process.pid)
        seconds = [await run_round(client, made["id"], executions, tasks) for _ in range(rounds)]
        cpu = cpu_seconds(server.process.pid) - before
    count = executions * tasks
    return {
        "tasks_a_round": count,
        "tasks_a_second": [round(count / each) for each in seconds],
        "median": round(count / statistics.median(seconds)),
        "server_cpu_us_a_task": round(1e6 * cpu / (count * rounds)),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--executions", type=int, default=10)
    parser.add_argument("--tasks", type=int, default=1_000)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    found = asyncio.run(measure(given.executions, given.tasks, given.rounds))
    print(json.dumps(found, indent=2))
    return int(found["median"] < LEAST)


if __name__ == "__main__":
    sys.exit(main())
