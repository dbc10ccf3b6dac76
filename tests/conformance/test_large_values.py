"""A large value is stored once and referred to everywhere else; who reads an execution does not notice."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from conformance.executor_trial import KeptBlobs
from conformance.test_pool_executor import ENTRY_POINTS, TESTS, install
from engine_house import House, chain, node
from interlock.backends.executor.pool.executor import PoolExecutor
from interlock.core.events import TaskCompleted
from interlock.core.large import leaves, omitted, put_back
from interlock.core.workflow import GraphDefinition
from interlock.nodes.testing import ScriptedEgress
from interlock.ports.store import ExecutionFilter

ROW = 64 * 1024
_TABLES = "select relname from pg_class where relnamespace = 'interlock'::regnamespace and relkind = 'r'"


def numbers(count: int) -> list[float]:
    return [number * 1.0000001 for number in range(count)]


async def largest_row(house: House) -> tuple[int, str]:
    """The bytes of the largest row of all tables, and its table; texts count as they are, not as compressed."""
    found = []
    for (table,) in await house.rows(_TABLES):
        rows = await house.rows(
            "select max((select sum(octet_length(each.value)) from json_each_text(to_json(t)) each)) "
            f'from interlock."{table}" t'
            if not table.startswith("blob")
            else f'select max(pg_column_size(t.*)) from interlock."{table}" t'
        )
        found.append((int(rows[0][0] or 0), table))
    return max(found)


def through_five(kind: str, **parameters: Any) -> GraphDefinition:
    return chain(*(node(f"n{number}", kind, **parameters) for number in range(5)))


async def test_an_array_of_10_mb_goes_through_five_tasks_as_one_blob(house: House) -> None:
    engine = await house.engine()
    given = {"rows": numbers(600_000)}
    done = await house.start(
        engine, through_five("transform", mapping={"rows": "{{ $json.rows }}"}), input=given, wait=60
    )
    assert (done.status, done.output) == ("succeeded", given)
    assert await house.rows("select count(*) from interlock.blobs") == [(1,)]
    assert await house.rows("select sum(size) > 9 * 1024 * 1024 from interlock.blobs") == [(True,)]
    size, table = await largest_row(house)
    assert size <= ROW, table


async def test_the_same_value_from_five_processes_is_still_one_blob(house: House, tmp_path: Path) -> None:
    install(tmp_path, "shop", ENTRY_POINTS)
    environment = {"PYTHONPATH": f"{TESTS}{os.pathsep}{tmp_path}"}
    pool = PoolExecutor("interlock.nodes:load", ScriptedEgress([]), KeptBlobs(), size=1, environment=environment)
    engine = await house.engine(executors={"process": pool})
    given = {"rows": numbers(10_000)}
    done = await house.start(engine, through_five("python", function="hand_on"), input=given, wait=60)
    assert (done.status, done.output) == ("succeeded", given)
    assert await house.rows("select count(*) from interlock.blobs") == [(1,)]
    assert (await largest_row(house))[0] <= ROW


async def test_a_sub_workflow_hands_a_large_value_down_and_up(house: House) -> None:
    engine = await house.engine()
    await house.workflow(chain(node("a", mapping={"again": "{{ $json.rows }}"})), name="leaf")
    given = {"rows": numbers(10_000)}
    graph = chain(node("s", "subworkflow", workflow="leaf"), node("b", mapping={"first": "{{ $json.again[9999] }}"}))
    standing = await house.start(engine, graph, input=given)

    async def has_ended() -> bool:
        return (await engine.standing(standing.execution_id, 0)).status == "succeeded"

    await house.until(has_ended, "the parent went on")
    assert (await engine.standing(standing.execution_id, 0)).output == {"first": given["rows"][-1]}
    assert await house.rows("select count(*) from interlock.blobs") == [(1,)]
    assert (await largest_row(house))[0] <= ROW


async def test_a_list_shows_that_something_large_was_left_out(house: House) -> None:
    engine = await house.engine()
    done = await house.start(engine, chain(node("a")), input={"rows": numbers(10_000), "n": 1})
    ((sha256,),) = await house.rows("select sha256 from interlock.blobs")
    async with house.store.transaction(house.tenant.principal, read_only=True) as transaction:
        (row,) = (await transaction.list_executions(ExecutionFilter(limit=5))).items
    assert row.execution_id == done.execution_id
    assert row.input == row.output == {"rows": omitted(sha256), "n": 1}


async def test_very_many_small_values_are_a_blob_as_a_whole(house: House) -> None:
    engine = await house.engine()
    for given in ({f"key {n}": n for n in range(10_000)}, {f"key {n}": ["x" * 100] for n in range(5_000)}):
        done = await house.start(engine, chain(node("a"), node("b")), input=given)
        assert (done.status, done.output) == ("succeeded", given)
    assert (await largest_row(house))[0] <= ROW
    assert (await house.rows("select count(*) from interlock.blobs"))[0][0] <= 6


def test_keys_may_hold_what_separates_them() -> None:
    event = TaskCompleted(task_id="t", node_id="n", output={"a/b": {"~1": [1], "": "x"}})
    assert dict(leaves("output", event.output)) == {"output/a~1b/~01": [1], "output/a~1b/": "x"}
    filled = put_back(event, {"output/a~1b/~01": "s", "output/a~1b/": "t"}, {"s": [2]})
    assert filled.output == {"a/b": {"~1": [2], "": omitted("t")}}
    assert event.output == {"a/b": {"~1": [1], "": "x"}}
