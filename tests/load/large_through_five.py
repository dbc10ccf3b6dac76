"""How long 10 MB take through five tasks of users' code, each in the sandbox, and how large the rows of it are.

    PYTHONPATH=src python tests/load/large_through_five.py --rounds 5

A run of the lattice door: the first task makes an array, the next three change one number of it and hand it on, and
the last checks all of it. So there are four large values, and each passes through the server into a file and on into
the next sandbox. Counted from the request that runs it to the end of the run, with all sandboxes warm: as a *list* of
numbers (10 MB of JSON), and as *bytes* (10 MB of doubles), by turns, so that both meet the same neighbours.

Prints one JSON object; the exit code is 1 if the median of a form took longer than MOST_SECONDS, if a row is larger
than MOST_ROW, or if a result is wrong.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
import tempfile
import time
from contextlib import AsyncExitStack
from typing import Any

import asyncpg
from stand import cpu_seconds, stand

MOST_SECONDS = 1.0
MOST_ROW = 64 * 1024
WAIT_MS = 30_000
TENANT = "many"
TASKS = ("make", "change", "change", "change", "check")
FORMS = {
    "list": """
def make(params):
    return {"rows": [number * 1.0000001 for number in range(600_000)]}
def change(params):
    params["rows"][0] += 1
    return params
def check(params):
    rows = params["rows"]
    return {"is_right": rows[0] == 3 and rows[1:] == make(None)["rows"][1:]}
""",
    "bytes": """
import array
made = array.array("d", range(1_310_720)).tobytes()
def make(params):
    return {"rows": made}
def change(params):
    rows = array.array("d", params["rows"])
    rows[0] += 1
    return {"rows": rows.tobytes()}
def check(params):
    rows = array.array("d", params["rows"])
    return {"is_right": rows[0] == 3 and rows[1:].tobytes() == made[8:]}
""",
}
_TABLES = "select relname from pg_class where relnamespace = 'interlock'::regnamespace and relkind = 'r'"


class Lattice:
    """A caller of the lattice door."""

    def __init__(self, client: Any) -> None:
        self._client = client

    async def call(self, path: str, **body: Any) -> dict[str, Any]:
        answer = await self._client.post(path, json=body)
        answer.raise_for_status()
        return dict(answer.json())

    async def chain(self, text: str) -> tuple[str, str]:
        """Five functions of one text, each with the ``rows`` of the one before; the workflow, and its last task."""
        workflow_id = (await self.call("/create_workflow"))["workflow_id"]
        task_id = ""
        for name in TASKS:
            given = {"key": "rows", "input_schema": "from_task", "value": f"{task_id}.output.rows"}
            params = {"input_params": {"1": given} if task_id else {}}
            task_id = (await self.call("/add_task", workflow_id=workflow_id, task_name=name))["task_id"]
            body = {"workflow_id": workflow_id, "task_id": task_id, "code_str": text, "task_input": params}
            await self.call("/save_task_and_add_edge", task_name=name, **body)
        return workflow_id, task_id

    async def seconds(self, workflow_id: str, last: str) -> float:
        """Of one run, whose last task must have found everything right."""
        began = time.perf_counter()
        run_id = (await self.call("/run_workflow", workflow_id=workflow_id))["run_id"]
        found = (await self._client.get(f"/runs/{run_id}", params={"wait_ms": WAIT_MS})).json()
        taken = time.perf_counter() - began
        told = (await self._client.get(f"/api/app/executions/{run_id}")).json()
        results = {each["node_id"]: each["output_data"] for each in told.get("node_executions") or []}
        if found["status"] != "completed" or results.get(last) != {"is_right": True}:
            raise SystemExit(f"a run is wrong: {str(found)[:800]} {str(told)[:800]}")
        return round(taken, 3)


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


async def measure(rounds: int, forms: list[str]) -> dict[str, Any]:
    async with AsyncExitStack() as stack:
        blobs = stack.enter_context(tempfile.TemporaryDirectory(prefix="interlock-blobs-"))
        one = await stand(stack, 1, INTERLOCK_BLOBS_DIR=blobs, INTERLOCK_BLOBS_DIR_IS_SHARED="true")
        server = one.servers[0]
        client = await stack.enter_async_context(server.client(server.mint("ann", TENANT)))
        lattice = Lattice(client)
        chains = {form: await lattice.chain(FORMS[form]) for form in forms}
        seconds: dict[str, list[float]] = {form: [] for form in forms}
        used = 0.0
        for number in range(rounds + 1):
            before = cpu_seconds(server.process.pid)
            for form, chain in chains.items():
                seconds[form].append(await lattice.seconds(*chain))
            used += cpu_seconds(server.process.pid) - before if number else 0
        return {
            "seconds": {form: each[1:] for form, each in seconds.items()},
            "median": {form: statistics.median(each[1:]) for form, each in seconds.items()},
            "server_cpu_seconds_a_round": round(used / rounds, 3),
            "largest_row": await largest_row(one.superuser_url),
        }


def misses(found: dict[str, Any]) -> list[str]:
    """The bounds that are not kept."""
    late = [form for form, median in found["median"].items() if median > MOST_SECONDS]
    return late + ["rows"] * (found["largest_row"]["bytes"] > MOST_ROW)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--forms", nargs="*", default=list(FORMS), choices=list(FORMS))
    given = parser.parse_args()
    found = asyncio.run(measure(given.rounds, given.forms))
    found["misses"] = misses(found)
    print(json.dumps(found, indent=2))
    return int(bool(found["misses"]))


if __name__ == "__main__":
    sys.exit(main())
