"""Fan-ins whose sources are people: a state without a node is done when somebody says so."""

from __future__ import annotations

from typing import Any

import pytest

from interlock.core.commands import SignalKind
from interlock.core.engine.flow.compile import valid_events
from interlock.core.engine.flow.standing import flow_standing
from interlock.core.execution import Status, WaitingReason
from interlock.core.workflow import FlowDefinition, StateTimer
from unit.engine_driver import Driver
from unit.test_engine_flow import flow, to


def joining(**nodes: str) -> FlowDefinition:
    return flow(
        "begin a b merge",
        to("begin", "GO", ("a", "b")),
        to(("a", "b"), "OK", "merge", fan_in=True),
        nodes=nodes,
        user_input_states=("begin", *({"a", "b"} - nodes.keys())),
        terminal_states=("merge",),
    )


@pytest.mark.parametrize("order", [["OK", "a"], ["a", "OK"]])
def test_a_person_and_a_node_are_joined_in_any_order(order: list[str]) -> None:
    driver = Driver(joining(a="echo"))
    driver.signal(SignalKind.EVENT, "GO")
    for step in order:
        assert driver.execution.ended is None
        if step == "a":
            driver.succeed("a")
        else:
            driver.signal(SignalKind.EVENT, step)
        driver.check_fold()
    assert (driver.execution.active, driver.execution.status) == (["merge"], Status.SUCCEEDED)


def test_two_people_each_say_it_once() -> None:
    driver = Driver(joining())
    driver.signal(SignalKind.EVENT, "GO")
    assert driver.execution.waiting_reason is WaitingReason.INPUT
    standing = flow_standing(driver.execution)
    assert standing is not None
    assert standing.valid_events == ("OK",) == valid_events(joining(), driver.execution.active)
    driver.signal(SignalKind.EVENT, "OK")
    assert driver.execution.active == ["a", "b"]
    driver.signal(SignalKind.EVENT, "OK")
    assert driver.execution.status is Status.SUCCEEDED
    driver.check_fold()


def test_who_is_done_is_not_done_again() -> None:
    driver = Driver(joining(a="echo"))
    driver.signal(SignalKind.EVENT, "GO")
    driver.signal(SignalKind.EVENT, "OK")
    turn = driver.signal(SignalKind.EVENT, "OK")
    assert turn.refusal is not None
    assert turn.refusal.code == "INVALID_TRANSITION"


def test_a_node_says_itself_that_it_is_done() -> None:
    driver = Driver(joining(a="echo", b="echo"))
    driver.signal(SignalKind.EVENT, "GO")
    assert driver.signal(SignalKind.EVENT, "OK").refusal is not None
    standing = flow_standing(driver.execution)
    assert standing is not None
    assert standing.valid_events == ()


def guarded(**more: Any) -> FlowDefinition:
    """E leads from ``s`` to ``x`` while the guard holds, and else is what the fan-in waits for of ``s`` and ``t``."""
    return flow(
        "begin s t m x",
        to("begin", "GO", ("s", "t")),
        to("s", "E", "x", when="$json.alone == true"),
        to(("s", "t"), "E", "m", fan_in=True),
        terminal_states=("m", "x"),
        **more,
    )


def test_an_event_whose_guard_does_not_hold_counts_for_the_fan_in() -> None:
    driver = Driver(guarded(user_input_states=("begin", "s", "t")))
    driver.signal(SignalKind.EVENT, "GO")
    for _ in "st":
        assert driver.execution.ended is None
        assert driver.signal(SignalKind.EVENT, "E").refusal is None
        driver.check_fold()
    assert (driver.execution.active, driver.execution.status) == (["m"], Status.SUCCEEDED)


def test_an_event_whose_guard_holds_leads_where_it_says() -> None:
    driver = Driver(guarded(user_input_states=("begin", "s", "t")))
    driver.signal(SignalKind.EVENT, "GO", {"alone": True})
    driver.signal(SignalKind.EVENT, "E")
    assert driver.execution.active == ["t", "x"]
    driver.check_fold()


def test_a_timer_whose_guard_does_not_hold_counts_for_the_fan_in() -> None:
    timers = {"s": StateTimer(after=60, event="E")}
    driver = Driver(guarded(nodes={"t": "echo"}, user_input_states=("begin",), timers=timers))
    driver.signal(SignalKind.EVENT, "GO")
    driver.succeed("t")
    assert driver.execution.ended is None
    driver.pass_time(60)
    assert driver.execution.active == ["m"]
    driver.check_fold()
