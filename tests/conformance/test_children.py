"""Sub-workflows on a real Postgres: results go up, endings go down."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import msgspec

from engine_house import Gate, House, chain, given_up, left_for_rest, node
from interlock.backends.store.postgres.ledger import PostgresLedger
from interlock.core.commands import SignalKind
from interlock.core.ids import ExecutionId
from interlock.core.workflow import (
    ConnectionDefinition,
    GraphDefinition,
    NodeDefinition,
)
from interlock.ports.engine import SendSignal
from interlock.ports.ledger import Flush


async def endings(house: House) -> list[tuple[bool, str]]:
    """Whether it is a child, and its status, of every execution."""
    rows = await house.rows("select parent_id is not null, status from interlock.executions order by 1, execution_id")
    return [(row[0], row[1]) for row in rows]


async def leaf(house: House) -> None:
    """A workflow that waits for ever."""
    await house.workflow(chain(node("w", "wait", signal="never")), name="leaf")


GIVES_UP = given_up("s", "subworkflow", {"workflow": "leaf"})
LEAVES = left_for_rest("subworkflow", {"workflow": "leaf"})


async def test_a_child_gives_its_output_to_its_parent(house: House) -> None:
    engine = await house.engine()
    await house.workflow(chain(node("a", mapping={"doubled": "{{ $json * 2 }}"})), name="double")
    sub = NodeDefinition(id="s", type="subworkflow", parameters={"workflow": "double"})
    standing = await house.start(engine, chain(sub, node("b", mapping="{{ $json.doubled + 1 }}")), input=20)
    done = await engine.standing(standing.execution_id, 10)

    async def has_ended() -> bool:
        return (await engine.standing(standing.execution_id, 0)).status == "succeeded"

    await house.until(has_ended, "the parent went on")
    done = await engine.standing(standing.execution_id, 0)
    assert done.output == 41


async def test_a_sub_workflow_that_does_not_exist_fails_its_task(house: House) -> None:
    engine = await house.engine()
    standing = await house.start(engine, chain(node("s", "subworkflow", workflow="nowhere")))
    assert standing.status == "failed"
    assert standing.error["code"] == "WORKFLOW_NOT_FOUND"


async def test_the_loser_of_a_key_starts_no_children_either(house: House) -> None:
    engine = await house.engine()
    await house.workflow(chain(node("a")), name="leaf")
    workflow = await house.workflow(chain(node("s", "subworkflow", workflow="leaf")))
    await asyncio.gather(*(engine.start(house.request(workflow, key="once", wait=0)) for _ in range(8)))
    rows = await house.rows("select parent_id is null, count(*) from interlock.executions group by 1 order by 1")
    assert [tuple(row) for row in rows] == [(False, 1), (True, 1)]


async def test_what_an_execution_started_ends_with_it(house: House) -> None:
    gate = Gate()
    engine = await house.engine(nodes=(gate,))
    await house.workflow(chain(node("w", "wait", signal="never")), name="leaf")
    graph = GraphDefinition(nodes=(node("s", "subworkflow", workflow="leaf"), node("g", "gate")))
    standing = await house.start(engine, graph, wait=0)
    await asyncio.wait_for(gate.entered.wait(), 10)
    assert await engine.cancel(standing.execution_id, house.tenant.tenant_id, "user-1", "enough", "t")

    async def all_ended() -> bool:
        return await house.rows("select 1 from interlock.live") == []

    await house.until(all_ended, "the child was cancelled")


async def test_a_failed_execution_takes_its_children_along(house: House) -> None:
    engine = await house.engine()
    await house.workflow(chain(node("w", "wait", signal="never")), name="leaf")
    late = GraphDefinition(
        nodes=(
            node("s", "subworkflow", workflow="leaf"),
            node("w", "wait", seconds=0.5),
            node("bad", mapping="{{ 1/0 }}"),
        ),
        connections=(ConnectionDefinition(source="w", target="bad"),),
    )
    standing = await house.start(engine, late, wait=0)

    async def all_ended() -> bool:
        return await house.rows("select 1 from interlock.live") == []

    await house.until(all_ended, "the child was cancelled")
    rows = await house.rows("select status from interlock.executions order by parent_id nulls first")
    assert [row[0] for row in rows] == ["failed", "cancelled"]
    assert (await engine.standing(standing.execution_id, 0)).error["code"] == "EXPRESSION_ERROR"


async def test_a_child_that_was_given_up_ends_while_its_parent_goes_on(house: House) -> None:
    engine = await house.engine()
    await leaf(house)
    await house.start(engine, GIVES_UP, wait=0)

    async def is_left() -> bool:
        return await endings(house) == [(False, "waiting"), (True, "cancelled")]

    await house.until(is_left, "the child was cancelled")


async def test_a_flow_that_moves_on_ends_the_child_of_the_state_it_left(house: House) -> None:
    engine = await house.engine()
    await leaf(house)
    standing = await house.start(engine, LEAVES, wait=0)
    await send(house, engine, standing.execution_id, "SKIP")

    async def is_left() -> bool:
        return await endings(house) == [(False, "waiting"), (True, "cancelled")]

    await house.until(is_left, "the child was cancelled")


async def test_a_child_left_by_a_process_that_died_is_ended_by_another(house: House) -> None:
    first = await house.engine("first")
    await leaf(house)
    standing = await house.start(first, LEAVES, wait=0)
    await send(house, first, standing.execution_id, "SKIP")
    await house.kill(first)
    await house.engine("second")

    async def is_left() -> bool:
        return await endings(house) == [(False, "waiting"), (True, "cancelled")]

    await house.until(is_left, "the child was cancelled")


async def test_a_child_that_is_left_in_the_turn_that_starts_it_begins_and_ends_at_once(house: House) -> None:
    engine = await house.engine()
    await leaf(house)
    nodes = (node("s", "subworkflow", workflow="leaf"), node("bad", "condition", condition_expression="1/0"))
    await house.start(engine, GraphDefinition(nodes=nodes))
    assert await endings(house) == [(False, "failed"), (True, "cancelled")]
    assert await house.rows("select 1 from interlock.live") == []


async def test_a_parent_that_is_not_owned_any_more_begins_no_child(house: House) -> None:
    engine = await house.engine()
    await leaf(house)
    gate = GraphDefinition(
        nodes=(node("w", "wait", signal="go"), node("s", "subworkflow", workflow="leaf")),
        connections=(ConnectionDefinition(source="w", target="s"),),
    )
    standing = await house.start(engine, gate, wait=0)
    ledger = PostgresLedger(house.database.serve_url)
    await ledger.open()
    runner_id, _ = await ledger.register("a stranger")
    flush = Flush(
        number=1,
        touched=[standing.execution_id],
        execution_ids=[],
        seqs=[],
        types=[],
        data=[],
        refs=[],
        at=[],
        trace_ids=[],
        starts=await start_rows(house, standing.execution_id),
    )
    result = await ledger.flush(runner_id, flush)
    await ledger.close()
    assert result.foreign == {standing.execution_id}
    assert [status for _, status in await endings(house)] == ["waiting"]


async def start_rows(house: House, parent_id: UUID) -> str:
    """A start like that of the parent, but in an entry of the parent's, as a child is started."""
    fields = (
        "tenant_id, user_id, visibility, workflow_id, version_id, workflow_number, kind, mode, started_by, trace_id"
    )
    row = (await house.rows(f"select {fields} from interlock.executions"))[0]
    more = {"execution_id": house.ids.new(), "entry_of": parent_id, "parent_id": parent_id, "root_id": parent_id}
    rest = {"status": "queued", "metadata": {}, "at": datetime(2026, 1, 1, tzinfo=UTC), "priority": 5}
    return msgspec.json.encode([dict(row) | more | rest | {"is_owned": False}]).decode()


async def send(house: House, engine: Any, execution_id: UUID, name: str) -> None:
    """Send the flow an event."""
    await engine.signal(
        SendSignal(
            execution_id=ExecutionId(execution_id),
            tenant_id=house.tenant.tenant_id,
            kind=SignalKind.EVENT,
            name=name,
            sent_by="user-1",
            trace_id="1" * 32,
        )
    )
