"""The tempo door's prefix, its envelope, and its words for how a session stands."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import msgspec

from interlock.core.errors import InterlockError
from interlock.core.execution import Status, WaitingReason
from interlock.core.models.addresses import FIELD_NOT_ALLOWED
from interlock.doors.http.plumbing.operation import Door, Refusal

_STATES: dict[str, str] = {
    Status.QUEUED: "idle",
    Status.RUNNING: "running",
    Status.WAITING: "running",
    Status.PAUSED: "paused",
    Status.SUCCEEDED: "completed",
    Status.FAILED: "error",
    Status.CANCELLED: "error",
}
_FOR_A_PERSON = frozenset({WaitingReason.INPUT, WaitingReason.APPROVAL})
_WAITING_FOR: dict[str, str] = {
    WaitingReason.INPUT: "user",
    WaitingReason.APPROVAL: "user",
    WaitingReason.CALLBACK: "callback",
    WaitingReason.TIMER: "timer",
    WaitingReason.RETRY_AT: "timer",
    WaitingReason.SIGNAL: "event",
    WaitingReason.CHILD: "event",
}
_OF_FIELDS = ("VALIDATION_ERROR", FIELD_NOT_ALLOWED)
_INTERNAL = ("status", "waiting_reason", "active_states", "ended", "error_code")


class TempoError(msgspec.Struct, kw_only=True):
    """The envelope of every refusal; ``code`` is what clients may branch on."""

    code: str
    message: str
    trace_id: str
    details: dict[str, Any]


def session_state(status: str, waiting_reason: str | None) -> str:
    """How a session stands, in this door's word."""
    if status == Status.WAITING and waiting_reason in _FOR_A_PERSON:
        return "waiting_user"
    return _STATES[status]


def waiting_for(waiting_reason: str | None) -> str | None:
    """Whom or what a resting session waits for."""
    return _WAITING_FOR.get(waiting_reason or "")


def envelope(refusal: Refusal) -> dict[str, Any]:
    """The body of a refused request."""
    error = refusal.error
    return {
        "code": error.code,
        "message": error.message,
        "trace_id": refusal.trace_id,
        "details": details_of(error),
    }


def details_of(error: InterlockError) -> dict[str, Any]:
    """Details with the standing of a session in this door's word, and with all fields that were wrong."""
    details = error.details
    told = {key: value for key, value in details.items() if key not in _INTERNAL}
    if error.code in _OF_FIELDS:
        told.setdefault("errors", [{"field": details.get("field", ""), "reason": details.get("reason", error.message)}])
    if details.get("status") in _STATES:
        told["session_state"] = session_state(details["status"], details.get("waiting_reason"))
    return told


TEMPO = Door(
    name="tempo",
    prefixes=("/api",),
    envelope=envelope,
    rule_status=422,
    answers_misses=True,
    owns=("/api/workflow/", "/api/registry/", "/api/state/", "/api/llm/"),
)
SOCKETS = replace(TEMPO, prefixes=("",))
"""The same door, where its WebSockets are."""
