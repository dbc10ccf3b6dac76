"""Large values between functions in sandboxes: parcels that the engine hands on, in no row, whoever takes over."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any

import msgspec

from conformance.sandbox_house import KeptCode, good_walls
from conformance.test_large_values import ROW, largest_row
from engine_house import House, chain
from interlock.backends.blobs.postgres import PostgresBlobs
from interlock.backends.executor.sandbox.executor import SandboxExecutor
from interlock.backends.store.postgres.ledger import PostgresLedger
from interlock.core.workflow import GraphDefinition, GraphSettings, NodeDefinition, Reference, RetryPolicy
from interlock.nodes.testing import ScriptedEgress
from interlock.runtime.engine import LocalEngine

CHANGE = """
    import os

    def make(params):
        return {"rows": [number * 1.0000001 for number in range(100_000)], "n": 1}

    def change(params):
        params["rows"][0] += 1
        return params

    def stumble(params):
        if os.environ["INTERLOCK_ATTEMPT"] == "1":
            raise ValueError("once more")
        return change(params)

    def check(params):
        rows = params["rows"]
        return {"first": rows[0], "is_right": rows[1:] == make(None)["rows"][1:], "keys": sorted(params)}
"""


async def engine_with_sandbox(house: House, shelf: KeptCode, scratch: Path, name: str = "test") -> LocalEngine:
    ledger = PostgresLedger(house.database.serve_url)
    blobs = PostgresBlobs(ledger.connection)
    sandbox = SandboxExecutor(good_walls(), shelf, ScriptedEgress([]), blobs, scratch=scratch, size=1)
    return await house.engine(name, ledger=ledger, executors={"sandbox": sandbox})


async def functions(house: House, shelf: KeptCode, text: str, *names: str, backoff: float = 0.2) -> GraphDefinition:
    """A task graph as the lattice door freezes it: each function gets ``rows`` of the one before."""
    digest = await shelf.put(house.tenant.tenant_id, "ann", "source", textwrap.dedent(text).encode())
    retry = RetryPolicy(max_attempts=2, backoff=backoff, jitter=False, retry_on=("ValueError",))
    nodes: list[NodeDefinition] = []
    for name in names:
        given = {"rows": Reference(node=nodes[-1].id, key="rows")} if nodes else {}
        parameters = {"code": digest, "form": "source", "function": name}
        nodes.append(
            NodeDefinition(
                id=f"n{len(nodes)}", type="code", parameters=parameters, arguments=given, join="every", retry=retry
            )
        )
    return msgspec.structs.replace(chain(*nodes), settings=GraphSettings(output={}))


async def output(house: House, node_id: str) -> Any:
    """What a task has given, as it stands in the log."""
    found = await house.rows(
        "select data::jsonb->'output' from interlock.events "
        "where type = 'task.completed' and data::jsonb->>'node_id' = $1",
        node_id,
    )
    return found[0][0]


async def test_an_array_through_five_functions_is_in_no_row(house: House, tmp_path: Path) -> None:
    shelf = KeptCode()
    engine = await engine_with_sandbox(house, shelf, tmp_path)
    graph = await functions(house, shelf, CHANGE, "make", "change", "change", "change", "check")
    done = await house.start(engine, graph, wait=60)
    assert (done.status, done.output) == ("succeeded", {})
    assert await output(house, "n4") == '{"keys": ["rows"], "first": 3.0, "is_right": true}'
    assert await output(house, "n0") == '{"n": 1, "rows": null}'
    assert await house.rows("select count(*), min(size) > 1000000 from interlock.blobs") == [(4, True)]
    size, table = await largest_row(house)
    assert size <= ROW, table


async def test_who_takes_over_hands_the_same_values_on(house: House, tmp_path: Path) -> None:
    shelf = KeptCode()
    first = await engine_with_sandbox(house, shelf, tmp_path, "first")
    graph = await functions(house, shelf, CHANGE, "make", "stumble", "check", backoff=2.0)
    begun = await house.start(first, graph, wait=0)

    async def has_stumbled() -> bool:
        return (await house.log(begun.execution_id))[-1][1] == "task.failed"

    await house.until(has_stumbled, "the second task failed")
    await house.kill(first)
    second = await engine_with_sandbox(house, shelf, tmp_path, "second")

    async def has_succeeded() -> bool:
        return (await second.standing(begun.execution_id, 0)).status == "succeeded"

    await house.until(has_succeeded, "the other engine went on")
    assert await output(house, "n2") == '{"keys": ["rows"], "first": 1.0, "is_right": true}'
    assert await house.rows("select count(*) from interlock.blobs") == [(2,)]
