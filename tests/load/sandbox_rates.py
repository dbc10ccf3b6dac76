"""How fast users' code begins in the sandbox, how often it is called there, and what large values cost on their way.

    PYTHONPATH=src python tests/load/sandbox_rates.py --cold 10 --calls 1000 --rounds 3

*cold*: runs of the lattice door, each of another tenant and another piece of code; counted from the start of the
request that runs it to the first line of the function. The clock is the machine's, which is the same inside. The very
first is told apart: no sandbox is ready for it.
*warm*: one execution maps one piece of code over a list.
*large*: 10 MB go through five tasks of one module, as a list of numbers and in the binary forms; counted from the
request that runs them to the end of the run, once to warm up. Every number is checked at the end.

Prints one JSON object; the exit code is 1 if a bound below is missed, or a result is wrong.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import statistics
import sys
import tempfile
import time
from contextlib import AsyncExitStack
from typing import Any

import asyncpg
from stand import cpu_seconds, percentiles, stand

from serving import descendants

MOST_COLD_MS = 150.0
LEAST_WARM = 300.0
MOST_LARGE_SECONDS = 1.0
MOST_ROW = 64 * 1024
TENANT = "many"
WAIT_MS = 30_000
PAUSE = 1.0
"""Seconds between two cold starts, so that each is one of an idle server."""
NUMBERS = 600_000
"""As JSON they are 10 MB."""
COLD = "import time\ndef first(params):\n    # {number}\n    return {{'at': time.monotonic()}}\n"
WARM = "def increase(params):\n    return {'n': params['n'] + 1}\n"
FORMS = {"list": "made.tolist()", "bytes": "made.tobytes()", "numpy": "made"}
"""What the first task gives; bytes and arrays are 10 MB of doubles."""
LARGE = """
import numpy
made = numpy.arange({numbers}) * 1.0000001
rows = {form}
def make(params):
    return {{"rows": rows}}
def hand_on(params):
    return {{"rows": params["rows"]}}
def check(params):
    got = params["rows"]
    if type(got) is not type(rows) or not numpy.array_equal(got, rows):
        raise ValueError(f"what came through is {{type(got).__name__}}, and not what was given")
    return {{}}
"""
_TABLES = "select relname from pg_class where relnamespace = 'interlock'::regnamespace and relkind = 'r'"


class Lattice:
    """A caller of the lattice door."""

    def __init__(self, client: Any) -> None:
        self._client = client

    async def call(self, path: str, **body: Any) -> dict[str, Any]:
        answer = await self._client.post(path, json=body)
        answer.raise_for_status()
        return dict(answer.json())

    async def build(self, text: str, names: list[str]) -> tuple[str, list[str]]:
        """A chain of functions of one text; its workflow and its tasks. Each reads ``rows`` of the one before."""
        workflow_id = (await self.call("/create_workflow"))["workflow_id"]
        tasks: list[str] = []
        for name in names:
            added = await self.call("/add_task", workflow_id=workflow_id, task_name=name)
            given = {"key": "rows", "input_schema": "from_task", "value": f"{tasks[-1]}.output.rows"} if tasks else None
            body = {"workflow_id": workflow_id, "task_id": added["task_id"], "code_str": text}
            params = {"input_params": {"1": given} if given else {}}
            await self.call("/save_task_and_add_edge", task_name=name, task_input=params, **body)
            tasks.append(added["task_id"])
        return workflow_id, tasks

    async def run(self, workflow_id: str) -> dict[str, Any]:
        """A run to its end."""
        run_id = (await self.call("/run_workflow", workflow_id=workflow_id))["run_id"]
        found = (await self._client.get(f"/runs/{run_id}", params={"wait_ms": WAIT_MS})).json()
        if found["status"] != "completed":
            raise SystemExit(f"a run is wrong: {str(found)[:800]}")
        return dict(found)

    async def result(self, run_id: str, task_id: str) -> Any:
        """What a task gave."""
        answer = (await self._client.get(f"/api/app/executions/{run_id}")).json()
        return next(each["output_data"] for each in answer["node_executions"] if each["node_id"] == task_id)


async def start_cold(server: Any, number: int) -> float:
    """Seconds from the request to the first line of a function that nobody has called before."""
    async with server.client(server.mint("ann", f"cold-{number}")) as client:
        lattice = Lattice(client)
        workflow_id, tasks = await lattice.build(COLD.format(number=number), ["first"])
        await asyncio.sleep(PAUSE)
        began = time.monotonic()
        found = await lattice.run(workflow_id)
        return float((await lattice.result(found["run_id"], tasks[0]))["at"]) - began


async def measure_warm(client: Any, calls: int, rounds: int) -> list[int]:
    """Calls a second of one piece of code, in each round."""
    lattice = Lattice(client)
    await lattice.build(WARM, ["increase"])  # stores the code
    digest = hashlib.sha256(b"source\0" + WARM.encode()).hexdigest()
    each = {"id": "each", "type": "map", "parameters": {"items": "{{ $json.numbers }}", "concurrency": 100}}
    call = {"code": digest, "function": "increase", "arguments": {"n": "{{ $loop.item }}"}}
    graph = {
        "name": "Increase",
        "nodes": [each, {"id": "increase", "type": "code", "parameters": call}],
        "connections": [
            {"from": "each", "to": "increase", "port": "iteration"},
            {"from": "increase", "to": "each"},
        ],
    }
    made = (await client.post("/api/app/workflows", json=graph)).json()
    rates = []
    for count in [calls // 4] + [calls] * rounds:
        began = time.perf_counter()
        body = {"input": {"numbers": list(range(count))}, "wait_ms": WAIT_MS}
        found = (await client.post(f"/api/app/workflows/{made['id']}/execute", json=body)).json()
        rates.append(round(count / (time.perf_counter() - began)))
        if [one["n"] for one in found.get("result") or []] != list(range(1, count + 1)):
            raise SystemExit(f"an execution is wrong: {str(found)[:800]}")
    return rates[1:]


def cpu_of(server: Any) -> float:
    """CPU seconds of a server and of all the processes that it has now."""
    return sum(cpu_seconds(pid) for pid in (server.process.pid, *descendants(server.process.pid)))


async def measure_large(server: Any, client: Any, form: str, rounds: int) -> dict[str, list[float]]:
    """Seconds of each run of five tasks that hand on one large value, and of processor time."""
    lattice = Lattice(client)
    text = LARGE.format(numbers=NUMBERS if form == "list" else NUMBERS * 2, form=FORMS[form])
    workflow_id, _ = await lattice.build(text, ["make", "hand_on", "hand_on", "hand_on", "check"])
    seconds, cpu = [], []
    for _ in range(rounds + 1):
        began, before = time.perf_counter(), cpu_of(server)
        await lattice.run(workflow_id)
        seconds.append(round(time.perf_counter() - began, 3))
        cpu.append(round(cpu_of(server) - before, 2))
    return {"seconds": seconds[1:], "cpu_seconds": cpu[1:]}


async def largest_row(url: str) -> dict[str, Any]:
    """The bytes of the largest row of all tables; texts count as they are, not as compressed."""
    connection = await asyncpg.connect(url)
    found = []
    for (table,) in await connection.fetch(_TABLES):
        columns = "select sum(octet_length(each.value)) from json_each_text(to_json(t)) each"
        size = "pg_column_size(t.*)" if table.startswith("blob") else f"({columns})"
        row = await connection.fetchrow(f'select max({size}) from interlock."{table}" t')
        found.append((int(row[0] or 0), table))
    await connection.close()
    return dict(zip(("bytes", "table"), max(found), strict=True))


async def measure(cold: int, calls: int, rounds: int, forms: list[str]) -> dict[str, Any]:
    async with AsyncExitStack() as stack:
        blobs = stack.enter_context(tempfile.TemporaryDirectory(prefix="interlock-blobs-"))
        one = await stand(stack, 1, INTERLOCK_BLOBS_DIR=blobs, INTERLOCK_BLOBS_DIR_IS_SHARED="true")
        server = one.servers[0]
        seconds = [await start_cold(server, number) for number in range(cold + 1)]
        client = await stack.enter_async_context(server.client(server.mint("ann", TENANT)))
        warm = await measure_warm(client, calls, rounds)
        large = {form: await measure_large(server, client, form, rounds) for form in forms}
        return {
            "cold_first_ms": round(1000 * seconds[0], 1),
            "cold_ms": percentiles(seconds[1:]),
            "warm_calls_a_second": warm,
            "large": large,
            "largest_row": await largest_row(one.superuser_url),
        }


def misses(found: dict[str, Any]) -> list[str]:
    """The bounds that are not kept."""
    checks = {
        "cold": found["cold_ms"]["p50"] <= MOST_COLD_MS,
        "warm": statistics.median(found["warm_calls_a_second"]) >= LEAST_WARM,
        **{form: statistics.median(each["seconds"]) <= MOST_LARGE_SECONDS for form, each in found["large"].items()},
        "rows": found["largest_row"]["bytes"] <= MOST_ROW,
    }
    return [name for name, is_kept in checks.items() if not is_kept]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cold", type=int, default=10, help="cold starts")
    parser.add_argument("--calls", type=int, default=1_000, help="calls of one piece of code in a round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--forms", nargs="*", default=list(FORMS), choices=list(FORMS))
    given = parser.parse_args()
    found = asyncio.run(measure(given.cold, given.calls, given.rounds, given.forms))
    found["misses"] = misses(found)
    print(json.dumps(found, indent=2))
    return int(bool(found["misses"]))


if __name__ == "__main__":
    sys.exit(main())
