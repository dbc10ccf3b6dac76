"""Whoever stops waiting for an execution to rest leaves nothing behind in it."""

from __future__ import annotations

from typing import Any

from engine_house import Gate, House, left_for_rest
from interlock.core.commands import SignalKind
from interlock.core.workflow import FlowDefinition, TransitionDefinition
from interlock.ports.engine import SendSignal

AGAIN = FlowDefinition(
    states=("rest", "work", "over"),
    initial_state="rest",
    terminal_states=("over",),
    user_input_states=("rest",),
    nodes={"work": "gate"},
    parameters={"work": {}},
    transitions=(
        TransitionDefinition(source=("rest",), event="GO", target=("work",)),
        TransitionDefinition(source=("work",), event="NOTE", target=("work",)),
        TransitionDefinition(source=("work",), event="STEP_DONE", target=("over",)),
    ),
)


async def test_a_start_and_signals_that_wait_in_vain_leave_no_waiter(house: House) -> None:
    gate = Gate()
    engine: Any = await house.engine(nodes=(gate,))
    started = await house.start(engine, left_for_rest("gate", {}), wait=0.05)
    await gate.entered.wait()
    owned = engine.runner.owned[started.execution_id]
    assert owned.rest_waiters == [], "of the start"
    resting = await house.start(engine, AGAIN)
    gate.entered.clear()
    request = SendSignal(
        execution_id=resting.execution_id,
        tenant_id=house.tenant.tenant_id,
        kind=SignalKind.EVENT,
        sent_by="ann",
        trace_id="0" * 32,
        name="GO",
        rest=0.05,
    )
    outcome = await engine.signal(request)
    await gate.entered.wait()
    assert outcome.flow is None
    assert engine.runner.owned[resting.execution_id].rest_waiters == [], "of the signal"
    gate.opened.set()
