"""The detailed view of an execution is a pure fold of its log."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.core.engine.flow.compile import CompiledFlow
from interlock.core.events import (
    ApprovalDecided,
    ApprovalEscalated,
    ApprovalRequested,
    Event,
    ExecutionCancelled,
    ExecutionStarted,
    ExecutionSucceeded,
    Failure,
    FlowTransitioned,
    TaskCompleted,
    TaskFailed,
    TaskInputRequested,
    TaskProgressed,
    TaskSkipped,
    TaskStarted,
    TaskWaiting,
    encode_data,
)
from interlock.core.large import OMITTED
from interlock.core.workflow import FlowDefinition, GraphDefinition, NodeDefinition, TransitionDefinition
from interlock.ports.store import EventRecord
from interlock.services.executions.view import ExecutionView, TaskView, fold

AT = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
LATER = AT + timedelta(hours=1)
ID = UUID(int=7)
ERROR = Failure(code="X", message="it broke")
STARTED = ExecutionStarted(workflow_id=None, version_id=ID, kind="graph")


def records(*events: Event, refs: dict[int, Any] | None = None) -> list[EventRecord]:
    """A log, one second an event."""
    return [
        EventRecord(
            seq=number,
            type=event.type,
            data=encode_data(event).decode(),
            refs=(refs or {}).get(number),
            at=AT + timedelta(seconds=number),
            trace_id="t",
        )
        for number, event in enumerate(events, 1)
    ]


def view(*events: Event) -> ExecutionView:
    return fold(records(STARTED, *events), {})


def only(*events: Event) -> TaskView:
    (task,) = view(*events).tasks.values()
    return task


def begun(task_id: str = "a", **rest: Any) -> TaskStarted:
    return TaskStarted(task_id=task_id, node_id=task_id.rpartition("/")[2].partition("#")[0], **rest)


def test_an_empty_log_is_an_empty_view() -> None:
    assert fold([], {}) == ExecutionView()


def test_a_task_runs_and_completes_with_its_times() -> None:
    task = only(begun(input={"x": 1}), TaskCompleted(task_id="a", node_id="a", output=[1], port="true"))
    assert (task.status, task.input, task.output, task.port) == ("completed", {"x": 1}, [1], "true")
    assert (task.started_at, task.ended_at) == (AT + timedelta(seconds=2), AT + timedelta(seconds=3))


def test_a_retried_task_keeps_its_input_and_counts_its_attempts() -> None:
    failed = TaskFailed(task_id="a", node_id="a", attempt=1, error=ERROR, will_retry=True, retry_at=LATER)
    waiting = only(begun(input=1), failed)
    assert (waiting.status, waiting.wake_at, waiting.error) == ("retrying", LATER, ERROR)
    again = only(begun(input=1), failed, begun(attempt=2))
    assert (again.status, again.attempt, again.input, again.wake_at) == ("running", 2, 1, None)
    done = only(begun(input=1), failed, begun(attempt=2), TaskCompleted(task_id="a", node_id="a"))
    assert (done.status, done.error, done.started_at) == ("completed", None, AT + timedelta(seconds=2))


def test_a_failed_task_is_over() -> None:
    task = only(begun(), TaskFailed(task_id="a", node_id="a", attempt=1, error=ERROR))
    assert (task.status, task.error, task.ended_at) == ("failed", ERROR, AT + timedelta(seconds=3))


def test_a_skipped_node_never_began() -> None:
    task = only(TaskSkipped(task_id="a", node_id="a", reason="no way"))
    assert (task.status, task.started_at, task.message) == ("skipped", None, "no way")


@pytest.mark.parametrize(
    ("waits_for", "status"),
    [
        ("timer", "waiting"),
        ("signal", "waiting"),
        ("child", "waiting"),
        ("approval", "asking"),
        ("iterations", "running"),
    ],
)
def test_a_kernel_task_says_what_it_waits_for(waits_for: str, status: str) -> None:
    task = only(begun(waits_for=waits_for, wake_at=LATER))
    assert (task.status, task.waits_for, task.wake_at) == (status, waits_for, LATER)


def test_a_task_that_answers_with_an_intent_rests() -> None:
    task = only(begun(), TaskWaiting(task_id="a", node_id="a", waits_for="signal", name="go", wake_at=LATER))
    assert (task.status, task.waits_for, task.wake_at) == ("waiting", "signal", LATER)


def test_progress_is_kept() -> None:
    task = only(begun(), TaskProgressed(task_id="a", node_id="a", progress=0.5, message="half"))
    assert (task.status, task.progress, task.message) == ("running", 0.5, "half")


def test_a_question_is_asked_escalated_and_answered() -> None:
    asked = ApprovalRequested(approval_id=ID, task_id="a", node_id="a", expires_at=LATER)
    later = LATER + timedelta(hours=1)
    escalated = ApprovalEscalated(approval_id=ID, task_id="a", node_id="a", expires_at=later)
    decided = ApprovalDecided(approval_id=ID, task_id="a", node_id="a", status="approved")
    assert (only(begun(), asked).status, only(begun(), asked).wake_at) == ("asking", LATER)
    assert only(begun(), asked, escalated).wake_at == later
    assert only(begun(), asked, escalated, decided).waits_for == ""


def test_a_flow_that_asked_goes_on_with_a_new_task() -> None:
    asked = TaskInputRequested(task_id="a", node_id="a", output={"form": 1})
    tasks = view(begun(), asked, begun("a#2")).tasks
    assert [(task.task_id, task.status) for task in tasks.values()] == [("a", "completed"), ("a#2", "running")]


@pytest.mark.parametrize(("asks", "status"), [(True, "completed"), (False, "cancelled")])
def test_leaving_a_flow_state_ends_what_was_open_there(asks: bool, status: str) -> None:
    asked = [TaskInputRequested(task_id="a", node_id="a")] if asks else []
    moved = FlowTransitioned(source=("a",), target=("b",), event="GO", active=("b",), valid_events=("NEXT",))
    found = view(begun(), *asked, moved)
    assert found.tasks["a"].status == status
    assert (found.active, found.valid_events) == (("b",), ("NEXT",))


transitions = st.lists(
    st.builds(
        lambda source, event, fan_in: TransitionDefinition(
            source=tuple(source), event=event, target=("c",), fan_in=fan_in and len(source) > 1
        ),
        st.lists(st.sampled_from("abc"), min_size=1, max_size=3, unique=True),
        st.sampled_from(["GO", "STOP", "BACK"]),
        st.booleans(),
    ),
    max_size=6,
)


@given(transitions, st.sampled_from([None, "a", "b", "c"]))
def test_a_flow_begins_where_it_was_told_with_the_events_the_engine_takes(
    defined: list[TransitionDefinition], start_at: str | None
) -> None:
    definition = FlowDefinition(states=("a", "b", "c"), initial_state="b", transitions=tuple(defined))
    begun_at = start_at or "b"
    started = ExecutionStarted(workflow_id=None, version_id=ID, kind="flow", start_at=start_at)
    found = fold(records(started), {}, definition)
    assert found.active == (begun_at,)
    assert found.valid_events == CompiledFlow(definition, {}).valid_events([begun_at])
    ended = fold(records(started, ExecutionCancelled()), {}, definition)
    assert (ended.active, ended.valid_events) == ((begun_at,), ())


def test_where_a_flow_began_is_unknown_without_its_definition_and_a_graph_is_nowhere() -> None:
    started = ExecutionStarted(workflow_id=None, version_id=ID, kind="graph", start_at="a")
    graph = GraphDefinition(nodes=(NodeDefinition(id="a", type="echo"),))
    for definition in (None, graph):
        found = fold(records(started), {}, definition)
        assert (found.active, found.valid_events) == ((), ())


def test_the_end_of_the_execution_ends_everything() -> None:
    found = view(begun("a"), begun("b", waits_for="timer"), ExecutionCancelled())
    assert {task.status for task in found.tasks.values()} == {"cancelled"}
    assert all(task.ended_at for task in found.tasks.values())


def test_large_values_are_put_back_or_named() -> None:
    log = records(begun(), TaskCompleted(task_id="a", node_id="a"), refs={1: {"input": "aa"}, 2: {"output": "bb"}})
    task = fold(log, {"aa": {"big": 1}}).tasks["a"]
    assert task.input == {"big": 1}
    assert task.output == {OMITTED: {"sha256": "bb"}}


def test_a_kind_of_event_from_a_newer_version_is_passed_over() -> None:
    log = records(STARTED, begun())
    log[0] = EventRecord(seq=1, type="future.happened", data="{}", refs=None, at=AT, trace_id="t")
    assert (fold(log, {}).last_seq, len(fold(log, {}).tasks)) == (2, 1)


def test_tasks_stand_in_the_order_they_began() -> None:
    names = [f"each[{number}]/one" for number in (2, 0, 1)]
    assert list(view(*(begun(name) for name in names)).tasks) == names


happenings = st.lists(
    st.sampled_from(["a", "b#2", "each[1]/c"]).flatmap(
        lambda task: st.sampled_from(
            [
                begun(task),
                begun(task, waits_for="signal"),
                TaskCompleted(task_id=task, node_id="x"),
                TaskFailed(task_id=task, node_id="x", attempt=1, error=ERROR),
                TaskFailed(task_id=task, node_id="x", attempt=1, error=ERROR, will_retry=True),
                TaskProgressed(task_id=task, node_id="x"),
                TaskWaiting(task_id=task, node_id="x", waits_for="timer"),
                TaskInputRequested(task_id=task, node_id="x"),
                ApprovalDecided(approval_id=ID, task_id=task, node_id="x", status="denied"),
                TaskSkipped(task_id=task, node_id="x"),
                FlowTransitioned(source=("a", "b"), target=("c",), event="E", active=("c",)),
            ]
        )
    ),
    max_size=20,
)


@given(happenings)
def test_any_log_can_be_viewed_and_its_end_leaves_nothing_open(events: list[Event]) -> None:
    found = view(*events, ExecutionSucceeded(output=1))
    assert found.last_seq == len(events) + 2
    assert all(task.ended_at is not None for task in found.tasks.values())
    assert all(task.waits_for == "" for task in found.tasks.values())
