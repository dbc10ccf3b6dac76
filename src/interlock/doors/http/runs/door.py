"""The runs door's paths, its envelope, its ids and its words for statuses."""

from __future__ import annotations

from typing import Any

import msgspec

from interlock.core.errors import rule_broken
from interlock.core.execution import Status, WaitingReason
from interlock.doors.http.plumbing.operation import Door, Refusal
from interlock.services.nouns import ExecutionRow


class RunsError(msgspec.Struct, kw_only=True):
    """The envelope of every refusal; ``code`` is what clients may branch on."""

    ok: bool
    error: str
    code: str
    trace_id: str


def envelope(refusal: Refusal) -> dict[str, Any]:
    """The body of a refused request."""
    return {"ok": False, "error": refusal.error.message, "code": refusal.error.code, "trace_id": refusal.trace_id}


RUNS = Door(
    name="runs",
    prefixes=("/runs",),
    envelope=envelope,
    rule_status=422,
    statuses={"QUEUE_FULL": 503},
    owns=("/runs/",),
)

_HUMAN = frozenset({WaitingReason.APPROVAL, WaitingReason.INPUT})
_SEEKING = frozenset({WaitingReason.RESOURCES, WaitingReason.NO_WORKER})
_OUT: dict[str, str] = {
    Status.QUEUED: "queued",
    Status.RUNNING: "running",
    Status.WAITING: "running",
    Status.PAUSED: "paused",
    Status.SUCCEEDED: "completed",
    Status.FAILED: "failed",
    Status.CANCELLED: "cancelled",
}
_WORDS: dict[str, str] = {
    "queued": "queued",
    "pending": "queued",
    "running": "running",
    "waiting_human": "waiting_human",
    "waiting_for_human": "waiting_human",
    "paused": "paused",
    "completed": "completed",
    "failed": "failed",
    "cancelled": "cancelled",
    "canceled": "cancelled",
}
_IN: dict[str, tuple[str, ...]] = {
    "queued": (Status.QUEUED,),
    "running": (Status.QUEUED, Status.RUNNING, Status.WAITING),
    "waiting_human": (Status.WAITING,),
    "paused": (Status.PAUSED,),
    "completed": (Status.SUCCEEDED,),
    "failed": (Status.FAILED,),
    "cancelled": (Status.CANCELLED,),
}
"""The statuses among which those with this word are."""


def status_of(row: ExecutionRow) -> str:
    """The word for where a run stands; one whose tasks seek a place is running."""
    if row.status == Status.WAITING and row.waiting_reason in _HUMAN:
        return "waiting_human"
    if row.status == Status.QUEUED and row.waiting_reason in _SEEKING:
        return "running"
    return _OUT[row.status]


def words_in(words: list[str]) -> frozenset[str]:
    """The words that filters mean, in any case. Raises RULE for an unknown one."""
    unknown = [word for word in words if word.lower() not in _WORDS]
    if unknown:
        message = f"Unknown status {unknown[0][:64]!r}; use {', '.join(_IN)}"
        raise rule_broken("VALIDATION_ERROR", message, field="status")
    return frozenset(_WORDS[word.lower()] for word in words)


def statuses_among(words: frozenset[str]) -> tuple[str, ...]:
    """The statuses among which runs with these words are."""
    return tuple(sorted({status for word in words for status in _IN[word]}))
