"""The pause before a node's next attempt is no rest: whoever waits for a flow gets the same answer under any load."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from engine_house import DEADLINE, Gate, House, chain, node
from interlock.core.commands import SignalKind
from interlock.core.execution import WaitingReason
from interlock.core.node_type import NodeType
from interlock.core.workflow import FlowDefinition, RetryPolicy, TransitionDefinition
from interlock.ports.engine import SendSignal, SignalOutcome
from interlock.ports.node import Attempt, Done, NodeFailed, Services
from interlock.runtime import runner

SOON = RetryPolicy(max_attempts=2, backoff=0.4, jitter=False)
LATE = RetryPolicy(max_attempts=2, backoff=60, jitter=False)


class Fragile:
    """A node whose first attempt fails."""

    type = NodeType(name="fragile", title="Fragile", description="Fails once.", schema={"type": "object"})

    def run(self, attempt: Attempt, services: Services) -> Done:
        if attempt.attempt == 1:
            raise NodeFailed("BUSY", "not yet", retryable=True)
        return Done(output={"by": attempt.attempt})


def fragile(first: str, retry: RetryPolicy = SOON) -> FlowDefinition:
    """A flow whose node fails once, begun in ``first``: before the node, or in it."""
    return FlowDefinition(
        states=("ask", "work", "over"),
        initial_state=first,
        terminal_states=("over",),
        user_input_states=("ask",),
        nodes={"work": "fragile"},
        retry={"work": retry},
        transitions=(
            TransitionDefinition(source=("ask",), event="GO", target=("work",)),
            TransitionDefinition(source=("work",), event="STEP_DONE", target=("over",)),
        ),
    )


@pytest.fixture(params=[0.0, 5.0], ids=["parked", "kept"])
def stays(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> float:
    """Seconds of a pause for which an execution stays in memory."""
    monkeypatch.setattr(runner, "STAYS_OWNED", timedelta(seconds=request.param))
    return float(request.param)


async def go(house: House, engine: Any, execution_id: Any, rest: float) -> SignalOutcome:
    request = SendSignal(
        execution_id=execution_id,
        tenant_id=house.tenant.tenant_id,
        kind=SignalKind.EVENT,
        sent_by="ann",
        trace_id="0" * 32,
        name="GO",
        rest=rest,
    )
    outcome: SignalOutcome = await engine.signal(request)
    return outcome


@pytest.mark.usefixtures("stays")
async def test_a_start_waits_over_the_pause(house: House) -> None:
    engine = await house.engine(nodes=(Fragile(),))
    standing = await house.start(engine, fragile("work"))
    assert (standing.status, standing.output) == ("succeeded", {"state": "over", "result": {"by": 2}})


@pytest.mark.usefixtures("stays")
async def test_an_event_waits_over_the_pause(house: House) -> None:
    engine = await house.engine(nodes=(Fragile(),))
    resting = await house.start(engine, fragile("ask"))
    outcome = await go(house, engine, resting.execution_id, DEADLINE)
    assert outcome.flow is None or outcome.flow.status == "succeeded"
    assert (await engine.standing(resting.execution_id, 0)).status == "succeeded"


async def test_a_start_that_is_queued_first_waits_over_the_pause(house: House, stays: float) -> None:
    gate = Gate()
    engine = await house.engine(nodes=(Fragile(), gate), tenant_cap=1)
    await house.start(engine, chain(node("g", "gate")), wait=0)
    await gate.entered.wait()
    queued = asyncio.create_task(house.start(engine, fragile("work")))
    await house.until(lambda: house.rows("select 1 from interlock.executions where waiting_reason = 'tenant_cap'"))
    gate.opened.set()
    assert (await queued).status == "succeeded"


@pytest.mark.usefixtures("stays")
async def test_whoever_asks_during_the_pause_waits_for_its_end_in_any_process(house: House) -> None:
    engine, other = await house.engine("one", nodes=(Fragile(),)), await house.engine("two", nodes=(Fragile(),))
    started = await house.start(engine, fragile("work"), wait=0)
    await house.until(lambda: house.rows("select 1 from interlock.executions where waiting_reason = 'retry_at'"))
    assert (await other.standing(started.execution_id, DEADLINE)).status == "succeeded"


@pytest.mark.usefixtures("stays")
async def test_who_has_waited_long_enough_hears_of_the_pause(house: House) -> None:
    engine = await house.engine(nodes=(Fragile(),))
    started = await house.start(engine, fragile("work", LATE), wait=0.5)
    assert (started.status, started.waiting_reason) == ("waiting", WaitingReason.RETRY_AT)
    resting = await house.start(engine, fragile("ask", LATE))
    assert (await go(house, engine, resting.execution_id, 0.5)).flow is None
    assert (await engine.standing(resting.execution_id, 0)).waiting_reason == WaitingReason.RETRY_AT
