"""A flow says which code its states run; what a session is given cannot say another."""

from __future__ import annotations

from typing import Any

import pytest

from interlock.core.commands import SignalKind
from interlock.core.events import TaskStarted
from interlock.core.workflow import FlowDefinition, TransitionDefinition
from unit.engine_driver import Driver

OWN = {"code": "1" * 64, "function": "f"}
GIVEN = {
    "code": "2" * 64,
    "args": "3" * 64,
    "kwargs": "4" * 64,
    "form": "pickle",
    "function": "g",
    "arguments": {"x": 1},
}


def flow(parameters: dict[str, Any]) -> FlowDefinition:
    return FlowDefinition(
        states=("run", "end"),
        initial_state="run",
        nodes={"run": "code"},
        parameters={"run": parameters},
        transitions=(TransitionDefinition(source=("run",), event="STEP_DONE", target=("end",)),),
    )


def started(driver: Driver) -> list[Any]:
    return [event.input for event in driver.of(TaskStarted)]


def test_the_input_of_a_session_does_not_change_it() -> None:
    assert started(Driver(flow(OWN), GIVEN)) == [{**OWN, "arguments": {"x": 1}}]


def test_nor_does_what_a_person_answers() -> None:
    driver = Driver(flow(OWN), {})
    driver.succeed("run", {}, needs_input=True)
    driver.signal(SignalKind.EVENT, "USER_INPUT", GIVEN)
    driver.check_fold()
    assert started(driver) == [OWN, {**OWN, "arguments": {"x": 1}}]


@pytest.mark.parametrize("own", [{}, {"function": "f"}])
def test_a_flow_that_leaves_it_open_is_given_it(own: dict[str, Any]) -> None:
    [told] = started(Driver(flow(own), GIVEN))
    assert told == {**GIVEN, **own}
