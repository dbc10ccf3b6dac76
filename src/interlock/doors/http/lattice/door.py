"""The lattice door's paths, its envelope, and its statuses."""

from __future__ import annotations

import math
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from interlock.core.errors import InterlockError
from interlock.doors.http.plumbing.operation import Door, Refusal

QUEUE_FULL = "QUEUE_FULL"
_TASKS = "tasks"


class LatticeError(msgspec.Struct, kw_only=True):
    """The envelope of every refusal. ``detail`` is an object only where there is no room: then it says how much."""

    detail: str | dict[str, Any]
    code: str
    trace_id: str
    run_id: str | UnsetType = UNSET


def envelope(refusal: Refusal) -> dict[str, Any]:
    """The body of a refused request."""
    error = refusal.error
    told = {
        "detail": _no_room(error) if error.code == QUEUE_FULL else error.message,
        "code": error.code,
        "trace_id": refusal.trace_id,
    }
    run_id = error.details.get("run_id")
    return told if run_id is None else {**told, "run_id": run_id}


def _no_room(error: InterlockError) -> dict[str, Any]:
    details = error.details
    capacity = details.get("capacity", details.get("limit"))
    return {
        "message": details.get("message", error.message),
        "queue_name": details.get("queue_name", _TASKS),
        "current_size": details.get("current_size", capacity),
        "capacity": capacity,
        "retry_after": details.get("retry_after", math.ceil(error.retry_after or 1.0)),
    }


LATTICE = Door(
    name="lattice",
    prefixes=("",),
    envelope=envelope,
    rule_status=422,
    statuses={QUEUE_FULL: 503, "WORKFLOW_INVALID": 400, "RESOURCES_UNAVAILABLE": 400, "WORKER_IS_LOCAL": 400},
    answers_misses=True,
)
