"""``evolve``: fold one event into an execution. Total, deterministic, and the only place that changes a fold."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

from interlock.core.events import (
    Answered,
    ApprovalDecided,
    ApprovalEscalated,
    ApprovalRequested,
    ArtifactReady,
    BlackboardWritten,
    CallbackReceived,
    Event,
    ExecutionCancelled,
    ExecutionFailed,
    ExecutionPaused,
    ExecutionResumed,
    ExecutionStarted,
    ExecutionSucceeded,
    FlowEventRaised,
    FlowTransitioned,
    Recorded,
    SignalReceived,
    TaskCompleted,
    TaskFailed,
    TaskInputRequested,
    TaskProgressed,
    TaskSkipped,
    TaskStarted,
    TaskWaiting,
)
from interlock.core.execution import Execution, Phase, Status, Task, WaitingReason
from interlock.core.forms import question_form

IDLE = "idle"
"""Why a flow is paused whose user did not come, and the name of the timer that does it."""
ITERATIONS = "iterations"
"""What a map or loop task waits for."""


def fold(execution: Execution, recorded: Iterable[Recorded]) -> Execution:
    """The execution after all of these events, which must follow the ones folded so far without a gap."""
    for record in recorded:
        if record.seq != execution.seq + 1:
            raise ValueError(f"event {record.seq} of {execution.execution_id} does not follow {execution.seq}")
        evolve(execution, record.event, record.at)
    return execution


def evolve(execution: Execution, event: Event, at: datetime) -> None:
    """Fold ``event``, which happened ``at``."""
    execution.seq += 1
    _FOLD[type(event)](execution, event, at)


def scope_of(task_id: str) -> str:
    """The scope a task id lies in: everything up to its last slash (``each[3]/``), or the empty text."""
    return task_id[: task_id.rfind("/") + 1]


def _started(execution: Execution, event: ExecutionStarted, at: datetime) -> None:
    execution.input = event.input
    execution.started_at = at
    execution.deadline_at = event.deadline_at
    execution.parent = event.parent
    execution.started_by = event.started_by
    execution.start_at = event.start_at
    execution.blackboard = dict(event.blackboard)
    execution.idle_after = event.idle_after
    execution.calling = event.calling
    execution.program.on_execution_started(execution, event, at)


def _paused(execution: Execution, event: ExecutionPaused, at: datetime) -> None:
    execution.is_paused = True
    execution.is_idle = event.reason == IDLE
    execution.timers.pop(IDLE, None)


def _resumed(execution: Execution, event: ExecutionResumed, at: datetime) -> None:
    execution.is_paused = execution.is_idle = False
    execution.held.clear()
    expect_user(execution, at)


def _hold(execution: Execution, event: Answered) -> None:
    """A flow that somebody has paused does not follow what its nodes answer before it is resumed."""
    if execution.is_paused and execution.program.kind == "flow":
        execution.held[event.task_id] = event


def expect_user(execution: Execution, at: datetime) -> None:
    """From now on the flow's user is awaited: after ``idle_after`` seconds without a signal it is paused."""
    if execution.idle_after is not None and execution.waiting_reason is WaitingReason.INPUT:
        execution.timers[IDLE] = at + timedelta(seconds=execution.idle_after)
    else:
        execution.timers.pop(IDLE, None)


def _end(execution: Execution, status: Status, at: datetime) -> None:
    execution.ended = status
    execution.ended_at = at
    execution.is_paused = execution.is_idle = False
    execution.running = 0
    execution.deadline_at = None
    for live in (
        execution.tasks,
        execution.timers,
        execution.deadlines,
        execution.ready,
        execution.arrivals,
        execution.scopes,
        execution.loops,
        execution.mailbox,
        execution.asked,
        execution.held,
    ):
        live.clear()


def _succeeded(execution: Execution, event: ExecutionSucceeded, at: datetime) -> None:
    execution.output = event.output
    _end(execution, Status.SUCCEEDED, at)


def _execution_failed(execution: Execution, event: ExecutionFailed, at: datetime) -> None:
    execution.error = event.error
    _end(execution, Status.FAILED, at)


def _cancelled(execution: Execution, event: ExecutionCancelled, at: datetime) -> None:
    _end(execution, Status.CANCELLED, at)


def _task_started(execution: Execution, event: TaskStarted, at: datetime) -> None:
    task = execution.tasks.get(event.task_id)
    if task is None:
        task = _new_task(execution, event, at)
    else:
        _new_attempt(execution, task, event, at)
    if event.waits_for:
        _rest(execution, task, event.waits_for, event.wake_at)
        task.name = event.input.get("signal", "") if isinstance(event.input, dict) else ""
        task.child_id = event.child_id
    elif task.phase is Phase.RUNNING:
        execution.running += 1


def _new_task(execution: Execution, event: TaskStarted, at: datetime) -> Task:
    task = Task(event.task_id, event.node_id, scope_of(event.task_id), at)
    task.input = event.input
    task.isolated = event.isolated
    task.placement = event.placement
    execution.tasks[event.task_id] = task
    execution.activations += 1
    if event.deadline_at is not None:
        task.deadline_at = execution.deadlines[event.task_id] = event.deadline_at
    execution.program.on_task_started(execution, task)
    return task


def _new_attempt(execution: Execution, task: Task, event: TaskStarted, at: datetime) -> None:
    if task.phase is Phase.RUNNING:
        execution.running -= 1
    execution.timers.pop(task.task_id, None)
    task.phase = Phase.RUNNING
    task.waits_for = ""
    task.wake_at = None
    task.attempt = event.attempt
    task.started_at = at
    task.isolated = event.isolated
    task.placement = event.placement
    if event.replaces == "lost":
        task.losses += 1
    elif event.replaces == "crashed":
        task.crashes += 1


def _rest(execution: Execution, task: Task, waits_for: str, wake_at: datetime | None) -> None:
    task.phase = Phase.WAITING
    if waits_for == ITERATIONS:
        task.phase = Phase.OPEN
        execution.loops[task.task_id] = None
    task.waits_for = waits_for
    task.wake_at = wake_at
    if wake_at is not None:
        execution.timers[task.task_id] = wake_at


def _task_waiting(execution: Execution, event: TaskWaiting, at: datetime) -> None:
    task = execution.tasks[event.task_id]
    execution.running -= 1
    _rest(execution, task, event.waits_for, event.wake_at)
    task.name = event.name


def _finish_task(execution: Execution, task_id: str) -> Task:
    task = execution.tasks[task_id]
    execution.drop_task(task)
    return task


def _task_completed(execution: Execution, event: TaskCompleted, at: datetime) -> None:
    task = _finish_task(execution, event.task_id)
    if event.blackboard:
        _write(execution, event.blackboard)
    if execution.program.kind == "flow":
        execution.shown.add(event.output, event.ui_schema, event.blackboard)
    execution.program.on_task_completed(execution, task, event.port, event.output, event.dead)
    _hold(execution, event)
    if execution.idle_after is not None:
        expect_user(execution, at)


def _write(execution: Execution, values: Mapping[str, Any]) -> None:
    """Whoever has seen a key's version is told by a new one that it is another now."""
    execution.blackboard.update(values)
    execution.written.update(dict.fromkeys(values, execution.seq))


def _task_failed(execution: Execution, event: TaskFailed, at: datetime) -> None:
    if event.will_retry:
        task = execution.tasks[event.task_id]
        task.failures += not event.lost
        execution.running -= task.phase is Phase.RUNNING
        task.phase = Phase.RETRYING
        task.waits_for = ""
        task.wake_at = event.retry_at
        if event.retry_at is not None:
            execution.timers[event.task_id] = event.retry_at
        return
    execution.program.on_task_failed(execution, _finish_task(execution, event.task_id), event)
    _hold(execution, event)


def _task_skipped(execution: Execution, event: TaskSkipped, at: datetime) -> None:
    execution.skipped.append(event.task_id)
    execution.program.on_task_skipped(execution, event)


def _input_requested(execution: Execution, event: TaskInputRequested, at: datetime) -> None:
    task = execution.tasks[event.task_id]
    execution.running -= task.phase is Phase.RUNNING
    task.phase = Phase.WAITING
    task.waits_for = "input"
    _write(execution, event.blackboard)
    execution.shown.add(event.output, event.ui_schema, event.blackboard)
    execution.program.on_input_requested(execution, task, event)
    _hold(execution, event)
    expect_user(execution, at)


def _approval_requested(execution: Execution, event: ApprovalRequested, at: datetime) -> None:
    task = execution.tasks[event.task_id]
    task.approval_id = event.approval_id
    if event.expires_at is not None:
        task.wake_at = execution.timers[event.task_id] = event.expires_at
    if execution.program.kind == "flow":
        execution.shown.ui_schema = question_form(
            title=event.title, description=event.description, options=event.options, fields=event.fields
        )


def _approval_decided(execution: Execution, event: ApprovalDecided, at: datetime) -> None:
    execution.timers.pop(event.task_id, None)
    execution.tasks[event.task_id].wake_at = None


def _approval_escalated(execution: Execution, event: ApprovalEscalated, at: datetime) -> None:
    task = execution.tasks[event.task_id]
    task.wake_at = event.expires_at
    execution.timers.pop(event.task_id, None)
    if event.expires_at is not None:
        execution.timers[event.task_id] = event.expires_at


def _signal_received(execution: Execution, event: SignalReceived, at: datetime) -> None:
    execution.timers.pop(IDLE, None)
    execution.program.on_signal(execution, event)


def _called_back(execution: Execution, event: CallbackReceived, at: datetime) -> None:
    if event.accepted:
        execution.called_back[event.task_id] = execution.called_back[event.node_id] = event.digest


def _blackboard_written(execution: Execution, event: BlackboardWritten, at: datetime) -> None:
    _write(execution, {event.key: event.value})


def _flow_event(execution: Execution, event: FlowEventRaised, at: datetime) -> None:
    execution.program.on_flow_event(execution, event)


def _transitioned(execution: Execution, event: FlowTransitioned, at: datetime) -> None:
    execution.program.on_transition(execution, event, at)
    expect_user(execution, at)


def _no_change(execution: Execution, event: TaskProgressed | ArtifactReady, at: datetime) -> None:
    """Progress and files are for those who watch; they change nothing that is decided upon."""


_FOLD: dict[type[Event], Callable[[Execution, Any, datetime], None]] = {
    ExecutionStarted: _started,
    ExecutionPaused: _paused,
    ExecutionResumed: _resumed,
    ExecutionSucceeded: _succeeded,
    ExecutionFailed: _execution_failed,
    ExecutionCancelled: _cancelled,
    TaskStarted: _task_started,
    TaskWaiting: _task_waiting,
    TaskCompleted: _task_completed,
    TaskFailed: _task_failed,
    TaskSkipped: _task_skipped,
    TaskProgressed: _no_change,
    ArtifactReady: _no_change,
    TaskInputRequested: _input_requested,
    ApprovalRequested: _approval_requested,
    ApprovalDecided: _approval_decided,
    ApprovalEscalated: _approval_escalated,
    SignalReceived: _signal_received,
    CallbackReceived: _called_back,
    BlackboardWritten: _blackboard_written,
    FlowEventRaised: _flow_event,
    FlowTransitioned: _transitioned,
}
