"""Questions to people on a real Postgres: one that nobody waits for any more cannot be answered."""

from __future__ import annotations

from uuid import UUID

import pytest

from engine_house import House, chain, given_up, left_for_rest, node
from interlock.core.approval import ApprovalStatus, Decision
from interlock.core.commands import SignalKind
from interlock.core.errors import ErrorKind, InterlockError
from interlock.core.ids import ApprovalId, ExecutionId
from interlock.core.workflow import (
    ConnectionDefinition,
    GraphDefinition,
    NodeDefinition,
)
from interlock.ports.engine import SendSignal
from interlock.runtime.engine import LocalEngine

YES = Decision(status=ApprovalStatus.APPROVED, decision="approve")
ASK = NodeDefinition(id="ask", type="approval", parameters={"title": "?"})
BAD = NodeDefinition(id="bad", type="condition", parameters={"condition_expression": "1/0"})
ENDS_AS_IT_ASKS = {
    "in the turn that asks": GraphDefinition(nodes=(ASK, BAD)),
    "one step later": GraphDefinition(
        nodes=(ASK, node("a"), BAD), connections=(ConnectionDefinition(source="a", target="bad"),)
    ),
}
GIVES_UP = given_up("ask", "approval", {"title": "?"})
LEAVES = left_for_rest("approval", {"title": "?"})


async def statuses(house: House) -> list[str]:
    return [row[0] for row in await house.rows("select status from interlock.approvals order by approval_id")]


async def refused(house: House, engine: LocalEngine) -> str:
    """The code with which an answer to the only question is refused."""
    approval_id = (await house.rows("select approval_id from interlock.approvals"))[0][0]
    with pytest.raises(InterlockError) as late:
        await engine.decide(ApprovalId(approval_id), house.tenant.tenant_id, YES, "user-1", "t")
    assert late.value.kind is ErrorKind.GONE
    return late.value.code


@pytest.mark.parametrize("graph", ENDS_AS_IT_ASKS.values(), ids=ENDS_AS_IT_ASKS)
async def test_an_execution_that_ends_leaves_no_question_open(house: House, graph: GraphDefinition) -> None:
    engine = await house.engine()
    for _ in range(5):
        assert (await house.start(engine, graph)).status == "failed"
    assert set(await statuses(house)) <= {"cancelled"}


async def test_a_question_that_was_given_up_is_closed_while_its_execution_goes_on(house: House) -> None:
    engine = await house.engine()
    await house.start(engine, GIVES_UP, wait=0)

    async def is_closed() -> bool:
        return await statuses(house) == ["cancelled"]

    await house.until(is_closed, "the question was closed")
    assert await refused(house, engine) == "APPROVAL_CLOSED"


async def test_a_flow_that_moves_on_closes_the_question_of_the_state_it_left(house: House) -> None:
    engine = await house.engine()
    standing = await house.start(engine, LEAVES, wait=0)
    await signal(house, engine, standing.execution_id, "SKIP")
    assert await statuses(house) == ["cancelled"]
    assert await refused(house, engine) == "APPROVAL_CLOSED"


async def test_a_question_is_closed_by_whoever_owns_its_execution_then(house: House) -> None:
    first = await house.engine("first")
    standing = await house.start(first, LEAVES, wait=0)
    await house.kill(first)
    second = await house.engine("second")
    await signal(house, second, standing.execution_id, "SKIP")
    assert await statuses(house) == ["cancelled"]


async def test_a_key_of_a_client_never_stands_in_the_way_of_the_engine(house: House) -> None:
    engine = await house.engine()
    await house.workflow(chain(node("w", "wait", signal="go")), name="leaf")
    standing = await house.start(engine, chain(node("s", "subworkflow", workflow="leaf")), wait=0)
    child = (await house.rows("select execution_id from interlock.executions where parent_id is not null"))[0][0]
    await signal(house, engine, standing.execution_id, "noise", key=f"child:{child}")
    await signal(house, engine, child, "go", key="left")

    async def has_ended() -> bool:
        return (await engine.standing(standing.execution_id, 0)).status == "succeeded"

    await house.until(has_ended, "the parent heard of its child")


async def test_a_known_key_with_another_signal_is_refused_and_loses_nothing(house: House) -> None:
    engine = await house.engine()
    standing = await house.start(engine, chain(node("w", "wait", signal="go")), wait=0)
    await signal(house, engine, standing.execution_id, "other", key="k")
    with pytest.raises(InterlockError) as mismatch:
        await signal(house, engine, standing.execution_id, "go", key="k")
    assert mismatch.value.kind is ErrorKind.MISMATCH
    await signal(house, engine, standing.execution_id, "go", key="k2")
    assert (await engine.standing(standing.execution_id, 10)).status == "succeeded"


async def signal(house: House, engine: LocalEngine, execution_id: UUID, name: str, key: str | None = None) -> None:
    await engine.signal(
        SendSignal(
            execution_id=ExecutionId(execution_id),
            tenant_id=house.tenant.tenant_id,
            kind=SignalKind.EVENT,
            name=name,
            sent_by="user-1",
            trace_id="1" * 32,
            dedupe_key=key,
        )
    )
