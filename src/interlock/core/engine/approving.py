"""Approvals within the engine: asking, and folding what the approval's row decided."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from interlock.core.commands import Signal, TaskSucceeded
from interlock.core.engine.retrying import fail_task, start_again
from interlock.core.engine.turn import Turn
from interlock.core.errors import ErrorKind, InterlockError
from interlock.core.events import ApprovalDecided, ApprovalEscalated, ApprovalRequested, Failure
from interlock.core.execution import Task
from interlock.kit.instants import rfc3339

DEFAULT_TIMEOUT = 3600.0  # seconds
LOST = "lost"
"""Name of the wait of a task whose attempt was lost."""


def request_approval(turn: Turn, task: Task, question: dict[str, Any]) -> None:
    """Ask: the approval's row is written with this event. ``question`` has the parameters of the approval node."""
    turn.emit(
        ApprovalRequested(
            approval_id=turn.ids.new(),
            task_id=task.task_id,
            node_id=task.node_id,
            kind=str(question.get("kind", "node")),
            interaction_type=str(question.get("interaction_type", "approval")),
            title=str(question.get("title", "")),
            description=str(question.get("description", "")),
            request=question.get("request"),
            fields=list(question.get("fields") or []),
            options=[str(option) for option in question.get("options") or []],
            assignees=[str(name) for name in question.get("assignees") or []],
            priority=str(question.get("priority", "normal")),
            reason_required=bool(question.get("reason_required", False)),
            forbid_requester=bool(question.get("forbid_requester", False)),
            expires_at=turn.now + timedelta(seconds=float(question.get("timeout_seconds") or DEFAULT_TIMEOUT)),
            on_timeout=str(question.get("on_timeout", "fail")),
            default_response=question.get("default_response"),
            escalate_to=[str(name) for name in question.get("escalate_to") or []],
        )
    )


def take_decision(turn: Turn, signal: Signal) -> None:
    """Fold a decided row. Payload: ``{approval_id, task_id, status, decision, data, reason, by, decided_at, …}``."""
    answer: dict[str, Any] = signal.payload
    task = turn.execution.tasks.get(answer["task_id"])
    if task is None or str(task.approval_id) != answer["approval_id"]:
        turn.refusal = InterlockError(ErrorKind.GONE, "APPROVAL_CLOSED", "The task no longer waits for this approval")
        return
    if answer["status"] == "escalated":
        _escalate(turn, task, answer)
        return
    turn.emit(
        ApprovalDecided(
            approval_id=task.approval_id,  # type: ignore[arg-type]  # compared above
            task_id=task.task_id,
            node_id=task.node_id,
            status=answer["status"],
            decision=answer.get("decision") or "",
            data=answer.get("data"),
            reason=answer.get("reason") or "",
            by=answer.get("by") or "",
        )
    )
    if task.name == LOST:
        _after_loss(turn, task, is_approved=answer["status"] == "approved")
    elif answer["status"] == "expired":
        _expire(turn, task, answer)
    else:
        approved = answer["status"] == "approved"
        _finish(turn, task, answer, approved=approved, port="confirmed" if approved else "rejected")


def _after_loss(turn: Turn, task: Task, *, is_approved: bool) -> None:
    """A person has said whether a lost attempt is run again."""
    if is_approved:
        start_again(turn, task, replaces="lost")
    else:
        message = "The attempt was lost, its effect is unknown, and nobody wanted it run again"
        fail_task(turn, task, Failure(code="OUTCOME_UNKNOWN", message=message))


def _escalate(turn: Turn, task: Task, answer: dict[str, Any]) -> None:
    expires_at = answer.get("expires_at")
    turn.emit(
        ApprovalEscalated(
            approval_id=task.approval_id,  # type: ignore[arg-type]  # compared by take_decision
            task_id=task.task_id,
            node_id=task.node_id,
            assignees=list(answer.get("assignees") or []),
            expires_at=datetime.fromisoformat(expires_at) if expires_at else None,
        )
    )


def _expire(turn: Turn, task: Task, answer: dict[str, Any]) -> None:
    if answer["on_timeout"] == "continue":
        _finish(turn, task, answer, approved=False, port="timeout")
    elif answer["on_timeout"] == "default_response":
        default = answer.get("default_response")
        approved = bool(default.get("approved")) if isinstance(default, dict) else bool(default)
        _finish(turn, task, answer | {"data": default}, approved=approved, port="confirmed" if approved else "rejected")
    else:
        fail_task(turn, task, Failure(code="HIL_TIMEOUT", message="Nobody answered the approval in time"))


def _finish(turn: Turn, task: Task, answer: dict[str, Any], *, approved: bool, port: str) -> None:
    decided_at = answer.get("decided_at")
    output = {
        "response": answer.get("decision"),
        "approved": approved,
        "selected": answer.get("decision") if approved else None,
        "data": answer.get("data"),
        "reason": answer.get("reason"),
        "responder": answer.get("by"),
        "responded_at": decided_at and rfc3339(datetime.fromisoformat(decided_at)),
        "interaction_id": answer["approval_id"],
    }
    raised = ("APPROVED",) if approved else ("REJECTED",) if port == "rejected" else ("TIMEOUT",)
    turn.execution.program.complete(
        turn,
        task,
        TaskSucceeded(task_id=task.task_id, attempt=task.attempt, output=output, port=port, raised=raised),
    )
