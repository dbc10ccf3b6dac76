"""An execution in detail: a pure fold of its log into what became of every task."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any

import msgspec

from interlock.core.engine.flow.compile import valid_events
from interlock.core.events import (
    ApprovalDecided,
    ApprovalEscalated,
    ApprovalRequested,
    Event,
    ExecutionCancelled,
    ExecutionFailed,
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
    decode_event,
)
from interlock.core.large import put_back
from interlock.core.workflow import Definition, FlowDefinition
from interlock.ports.store import EventRecord

RUNNING, RETRYING, WAITING, ASKING = "running", "retrying", "waiting", "asking"
COMPLETED, FAILED, SKIPPED, CANCELLED = "completed", "failed", "skipped", "cancelled"

_ASKS = frozenset({"approval", "input"})


class AttemptView(msgspec.Struct, kw_only=True):
    """One try at a task. ``worker`` is empty where no place was set aside for it."""

    number: int
    worker: str
    started_at: datetime
    ended_at: datetime | None = None
    error: Failure | None = None


class TaskView(msgspec.Struct, kw_only=True):
    """One task as its events say. ``waits_for`` and ``wake_at`` hold only while it waits or will be retried."""

    task_id: str
    node_id: str
    status: str
    started_at: datetime | None
    ended_at: datetime | None = None
    attempt: int = 1
    input: Any = None
    output: Any = None
    port: str = ""
    error: Failure | None = None
    waits_for: str = ""
    wake_at: datetime | None = None
    progress: float | None = None
    message: str = ""
    attempts: list[AttemptView] = []


class ExecutionView(msgspec.Struct, kw_only=True):
    """All tasks in the order they began, how far the log was read, and where a flow stands."""

    tasks: dict[str, TaskView] = {}
    newest: dict[str, TaskView] = {}  # the task of each node that began last
    last_seq: int = 0
    start_at: str | None = None  # where it began, if not at its beginning
    active: tuple[str, ...] = ()
    valid_events: tuple[str, ...] = ()


def fold(
    records: Iterable[EventRecord], values: Mapping[str, Any], definition: Definition | None = None
) -> ExecutionView:
    """The view after these events. ``values`` are large values by SHA-256; one that is missing is shown as omitted.

    A flow's log does not say where it begins: without its ``definition`` that is unknown until it first moves.
    """
    view = ExecutionView()
    for record in records:
        view.last_seq = record.seq
        event = _event_of(record, values)
        if isinstance(event, ExecutionStarted):
            view.start_at = event.start_at
            if isinstance(definition, FlowDefinition):
                _begin(view, event, definition)
        take = _FOLD.get(type(event))
        if take is not None:
            take(view, event, record.at)
    return view


def _event_of(record: EventRecord, values: Mapping[str, Any]) -> Event | None:
    """The event; None for a kind that this code does not know yet."""
    try:
        event = decode_event(record.type, record.data)
    except KeyError:
        return None
    return put_back(event, record.refs, values) if record.refs else event


def _live(view: ExecutionView, task_id: str) -> TaskView | None:
    """The task, while it is not over."""
    task = view.tasks.get(task_id)
    return task if task is not None and task.ended_at is None else None


def _started(view: ExecutionView, event: TaskStarted, at: datetime) -> None:
    task = view.tasks.get(event.task_id)
    if task is None:
        asking = view.newest.get(event.node_id)
        if asking is not None and asking.waits_for == "input":
            _end(asking, COMPLETED, at)
        task = view.tasks[event.task_id] = view.newest[event.node_id] = TaskView(
            task_id=event.task_id, node_id=event.node_id, status=RUNNING, started_at=at, input=event.input
        )
    task.attempt = event.attempt
    task.ended_at = None
    _close_attempt(task, at, None)
    worker = event.placement.worker if event.placement is not None else ""
    task.attempts.append(AttemptView(number=event.attempt, worker=worker, started_at=at))
    _rest(task, event.waits_for or "", event.wake_at)


def _rest(task: TaskView, waits_for: str, wake_at: datetime | None) -> None:
    task.status = ASKING if waits_for in _ASKS else WAITING if waits_for and waits_for != "iterations" else RUNNING
    task.waits_for = waits_for
    task.wake_at = wake_at


def _waiting(view: ExecutionView, event: TaskWaiting, at: datetime) -> None:
    if (task := _live(view, event.task_id)) is not None:
        _rest(task, event.waits_for, event.wake_at)


def _progressed(view: ExecutionView, event: TaskProgressed, at: datetime) -> None:
    if (task := _live(view, event.task_id)) is not None:
        task.progress, task.message = event.progress, event.message


def _close_attempt(task: TaskView, at: datetime, error: Failure | None) -> None:
    """The newest attempt is over; one that was lost is, once the next one begins."""
    if task.attempts and task.attempts[-1].ended_at is None:
        task.attempts[-1].ended_at, task.attempts[-1].error = at, error


def _end(task: TaskView, status: str, at: datetime) -> None:
    _close_attempt(task, at, None)
    task.status = status
    task.ended_at = at
    task.waits_for = ""
    task.wake_at = None


def _completed(view: ExecutionView, event: TaskCompleted, at: datetime) -> None:
    if (task := _live(view, event.task_id)) is not None:
        task.output, task.port, task.error = event.output, event.port, None
        _end(task, COMPLETED, at)


def _failed(view: ExecutionView, event: TaskFailed, at: datetime) -> None:
    task = _live(view, event.task_id)
    if task is None:
        return
    task.error = event.error
    _close_attempt(task, at, event.error)
    if event.will_retry:
        task.status, task.waits_for, task.wake_at = RETRYING, "", event.retry_at
    else:
        _end(task, FAILED, at)


def _skipped(view: ExecutionView, event: TaskSkipped, at: datetime) -> None:
    view.tasks[event.task_id] = TaskView(
        task_id=event.task_id, node_id=event.node_id, status=SKIPPED, started_at=None, ended_at=at, message=event.reason
    )


def _asked(view: ExecutionView, event: ApprovalRequested, at: datetime) -> None:
    if (task := _live(view, event.task_id)) is not None:
        _rest(task, "approval", event.expires_at)


def _input_requested(view: ExecutionView, event: TaskInputRequested, at: datetime) -> None:
    if (task := _live(view, event.task_id)) is not None:
        task.output = event.output
        _rest(task, "input", None)


def _decided(view: ExecutionView, event: ApprovalDecided, at: datetime) -> None:
    if (task := _live(view, event.task_id)) is not None:
        _rest(task, "", None)


def _escalated(view: ExecutionView, event: ApprovalEscalated, at: datetime) -> None:
    if (task := _live(view, event.task_id)) is not None:
        task.wake_at = event.expires_at


def _begin(view: ExecutionView, event: ExecutionStarted, definition: FlowDefinition) -> None:
    view.active = (event.start_at or definition.initial_state,)
    view.valid_events = valid_events(definition, view.active)


def _transitioned(view: ExecutionView, event: FlowTransitioned, at: datetime) -> None:
    view.active, view.valid_events = event.active, event.valid_events
    for state in event.source:
        _leave(view, state, at)


def _leave(view: ExecutionView, state: str, at: datetime) -> None:
    """What was asked in this flow state is answered; what still ran there is given up."""
    task = view.newest.get(state)
    if task is not None and task.ended_at is None:
        _end(task, COMPLETED if task.waits_for == "input" else CANCELLED, at)


def _execution_ended(view: ExecutionView, event: Event, at: datetime) -> None:
    """Whatever was under way ended with the execution."""
    view.valid_events = ()
    for task in view.tasks.values():
        if task.ended_at is None:
            _end(task, CANCELLED, at)


_FOLD: dict[type[Any], Callable[[ExecutionView, Any, datetime], None]] = {
    TaskStarted: _started,
    TaskWaiting: _waiting,
    TaskProgressed: _progressed,
    TaskCompleted: _completed,
    TaskFailed: _failed,
    TaskSkipped: _skipped,
    TaskInputRequested: _input_requested,
    ApprovalRequested: _asked,
    ApprovalDecided: _decided,
    ApprovalEscalated: _escalated,
    FlowTransitioned: _transitioned,
    ExecutionSucceeded: _execution_ended,
    ExecutionFailed: _execution_ended,
    ExecutionCancelled: _execution_ended,
}
