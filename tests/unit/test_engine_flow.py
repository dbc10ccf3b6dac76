"""Flows: transitions, chaining, guards, forks and joins, timers, input, control events."""

from __future__ import annotations

from typing import Any

from interlock.core.commands import SignalKind, TaskSucceeded
from interlock.core.events import ExecutionFailed, FlowEventRaised, FlowTransitioned
from interlock.core.execution import Status, WaitingReason
from interlock.core.workflow import FlowDefinition, RetryPolicy, StateTimer, TransitionDefinition
from unit.engine_driver import Driver


def to(source: Any, event: str, target: Any, **more: Any) -> TransitionDefinition:
    sources = (source,) if isinstance(source, str) else tuple(source)
    targets = (target,) if isinstance(target, str) else tuple(target)
    return TransitionDefinition(source=sources, event=event, target=targets, **more)


def flow(states: str, *transitions: TransitionDefinition, **more: Any) -> FlowDefinition:
    names = tuple(states.split())
    return FlowDefinition(states=names, initial_state=names[0], transitions=transitions, **more)


def echo_flow() -> FlowDefinition:
    return flow(
        "start echoed end",
        to("start", "STEP_DONE", "echoed"),
        to("echoed", "USER_CONFIRM", "end"),
        nodes={"start": "echo"},
        user_input_states=("echoed",),
    )


def test_events_of_a_flow_are_the_frames_its_door_shows() -> None:
    driver = Driver(echo_flow(), {"input": "x"})
    driver.succeed("start", {"echo": "x"})
    assert driver.execution.waiting_reason is WaitingReason.INPUT
    driver.signal(SignalKind.EVENT, "USER_CONFIRM", {"a": 1})
    assert driver.types() == [
        "execution.started",
        "task.started",
        "task.completed",
        "flow.event_raised",
        "flow.transitioned",
        "signal.received",
        "flow.transitioned",
        "execution.succeeded",
    ]
    assert driver.execution.output == {"state": "end", "result": {"echo": "x"}}
    driver.check_fold()


def test_signal_without_a_transition_is_refused_and_is_no_event() -> None:
    driver = Driver(echo_flow(), {"input": "x"})
    driver.succeed("start")
    before = len(driver.log)
    turn = driver.signal(SignalKind.EVENT, "BOGUS")
    assert turn.refusal is not None
    assert turn.refusal.code == "INVALID_TRANSITION"
    assert turn.refusal.message == "No transition from state 'echoed' on event 'BOGUS'"
    assert turn.refusal.details["valid_events"] == ["USER_CONFIRM"]
    assert len(driver.log) == before


def test_expected_state_that_differs_is_a_conflict() -> None:
    driver = Driver(echo_flow())
    turn = driver.signal(SignalKind.EVENT, "USER_CONFIRM", expected_state="echoed")
    assert turn.refusal is not None
    assert turn.refusal.code == "STATE_CONFLICT"


def test_consecutive_node_states_chain_without_a_caller() -> None:
    driver = Driver(
        flow("a b end", to("a", "STEP_DONE", "b"), to("b", "STEP_DONE", "end"), nodes={"a": "echo", "b": "echo"})
    )
    driver.succeed("a")
    assert driver.running() == ["b"]
    driver.succeed("b")
    assert driver.execution.status is Status.SUCCEEDED


def test_node_chooses_the_transition_by_the_events_it_asks_for() -> None:
    driver = Driver(
        flow(
            "c big small",
            to("c", "BIG", "big"),
            to("c", "SMALL", "small"),
            nodes={"c": "echo"},
            terminal_states=("big", "small"),
        )
    )
    driver.succeed("c", raised=("HUGE", "SMALL"))
    assert driver.execution.active == ["small"]


def test_guards_are_asked_in_order_and_only_the_choice_is_recorded() -> None:
    driver = Driver(
        flow("w a b", to("w", "GO", "a", when="$json.n > 5"), to("w", "GO", "b"), terminal_states=("a", "b")), {"n": 1}
    )
    driver.signal(SignalKind.EVENT, "go")
    assert driver.execution.active == ["b"]


def test_fork_and_fan_in_fire_once() -> None:
    driver = Driver(
        flow(
            "s a b merge",
            to("s", "STEP_DONE", ("a", "b")),
            to(("a", "b"), "ALL_DONE", "merge", fan_in=True),
            nodes={"s": "echo", "a": "echo", "b": "echo"},
        )
    )
    driver.succeed("s")
    assert driver.running() == ["a", "b"]
    driver.succeed("b")
    driver.check_fold()
    assert driver.execution.status is Status.RUNNING
    driver.succeed("a")
    assert driver.execution.status is Status.SUCCEEDED
    assert [event.event for event in driver.of(FlowEventRaised)] == ["STEP_DONE", "ALL_DONE"]


def test_timer_of_a_state_raises_its_event() -> None:
    driver = Driver(
        flow(
            "w late done",
            to("w", "LATE", "late"),
            to("w", "OK", "done"),
            timers={"w": StateTimer(after=30, event="LATE")},
            terminal_states=("late", "done"),
        )
    )
    assert driver.execution.waiting_reason is WaitingReason.TIMER
    driver.check_fold()
    driver.pass_time(29)
    assert driver.execution.ended is None
    driver.pass_time(1)
    assert driver.execution.active == ["late"]
    driver.check_fold()


def test_leaving_a_state_takes_its_timer_along() -> None:
    driver = Driver(
        flow(
            "w x late",
            to("w", "LATE", "late"),
            to("w", "OK", "x"),
            to("x", "END", "late"),
            timers={"w": StateTimer(after=30, event="LATE")},
        )
    )
    driver.signal(SignalKind.EVENT, "OK")
    driver.pass_time(100)
    assert driver.execution.active == ["x"]


def test_error_transition_is_taken_after_the_retries() -> None:
    driver = Driver(
        flow(
            "a bad end",
            to("a", "STEP_DONE", "end"),
            to("a", "ERROR", "bad"),
            nodes={"a": "echo"},
            retry={"a": RetryPolicy(max_attempts=2, backoff=1, jitter=False)},
            terminal_states=("bad", "end"),
        )
    )
    driver.err("a", retryable=True)
    driver.pass_time(1)
    driver.err("a", retryable=True)
    assert driver.execution.active == ["bad"]
    assert driver.execution.status is Status.SUCCEEDED


def test_error_without_a_transition_fails_the_execution() -> None:
    driver = Driver(flow("a end", to("a", "STEP_DONE", "end"), nodes={"a": "echo"}))
    driver.err("a")
    assert driver.of(ExecutionFailed)[0].error.node_id == "a"


def test_node_that_asks_for_input_runs_again_with_it() -> None:
    driver = Driver(flow("a end", to("a", "STEP_DONE", "end"), nodes={"a": "echo"}), {"x": 1})
    task = driver.execution.tasks["a"]
    driver.apply(TaskSucceeded(task_id="a", attempt=task.attempt, needs_input=True, ui_schema={"form": 1}))
    assert driver.execution.waiting_reason is WaitingReason.INPUT
    driver.check_fold()
    driver.signal(SignalKind.EVENT, "USER_INPUT", {"y": 2})
    assert driver.execution.tasks["a#2"].input == {"x": 1, "y": 2}
    driver.check_fold()
    driver.succeed("a#2")
    assert driver.execution.status is Status.SUCCEEDED


def test_event_that_leaves_a_running_node_behind_drops_its_result() -> None:
    driver = Driver(flow("a b", to("a", "SKIP", "b"), to("a", "STEP_DONE", "b"), nodes={"a": "echo"}))
    driver.signal(SignalKind.EVENT, "SKIP")
    assert driver.execution.status is Status.SUCCEEDED
    before = len(driver.log)
    driver.apply(TaskSucceeded(task_id="a", attempt=1))
    assert len(driver.log) == before


def test_control_events_pause_resume_and_abort_any_flow() -> None:
    driver = Driver(echo_flow())
    driver.signal(SignalKind.EVENT, "pause")
    assert driver.execution.status is Status.PAUSED
    turn = driver.signal(SignalKind.EVENT, "USER_CONFIRM")
    assert turn.refusal is not None
    driver.succeed("start")
    driver.signal(SignalKind.EVENT, "SESSION_RESUME")
    assert driver.execution.active == ["echoed"]
    refused = driver.signal(SignalKind.EVENT, "RETRY")
    assert refused.refusal is not None
    driver.signal(SignalKind.EVENT, "ABORT")
    assert driver.types()[-2:] == ["signal.received", "execution.cancelled"]


def test_retry_enters_the_failed_state_again() -> None:
    driver = Driver(
        flow(
            "a bad end",
            to("a", "STEP_DONE", "end"),
            to("a", "ERROR", "bad"),
            nodes={"a": "echo"},
            user_input_states=("bad",),
            terminal_states=("end",),
        )
    )
    driver.err("a")
    assert driver.execution.active == ["bad"]
    driver.signal(SignalKind.EVENT, "RETRY")
    assert driver.running() == ["a#2"]
    driver.check_fold()


def test_endless_chain_is_stopped() -> None:
    driver = Driver(
        flow("a b end", to("a", "STEP_DONE", "b"), to("b", "STEP_DONE", "a"), nodes={"a": "echo", "b": "echo"})
    )
    driver.run(lambda task_id, parameters: None)
    assert driver.execution.error is not None
    assert driver.execution.error.code == "FLOW_LOOP_LIMIT"
    assert len(driver.of(FlowTransitioned)) > 1000


def test_flow_with_no_transitions_ends_where_it_can() -> None:
    assert Driver(flow("a b", nodes={"a": "echo"})).run().status is Status.SUCCEEDED


def test_approval_in_a_flow_raises_its_answer() -> None:
    driver = Driver(
        flow(
            "ask yes no",
            to("ask", "APPROVED", "yes"),
            to("ask", "REJECTED", "no"),
            nodes={"ask": "approval"},
            terminal_states=("yes", "no"),
        )
    )
    driver.decide_approval("ask", "denied")
    assert driver.execution.active == ["no"]
    driver.check_fold()
