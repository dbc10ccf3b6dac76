"""``decide``: what a command does to an execution, as events. Pure: time and ids are passed in.

The execution is advanced by folding the decided events into it. If they cannot be committed, the caller must
forget the execution and read its log anew.
"""

from __future__ import annotations

from collections.abc import Callable, Container
from datetime import datetime
from typing import Any

from interlock.core.commands import (
    Advance,
    AttemptLost,
    Command,
    Signal,
    SignalKind,
    TaskErred,
    TaskPlaced,
    TaskReported,
    TaskSucceeded,
    TaskSuspended,
)
from interlock.core.engine.approving import request_approval, take_decision
from interlock.core.engine.callbacks import CALLBACK, expire_callback, take_callback
from interlock.core.engine.losing import replace_lost
from interlock.core.engine.retrying import fail_attempt, fail_task, start_again
from interlock.core.engine.turn import Turn
from interlock.core.errors import ErrorKind, InterlockError, conflict
from interlock.core.events import (
    BlackboardWritten,
    ExecutionCancelled,
    ExecutionFailed,
    ExecutionPaused,
    ExecutionStarted,
    Failure,
    SignalReceived,
    TaskProgressed,
    TaskWaiting,
)
from interlock.core.execution import Execution, Phase, Task
from interlock.kit.ids import Ids

MAX_EVENTS = 100_000
MAX_LIVE = 10_000


def start(
    execution: Execution,
    event: ExecutionStarted,
    now: datetime,
    ids: Ids,
    *,
    advance: bool,
    workflows: Container[str] | None = None,
) -> Turn:
    """The first events of an execution. Without ``advance`` it is committed as queued and goes on when claimed."""
    turn = Turn(execution, now, ids, workflows)
    turn.emit(event)
    if advance:
        _settle(turn)
    return turn


def decide(
    execution: Execution, command: Command, now: datetime, ids: Ids, workflows: Container[str] | None = None
) -> Turn:
    """Decide ``command``. A signal that changes nothing has ``refusal``; late results cause no events.

    ``workflows`` are the references of sub-workflows that exist for this execution (None: all do).
    """
    turn = Turn(execution, now, ids, workflows)
    if execution.ended is not None:
        if isinstance(command, Signal):
            turn.refusal = _already_ended(execution)
        return turn
    _DECIDE[type(command)](turn, command)
    if turn.refusal is None:
        _settle(turn)
    return turn


def _settle(turn: Turn) -> None:
    execution = turn.execution
    if execution.ended is None:
        execution.program.advance(turn)
    if execution.ended is None and (execution.seq > MAX_EVENTS or len(execution.tasks) > MAX_LIVE):
        limit = f"{MAX_EVENTS} events" if execution.seq > MAX_EVENTS else f"{MAX_LIVE} live tasks"
        error = Failure(code="EXECUTION_LIMIT", message=f"An execution may have at most {limit}; split the work up")
        turn.emit(ExecutionFailed(error=error, failed=tuple(execution.failed), skipped=tuple(execution.skipped)))


def _already_ended(execution: Execution) -> InterlockError:
    return conflict(
        "SESSION_CLOSED", f"The execution has already {execution.ended}", status=str(execution.ended), ended=True
    )


def _live_attempt(turn: Turn, task_id: str, attempt: int) -> Task | None:
    """The task, if this very attempt is still awaited; late results are fenced here."""
    task = turn.execution.tasks.get(task_id)
    if task is None or task.attempt != attempt or task.phase is not Phase.RUNNING:
        return None
    return task


def _advance(turn: Turn, command: Advance) -> None:
    execution = turn.execution
    if execution.deadline_at is not None and execution.deadline_at <= turn.now:
        error = Failure(code="TIMEOUT", message="The execution did not end before its deadline")
        turn.emit(ExecutionFailed(error=error, failed=tuple(execution.failed), skipped=tuple(execution.skipped)))
        return
    for task_id in [key for key, at in execution.deadlines.items() if at <= turn.now]:
        if task_id in execution.tasks:
            error = Failure(code="TIMEOUT", message="The task did not end before its deadline")
            fail_task(turn, execution.tasks[task_id], error)
    if execution.is_paused:
        return
    for timer in [key for key, at in execution.timers.items() if at <= turn.now]:
        if execution.ended is None and timer in execution.timers:
            _fire(turn, timer)


def _fire(turn: Turn, timer: str) -> None:
    task = turn.execution.tasks.get(timer)
    if task is not None and task.phase is Phase.RETRYING:
        if turn.execution.program.resources(task.node_id) is None:  # else it seeks a place
            start_again(turn, task)
    elif task is not None and task.waits_for == CALLBACK:
        expire_callback(turn, task)
    elif task is None or task.waits_for != "approval":  # an approval's deadline is decided by its row
        turn.execution.program.wake(turn, timer)


def _succeeded(turn: Turn, command: TaskSucceeded) -> None:
    task = _live_attempt(turn, command.task_id, command.attempt)
    if task is not None:
        turn.execution.program.complete(turn, task, command)


def _erred(turn: Turn, command: TaskErred) -> None:
    task = _live_attempt(turn, command.task_id, command.attempt)
    if task is not None:
        fail_attempt(turn, task, command.error)


def _lost(turn: Turn, command: AttemptLost) -> None:
    task = _live_attempt(turn, command.task_id, command.attempt)
    if task is not None:
        replace_lost(turn, task, command)


def _placed(turn: Turn, command: TaskPlaced) -> None:
    if not turn.execution.is_paused:
        turn.execution.program.place(turn, command)


def _reported(turn: Turn, command: TaskReported) -> None:
    task = _live_attempt(turn, command.task_id, command.attempt)
    if task is not None:
        turn.emit(
            TaskProgressed(
                task_id=task.task_id,
                node_id=task.node_id,
                progress=command.progress,
                message=command.message,
                data=command.data,
            )
        )


def _suspended(turn: Turn, command: TaskSuspended) -> None:
    task = _live_attempt(turn, command.task_id, command.attempt)
    if task is None:
        return
    turn.emit(
        TaskWaiting(
            task_id=task.task_id,
            node_id=task.node_id,
            waits_for=command.waits_for,
            name=command.name,
            wake_at=command.wake_at,
        )
    )
    if command.waits_for == "approval":
        request_approval(turn, turn.execution.tasks[task.task_id], command.approval or {})


def _signal(turn: Turn, signal: Signal) -> None:
    _SIGNALS[signal.kind](turn, signal)


def _cancel(turn: Turn, signal: Signal) -> None:
    if turn.execution.program.kind == "flow":
        turn.emit(SignalReceived(name="ABORT", payload=signal.payload, by=signal.by, signal_id=signal.signal_id))
    failed, skipped = tuple(turn.execution.failed), tuple(turn.execution.skipped)
    turn.emit(ExecutionCancelled(reason=_reason(signal), by=signal.by, failed=failed, skipped=skipped))


def _pause(turn: Turn, signal: Signal) -> None:
    if not turn.execution.is_paused:
        turn.emit(ExecutionPaused(reason=_reason(signal), by=signal.by))


def _resume(turn: Turn, signal: Signal) -> None:
    if turn.execution.is_paused:
        turn.execution.program.resume(turn, _reason(signal), signal.by)
        _advance(turn, Advance())


def _event(turn: Turn, signal: Signal) -> None:
    turn.execution.program.signal(turn, signal)


def _retry(turn: Turn, signal: Signal) -> None:
    turn.execution.program.retry(turn, signal)


def _write_blackboard(turn: Turn, signal: Signal) -> None:
    """``expected_state`` is the number of the event that set the key last, if the sender has seen it."""
    found = str(turn.execution.written.get(signal.name, 0))
    if signal.expected_state not in (None, found):
        message = f"The key is at version {found}, not {signal.expected_state}"
        turn.refusal = InterlockError(
            ErrorKind.PRECONDITION, "PRECONDITION_FAILED", message, details={"version": int(found)}
        )
        return
    turn.emit(BlackboardWritten(key=signal.name, value=signal.payload, by=signal.by))


def _child_ended(turn: Turn, signal: Signal) -> None:
    """Payload: ``{task_id, child_id, status, output, error}``. A child that nobody waits for changes nothing."""
    ended: dict[str, Any] = signal.payload
    task = turn.execution.tasks.get(ended["task_id"])
    if task is None or task.waits_for != "child" or str(task.child_id) != str(ended["child_id"]):
        turn.refusal = InterlockError(ErrorKind.CONFLICT, "TASK_OVER", "The task no longer waits for this child")
    elif ended["status"] == "succeeded":
        turn.execution.program.complete(
            turn, task, TaskSucceeded(task_id=task.task_id, attempt=task.attempt, output=ended.get("output"))
        )
    else:
        cause = ended.get("error") or {}
        message = cause.get("message") or f"The sub-workflow was {ended['status']}"
        code = cause.get("code") or "CHILD_CANCELLED"
        fail_task(turn, task, Failure(code=code, message=message))


def _reason(signal: Signal) -> str:
    return str((signal.payload or {}).get("reason") or "") if isinstance(signal.payload, dict) else ""


_DECIDE: dict[type[Command], Callable[[Turn, Any], None]] = {
    Advance: _advance,
    TaskSucceeded: _succeeded,
    TaskErred: _erred,
    AttemptLost: _lost,
    TaskPlaced: _placed,
    TaskReported: _reported,
    TaskSuspended: _suspended,
    Signal: _signal,
}

_SIGNALS: dict[SignalKind, Callable[[Turn, Signal], None]] = {
    SignalKind.CANCEL: _cancel,
    SignalKind.PAUSE: _pause,
    SignalKind.RESUME: _resume,
    SignalKind.EVENT: _event,
    SignalKind.RETRY: _retry,
    SignalKind.DECISION: take_decision,
    SignalKind.CHILD_ENDED: _child_ended,
    SignalKind.BLACKBOARD: _write_blackboard,
    SignalKind.CALLBACK: take_callback,
}
