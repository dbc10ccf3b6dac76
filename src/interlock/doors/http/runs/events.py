"""Our events in this door's words. What it does not show leaves its number out."""

from __future__ import annotations

from typing import Any

import msgspec

from interlock.kit.instants import rfc3339
from interlock.services.nouns import EventRecord

_TYPES: dict[str, str] = {
    "execution.started": "run_started",
    "execution.paused": "run_paused",
    "execution.resumed": "run_resumed",
    "execution.succeeded": "run_completed",
    "execution.failed": "run_failed",
    "execution.cancelled": "run_cancelled",
    "task.started": "task_started",
    "task.progressed": "task_progress",
    "task.completed": "task_finished",
    "task.failed": "task_failed",
    "task.input_requested": "human_request",
    "approval.requested": "approval_requested",
    "approval.decided": "approval_decided",
    "signal.received": "human_response",
}


class RunEvent(msgspec.Struct, kw_only=True):
    """Something that happened to a run; ``payload`` are the fields that were recorded."""

    type: str
    payload: dict[str, Any]
    seq: int
    timestamp: str
    run_id: str
    trace_id: str


def run_event(record: EventRecord, run_id: str) -> RunEvent | None:
    """The event as this door tells it; None for one that it does not show."""
    kind = _TYPES.get(record.type)
    if kind is None:
        return None
    fields = msgspec.json.decode(record.data)
    return RunEvent(
        type=kind,
        payload=_PAYLOADS[record.type](fields) if record.type in _PAYLOADS else fields,
        seq=record.seq,
        timestamp=rfc3339(record.at),
        run_id=run_id,
        trace_id=record.trace_id,
    )


def _completed(fields: dict[str, Any]) -> dict[str, Any]:
    return {"final_output": fields.get("output"), "artifacts": [], "metadata": {"notices": []}}


def _failed(fields: dict[str, Any]) -> dict[str, Any]:
    error = fields["error"]
    kind = "timeout" if error["code"] == "TIMEOUT" else "unknown"
    told = {"error_kind": kind, "message": error["message"], "retryable": error.get("retryable", False)}
    lists = {"failed": fields.get("failed", []), "skipped": fields.get("skipped", [])}
    return {**told, "details": {"code": error["code"], **lists}}


def _cancelled(fields: dict[str, Any]) -> dict[str, Any]:
    lists = {"failed": fields.get("failed", []), "skipped": fields.get("skipped", [])}
    return {"message": fields.get("reason", ""), "by": fields.get("by", ""), "details": lists}


_PAYLOADS = {
    "execution.succeeded": _completed,
    "execution.failed": _failed,
    "execution.cancelled": _cancelled,
}
