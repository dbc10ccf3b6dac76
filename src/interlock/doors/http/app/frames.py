"""Our events as frames of this door: each event is exactly one frame, with the event's number as its id."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from interlock.core.execution import Status
from interlock.doors.http.app.statuses import OUT, status_out
from interlock.doors.http.plumbing.sse import frame, frame_without_id
from interlock.kit.instants import milliseconds, rfc3339
from interlock.services.executions.watch import Fact, Watch
from interlock.services.nouns import EventRecord

UPDATE = "node_output_update"
"""The frame of every event without a type of its own; ``data.event`` names it."""

FRAME_OF: dict[str, str] = {
    "execution.started": "execution_started",
    "execution.paused": "execution_paused",
    "execution.resumed": "execution_resumed",
    "execution.succeeded": "execution_completed",
    "execution.failed": "execution_failed",
    "execution.cancelled": "execution_cancelled",
    "task.started": "node_started",
    "task.completed": "node_completed",
    "task.failed": "node_failed",
    "task.skipped": "node_skipped",
    "task.input_requested": "user_input_required",
    "approval.requested": "user_input_required",
}
_TASK_FIELDS = {"input": "input_data", "output": "output_data"}
_FLOW_FIELDS = {"event": "flow_event"}  # ``event`` is the name of our own event
_FIELDS: dict[str, dict[str, str]] = {
    "execution.started": {"input": "inputs", "started_by": "triggered_by"},
    "execution.succeeded": {"output": "result"},
    "task.started": _TASK_FIELDS,
    "task.completed": _TASK_FIELDS,
    "task.input_requested": _TASK_FIELDS,
    "flow.event_raised": _FLOW_FIELDS,
    "flow.transitioned": _FLOW_FIELDS,
}
_HIDDEN = frozenset({"dead"})  # how the engine numbers connections is nobody's business
_FINAL: dict[str, Status] = {
    "execution.succeeded": Status.SUCCEEDED,
    "execution.failed": Status.FAILED,
    "execution.cancelled": Status.CANCELLED,
}


class Frame(msgspec.Struct, kw_only=True):
    """One frame. ``content`` equals ``data``, ``timestamp`` is milliseconds since 1970."""

    type: str
    data: Any
    content: Any
    session_id: str
    execution_id: str
    timestamp: int
    created_at: str
    is_final: bool
    trace_id: str


_encode = msgspec.json.Encoder().encode


def sse_frame(watch: Watch, fact: Fact) -> bytes:
    """A fact framed for an execution's stream; made once, the same bytes for every reader."""
    made = fact.frames.get("app")
    if made is None:
        record = fact.record
        body = _encode(app_frame(record, str(watch.row.execution_id), watch.names, is_final=record.type in _FINAL))
        made = fact.frames["app"] = frame(record.seq, body)
    return made


def sse_frame_of_workflow(watch: Watch, fact: Fact) -> bytes:
    """A fact framed for a workflow's stream, which has no order of its own to resume in and no last frame."""
    made = fact.frames.get("app.workflow")
    if made is None:
        body = _encode(app_frame(fact.record, str(watch.row.execution_id), watch.names, is_final=False))
        made = fact.frames["app.workflow"] = frame_without_id(body)
    return made


def app_frame(record: EventRecord, execution_id: str, names: Mapping[str, str], *, is_final: bool) -> Frame:
    """The frame of one event. ``names`` are what the author calls the nodes, by id."""
    fields: dict[str, Any] = msgspec.json.decode(record.data)
    data = msgspec.Raw(_encode(_data(record, fields, execution_id, names)))
    return Frame(
        type=_type(record.type, fields),
        data=data,
        content=data,
        session_id=execution_id,
        execution_id=execution_id,
        timestamp=milliseconds(record.at),
        created_at=rfc3339(record.at),
        is_final=is_final,
        trace_id=record.trace_id,
    )


def _type(event: str, fields: Mapping[str, Any]) -> str:
    if event == "task.failed" and fields.get("will_retry"):
        return "node_retrying"
    return FRAME_OF.get(event, UPDATE)


def _data(
    record: EventRecord, fields: Mapping[str, Any], execution_id: str, names: Mapping[str, str]
) -> dict[str, Any]:
    """The event's fields under this door's names. Fields too large for the log are listed, not sent."""
    renamed = _FIELDS.get(record.type, {})
    data: dict[str, Any] = {"execution_id": execution_id, "event": record.type}
    node_id = fields.get("node_id")
    if node_id is not None:
        data |= {"node_id": node_id, "node_name": names.get(node_id, node_id)}
    ended = _FINAL.get(record.type)
    if ended is not None:
        data["status"] = status_out(ended, fields.get("error")) if ended is Status.FAILED else OUT[ended]
    data |= {renamed.get(key, key): value for key, value in fields.items() if key not in _HIDDEN}
    if record.refs:
        data["omitted"] = {_renamed(path, renamed): {"sha256": sha256} for path, sha256 in record.refs.items()}
    return data


def _renamed(path: str, names: Mapping[str, str]) -> str:
    field, separator, rest = path.partition("/")
    return names.get(field, field) + separator + rest
