"""What a callback does to the task that waits for it: accepted once, told if repeated, written down if too late."""

from __future__ import annotations

from typing import Any

import msgspec

from interlock.core.callback import ERROR, NEED_USER_INPUT
from interlock.core.commands import Signal, TaskSucceeded
from interlock.core.engine.retrying import fail_attempt, fail_task
from interlock.core.engine.turn import Turn
from interlock.core.errors import conflict
from interlock.core.events import CallbackReceived, Failure
from interlock.core.execution import Task

CALLBACK = "callback"
"""What a task waits for whose webhook was called."""
DUPLICATE = "CALLBACK_DUPLICATE"
"""Code of the refusal of a callback that was accepted before."""


def take_callback(turn: Turn, signal: Signal) -> None:
    """Payload: the fields of ``NodeResult``, ``step``, ``digest``, and with a token ``task_id`` and ``attempt``.

    A webhook may answer before its call is over, so the attempt need not wait yet. What nobody waits for is recorded
    and changes nothing; an equal answer again is refused as DUPLICATE and leaves nothing in the log.
    """
    told: dict[str, Any] = signal.payload
    task = _awaiting(turn, told)
    if task is None:
        if turn.execution.called_back.get(told.get("task_id") or told["step"]) == told["digest"]:
            turn.refusal = conflict(DUPLICATE, "This callback was accepted before")
            return
        turn.emit(ignored(told, _reason(turn, told), signal.by))
        return
    turn.emit(_received(task.task_id, told, signal.by))
    if told["status"] == ERROR:
        message = told.get("error_message") or "The webhook answered that it failed"
        fail_attempt(turn, task, Failure(code="WEBHOOK_ERROR", message=message[:4000]))
        return
    turn.execution.program.complete(
        turn,
        task,
        TaskSucceeded(
            task_id=task.task_id,
            attempt=task.attempt,
            output=told.get("result"),
            blackboard=told.get("artifacts") or {},
            raised=tuple(told.get("next_events") or ()),
            ui_schema=told.get("ui_schema"),
            needs_input=told["status"] == NEED_USER_INPUT,
            duration_ms=round((turn.now - task.started_at).total_seconds() * 1000),
        ),
    )


def ignored(told: dict[str, Any], reason: str, by: str) -> CallbackReceived:
    """The event of a callback that changes nothing. ``told`` is the payload of its signal."""
    received = _received(told.get("task_id") or told["step"], told, by)
    return msgspec.structs.replace(received, accepted=False, reason=reason)


def expire_callback(turn: Turn, task: Task) -> None:
    """Nobody called back in time: the task is over, with all its attempts."""
    fail_task(turn, task, Failure(code="TIMEOUT", message="No callback came before the deadline of the webhook"))


def _awaiting(turn: Turn, told: dict[str, Any]) -> Task | None:
    """The task that this callback answers: by its token the very attempt, else the one of its step."""
    attempt = told.get("attempt")
    for task in _named(turn, told):
        is_called = task.waits_for in ("", CALLBACK) and turn.execution.program.node_type(task.node_id).calls_back
        if is_called and attempt in (None, task.attempt):
            return task
    return None


def _named(turn: Turn, told: dict[str, Any]) -> list[Task]:
    tasks, task_id = turn.execution.tasks, told.get("task_id")
    if task_id is not None:
        return [tasks[task_id]] if task_id in tasks else []
    return [task for task in tasks.values() if told["step"] in (task.task_id, task.node_id)]


def _reason(turn: Turn, told: dict[str, Any]) -> str:
    return "attempt superseded" if _named(turn, told) else "step is over"


def _received(task_id: str, told: dict[str, Any], by: str) -> CallbackReceived:
    return CallbackReceived(
        task_id=task_id,
        node_id=told["step"],
        status=told["status"],
        callback_id=told.get("callback_id") or "",
        digest=told["digest"],
        by=by,
    )
