"""The app door's words for statuses. Outward there is one spelling; inward several are understood."""

from __future__ import annotations

from typing import Any

from interlock.core.errors import InterlockError, rule_broken
from interlock.core.execution import ACTIVE, DEADLINE, FailedBy, Status, WaitingReason
from interlock.services.executions import view

OUT: dict[str, str] = {
    Status.QUEUED: "NEW",
    Status.RUNNING: "RUNNING",
    Status.WAITING: "WAITING",
    Status.PAUSED: "PAUSED",
    Status.SUCCEEDED: "SUCCESS",
    Status.FAILED: "ERROR",
    Status.CANCELLED: "CANCELED",
}
_REASONS: dict[str, str] = {
    WaitingReason.APPROVAL: "human",
    WaitingReason.INPUT: "human",
    WaitingReason.TIMER: "timer",
    WaitingReason.RETRY_AT: "timer",
    WaitingReason.CALLBACK: "callback",
}
_IN: dict[str, tuple[str, ...]] = {
    "NEW": (Status.QUEUED,),
    "PENDING": (Status.QUEUED,),
    "RUNNING": (Status.RUNNING,),
    "WAITING": (Status.WAITING,),
    "WAITING_FOR_HUMAN": (Status.WAITING,),
    "PAUSED": (Status.PAUSED,),
    "SUCCESS": (Status.SUCCEEDED,),
    "COMPLETED": (Status.SUCCEEDED,),
    "ERROR": (FailedBy.OTHER,),
    "FAILED": (FailedBy.OTHER,),
    "TIMEOUT": (FailedBy.DEADLINE,),
    "CANCELED": (Status.CANCELLED,),
    "CANCELLED": (Status.CANCELLED,),
    "ACTIVE": tuple(sorted(ACTIVE)),
}
STATUS_WORDS = tuple(_IN)
"""What filters understand, in any case."""
_TASKS: dict[str, str] = {
    view.RUNNING: "running",
    view.RETRYING: "retrying",
    view.WAITING: "running",
    view.ASKING: "waiting_input",
    view.COMPLETED: "completed",
    view.FAILED: "failed",
    view.SKIPPED: "skipped",
    view.CANCELLED: "failed",
}


def status_out(status: str, error: Any) -> str:
    """The word for an execution's status; a failure by a deadline is ``TIMEOUT``."""
    if status == Status.FAILED and isinstance(error, dict) and error.get("code") == DEADLINE:
        return "TIMEOUT"
    return OUT[status]


def waiting_reason_out(status: str, reason: str | None) -> str | None:
    """What a waiting execution waits for: human, timer, callback or event; None unless it waits."""
    if status != Status.WAITING:
        return None
    return _REASONS.get(reason or "", "event")


def statuses_in(words: list[str]) -> tuple[str, ...]:
    """The statuses, or parts of one, that filter words mean, in any case. Raises RULE for an unknown word."""
    found: dict[str, None] = {}
    for word in words:
        meant = _IN.get(word.upper())
        if meant is None:
            raise _unknown(word)
        found.update(dict.fromkeys(meant))
    return tuple(found)


def task_status_out(status: str) -> str:
    """The word for a node's status."""
    return _TASKS[status]


def _unknown(word: str) -> InterlockError:
    message = f"Unknown status {word[:64]!r}; use {', '.join(_IN)}"
    return rule_broken("VALIDATION_ERROR", message, field="status")
