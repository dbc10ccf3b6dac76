"""Our events as TempoEvents: each event is exactly one, with its number as ``tick``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from interlock.core.execution import Status, WaitingReason
from interlock.core.forms import question_form
from interlock.core.workflow import FlowDefinition
from interlock.doors.http.tempo.door import session_state
from interlock.kit.ids import named
from interlock.services.nouns import EventRecord
from interlock.services.registry.references import reference_of
from interlock.services.sessions.session import Session

Fields = dict[str, Any]

SERVER = "interlock"
"""The source of what no step and no person has caused."""
FINAL = frozenset({"execution.succeeded", "execution.failed", "execution.cancelled"})

_RESTS = {"end": (Status.SUCCEEDED, None), "user": (Status.WAITING, WaitingReason.INPUT)}


class TempoEvent(msgspec.Struct, kw_only=True):
    """One frame. ``id`` is the same wherever the event is shown; ``created_at`` is seconds since 1970."""

    id: str
    type: str
    source: str
    target: str
    tick: int
    payload: Fields
    created_at: float
    tenant_id: str
    session_id: str
    trace_id: str
    priority: int


class Telling(msgspec.Struct, frozen=True):
    """Whose events are told: the session, its tenant, and the flow it follows (None if it is not to be seen)."""

    session: Session
    tenant_id: str
    definition: FlowDefinition | None

    def node_ref(self, state: str) -> str:
        """What runs in a flow state, as a flow would name it."""
        if self.definition is None:
            return ""
        return reference_of(self.definition, state)


def tempo_event(record: EventRecord, telling: Telling) -> TempoEvent:
    """The frame of one event. Fields too large for the log are listed under ``omitted``, not sent."""
    fields: Fields = msgspec.json.decode(record.data)
    payload = _PAYLOADS.get(record.type, _plain)(fields, telling)
    if record.refs:
        payload["omitted"] = {key: {"sha256": sha256} for key, sha256 in record.refs.items()}
    return TempoEvent(
        id=event_id(telling.session, record.seq),
        type=_type(record.type, fields),
        source=_source(record.type, fields),
        target="*",
        tick=record.seq,
        payload=payload,
        created_at=record.at.timestamp(),
        tenant_id=telling.tenant_id,
        session_id=telling.session.session_id,
        trace_id=record.trace_id,
        priority=5,
    )


def event_id(session: Session, tick: int) -> str:
    """The id of a session's event."""
    return str(named("event", str(session.execution_id), str(tick)))


def _type(event: str, fields: Fields) -> str:
    if event == "signal.received":
        return str(fields["name"])
    if event == "flow.event_raised":
        return str(fields["event"])
    return _TYPES.get(event) or event.replace(".", "_").upper()


def _source(event: str, fields: Fields) -> str:
    actor = fields.get("by") or fields.get("started_by")
    return str(actor or fields.get("node_id") or fields.get("flow_state") or SERVER)


def _started(fields: Fields, telling: Telling) -> Fields:
    session = telling.session
    return {
        "flow_id": session.flow_id,
        "flow_version": session.flow_version,
        "node_id": session.node_id,
        "params": fields.get("input"),
        "inherit_session": session.inherit_session,
        "from_step": fields.get("start_at"),
    }


def _attempt(fields: Fields, telling: Telling) -> Fields:
    state = fields["node_id"]
    return {
        "step": state,
        "state": state,
        "node_ref": telling.node_ref(state),
        "attempt": fields.get("attempt", 1),
    }


def _completed(fields: Fields, telling: Telling) -> Fields:
    return {
        "step": fields["node_id"],
        "status": "success",
        "result": fields.get("output"),
        "ui_schema": fields.get("ui_schema"),
        "artifacts": fields.get("blackboard", {}),
        "duration_ms": fields.get("duration_ms", 0),
    }


def _failed(fields: Fields, telling: Telling) -> Fields:
    return {
        "step": fields["node_id"],
        "error": _error(fields["error"]),
        "attempt": fields["attempt"],
        "will_retry": fields.get("will_retry", False),
        "retry_at": fields.get("retry_at"),
    }


def _raised(fields: Fields, telling: Telling) -> Fields:
    return {"step": fields["flow_state"], "event": fields["event"]}


def _asked(fields: Fields, telling: Telling) -> Fields:
    return {"step": fields["node_id"], "ui_schema": fields.get("ui_schema"), "result": fields.get("output")}


def _moved(fields: Fields, telling: Telling) -> Fields:
    """Where it moved to; branches that are only left lead to nothing, and then it is where the flow is now."""
    status, reason = _RESTS.get(fields.get("rests", ""), (Status.RUNNING, None))
    return {
        "from_state": fields["source"][0],
        "to_state": (fields["target"] or fields["active"])[0],
        "event": fields["event"],
        "session_state": session_state(status, reason),
        "valid_events": fields.get("valid_events", []),
        "active_states": fields["active"],
    }


def _pushed(fields: Fields, telling: Telling) -> Fields:
    payload = fields.get("payload")
    told = payload if isinstance(payload, dict) else {} if payload is None else {"value": payload}
    if fields["name"] == "ABORT":
        return {"reason": told.get("reason", ""), "actor": fields.get("by", "")}
    return told


def _paused(fields: Fields, telling: Telling) -> Fields:
    return {"reason": fields.get("reason", "")}


def _aborted(fields: Fields, telling: Telling) -> Fields:
    return {"reason": fields.get("reason", ""), "actor": fields.get("by", "")}


def _succeeded(fields: Fields, telling: Telling) -> Fields:
    output = fields.get("output") or {}
    return {"state": output.get("state"), "result": output.get("result")}


def _ended_badly(fields: Fields, telling: Telling) -> Fields:
    return {"state": fields["error"].get("node_id"), "error": _error(fields["error"])}


def _noted(fields: Fields, telling: Telling) -> Fields:
    data = fields.get("data")
    level = data.get("level", "info") if isinstance(data, dict) else "info"
    told: Fields = {"step": fields["node_id"], "message": fields.get("message", ""), "level": level}
    return told if fields.get("progress") is None else {**told, "progress": fields["progress"]}


def _waiting(fields: Fields, telling: Telling) -> Fields:
    step, waits_for = fields["node_id"], fields["waits_for"]
    told: Fields = {"step": step, "message": f"{step} waits: {waits_for}", "level": "info"}
    return {**told, "waits_for": waits_for, "until": fields.get("wake_at")}


def _called_back(fields: Fields, telling: Telling) -> Fields:
    return {
        "step": fields["node_id"],
        "status": fields.get("status", "success"),
        "accepted": fields.get("accepted", True),
        "reason": fields.get("reason", ""),
    }


def _question(fields: Fields, telling: Telling) -> Fields:
    told = _plain(fields, telling)
    asked = {name: fields[name] for name in ("title", "description", "options", "fields") if name in fields}
    return {**told, "ui_schema": question_form(**asked)}


def _decision(fields: Fields, telling: Telling) -> Fields:
    told = _plain(fields, telling)
    outcome = fields.get("status") or "escalated"
    return {**told, "message": f"{fields['node_id']}: {outcome}", "level": "info"}


def _file(fields: Fields, telling: Telling) -> Fields:
    return {"step": fields["node_id"], **{key: fields["artifact"][key] for key in ("name", "size", "sha256")}}


def _plain(fields: Fields, telling: Telling) -> Fields:
    told = {key: value for key, value in fields.items() if key not in ("task_id", "by")}
    if "node_id" in told:
        told["step"] = told.pop("node_id")
    return told


def _error(error: Fields) -> Fields:
    return {"code": error["code"], "message": error["message"]}


_TYPES: dict[str, str] = {
    "execution.started": "SESSION_START",
    "execution.paused": "SESSION_PAUSE",
    "execution.resumed": "SESSION_RESUME",
    "execution.succeeded": "SESSION_COMPLETE",
    "execution.failed": "SESSION_ERROR",
    "execution.cancelled": "SESSION_ABORT",
    "task.started": "CMD_EXECUTE",
    "task.progressed": "NOTIFICATION",
    "task.waiting": "STEP_WAITING",
    "task.input_requested": "NEED_USER_INPUT",
    "task.completed": "EVENT_RESULT",
    "artifact.ready": "FILE_READY",
    "task.failed": "EVENT_ERROR",
    "approval.requested": "NEED_USER_INPUT",
    "approval.decided": "APPROVAL_DECIDED",
    "approval.escalated": "APPROVAL_ESCALATED",
    "blackboard.written": "STATE_WRITTEN",
    "flow.transitioned": "STATE_TRANSITION",
}
_PAYLOADS: dict[str, Callable[[Fields, Telling], Fields]] = {
    "execution.started": _started,
    "execution.paused": _paused,
    "execution.resumed": _paused,
    "execution.succeeded": _succeeded,
    "execution.failed": _ended_badly,
    "execution.cancelled": _aborted,
    "task.started": _attempt,
    "task.progressed": _noted,
    "task.waiting": _waiting,
    "task.input_requested": _asked,
    "task.completed": _completed,
    "artifact.ready": _file,
    "task.failed": _failed,
    "callback.received": _called_back,
    "approval.requested": _question,
    "approval.decided": _decision,
    "approval.escalated": _decision,
    "signal.received": _pushed,
    "flow.event_raised": _raised,
    "flow.transitioned": _moved,
}
