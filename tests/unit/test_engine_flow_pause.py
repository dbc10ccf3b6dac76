"""A flow that somebody has paused: what its nodes answer is recorded, and followed when it is resumed."""

from __future__ import annotations

import pytest

from interlock.core.commands import SignalKind
from interlock.core.events import ArtifactReady, ArtifactRef, ExecutionResumed, FlowTransitioned
from interlock.core.execution import Status
from interlock.core.workflow import FlowDefinition, TransitionDefinition
from unit.engine_driver import Driver

FORK = FlowDefinition(
    states=("s", "a", "b", "merge", "bad", "ask", "end"),
    initial_state="s",
    nodes={"s": "echo", "a": "echo", "b": "echo"},
    user_input_states=("ask",),
    terminal_states=("end", "bad"),
    transitions=(
        TransitionDefinition(source=("s",), event="STEP_DONE", target=("a", "b")),
        TransitionDefinition(source=("a", "b"), event="ALL_DONE", target=("merge",), fan_in=True),
        TransitionDefinition(source=("a",), event="ERROR", target=("bad",)),
        TransitionDefinition(source=("b",), event="NEED_USER_INPUT", target=("ask",)),
        TransitionDefinition(source=("merge",), event="GO", target=("end",)),
    ),
)
CHAIN = FlowDefinition(
    states=("a", "b", "end"),
    initial_state="a",
    nodes={"a": "echo", "b": "echo"},
    transitions=(
        TransitionDefinition(source=("a",), event="STEP_DONE", target=("b",)),
        TransitionDefinition(source=("b",), event="STEP_DONE", target=("end",)),
    ),
)


def paused(definition: FlowDefinition) -> Driver:
    driver = Driver(definition)
    if definition is FORK:
        driver.succeed("s")
    driver.signal(SignalKind.EVENT, "PAUSE")
    return driver


@pytest.mark.parametrize("how", ["event", "kind"])
def test_a_result_is_followed_only_when_it_is_resumed(how: str) -> None:
    driver = paused(CHAIN)
    driver.succeed("a", {"n": 1})
    assert driver.types()[-1] == "task.completed"
    assert (driver.execution.active, driver.execution.status, driver.running()) == (["a"], Status.PAUSED, [])
    driver.check_fold()
    if how == "event":
        driver.signal(SignalKind.EVENT, "SESSION_RESUME")
    else:
        driver.signal(SignalKind.RESUME)
    assert driver.types()[-4:] == ["execution.resumed", "flow.event_raised", "flow.transitioned", "task.started"]
    assert (driver.execution.active, driver.running()) == (["b"], ["b"])
    driver.check_fold()


def test_an_end_is_not_reached_while_it_is_paused() -> None:
    driver = Driver(FlowDefinition(states=("x", "end"), initial_state="end", nodes={"end": "echo"}))
    driver.signal(SignalKind.EVENT, "PAUSE")
    driver.succeed("end")
    assert driver.execution.ended is None
    driver.check_fold()
    driver.signal(SignalKind.EVENT, "RESUME")
    assert driver.execution.ended is Status.SUCCEEDED


def test_both_branches_of_a_fork_are_followed_once() -> None:
    driver = paused(FORK)
    driver.succeed("b")
    driver.succeed("a")
    driver.check_fold()
    driver.signal(SignalKind.EVENT, "RESUME")
    assert driver.execution.active == ["merge"]
    assert [event.target for event in driver.of(FlowTransitioned)] == [("a", "b"), ("merge",)]
    driver.check_fold()


def test_a_failure_and_a_question_wait_too() -> None:
    driver = paused(FORK)
    driver.succeed("b", needs_input=True, ui_schema={"components": []})
    driver.err("a")
    assert driver.execution.active == ["a", "b"]
    driver.check_fold()
    driver.signal(SignalKind.EVENT, "RESUME")
    assert sorted(driver.execution.active) == ["ask", "bad"]
    driver.check_fold()


def test_a_failure_without_a_way_out_fails_the_flow_when_it_is_resumed() -> None:
    driver = paused(CHAIN)
    driver.err("a")
    assert driver.execution.ended is None
    driver.signal(SignalKind.EVENT, "RESUME")
    assert driver.execution.ended is Status.FAILED
    driver.check_fold()


def test_a_retry_while_it_is_paused_takes_the_place_of_the_failure() -> None:
    driver = paused(CHAIN)
    driver.err("a")
    driver.signal(SignalKind.EVENT, "RETRY")
    assert (driver.running(), driver.execution.held) == ([], {})
    driver.signal(SignalKind.EVENT, "RESUME")
    assert driver.running() == ["a#2"]
    driver.check_fold()


def test_a_session_whose_user_did_not_come_goes_on_with_the_result_of_a_node() -> None:
    driver = paused(FORK)
    driver.execution.is_idle = True  # as the timer leaves it
    driver.succeed("a")
    driver.succeed("b")
    assert len(driver.of(ExecutionResumed)) == 1
    assert driver.execution.active == ["merge"]


def test_every_file_of_a_node_is_told_behind_its_result() -> None:
    driver = Driver(CHAIN)
    files = tuple(ArtifactRef(name=name, size=3, sha256="ab") for name in ("a.txt", "b.txt"))
    driver.succeed("a", artifacts=files)
    assert [event.artifact for event in driver.of(ArtifactReady)] == list(files)
    assert driver.types()[2:6] == ["task.completed", "artifact.ready", "artifact.ready", "flow.event_raised"]
    driver.check_fold()
