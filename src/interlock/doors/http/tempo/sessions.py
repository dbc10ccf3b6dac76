"""How a session stands, and the end of it."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, UnsetType

from interlock.core.engine.flow.program import CONTROL_EVENTS
from interlock.core.engine.flow.standing import missing_at_joins
from interlock.core.events import TaskFailed
from interlock.core.execution import Execution
from interlock.doors.http.plumbing.operation import Call, Reply
from interlock.doors.http.plumbing.replies import JsonReply
from interlock.doors.http.tempo.door import session_state, waiting_for
from interlock.kit.instants import rfc3339
from interlock.services.sessions.picture import Picture


class StateAnswer(msgspec.Struct, kw_only=True):
    """``valid_events`` are those the flow defines here; ``tick`` is the number of the last event.

    ``error`` is there after a failure, ``abort_reason`` after a stop. ``inherit_session`` is the session whose
    blackboard this one began with, ``successors`` those that did so with its.
    """

    session_id: str
    current_state: str | None
    session_state: str
    flow_id: str | None
    valid_events: list[str]
    control_events: list[str]
    active_states: list[str]
    pending_dependencies: list[str]
    waiting_for: str | None
    tick: int
    error: dict[str, Any] | None
    abort_reason: str | UnsetType = UNSET
    inherit_session: str | None
    successors: list[str]
    created_at: str
    updated_at: str
    trace_id: str


class StopBody(msgspec.Struct, kw_only=True):
    """Why the session is stopped; recorded with its last event."""

    reason: Annotated[str, Meta(max_length=2_000)] = ""


class StopAnswer(msgspec.Struct, kw_only=True):
    status: str
    session_id: str
    session_state: str


async def state(call: Call[None, None]) -> Reply:
    """Where a session stands, and what moves it on."""
    picture = await call.services.picture_session.show(call.principal, call.path["session_id"])
    standing, execution = picture.standing, picture.execution
    return JsonReply(
        StateAnswer(
            session_id=picture.session.session_id,
            current_state=standing.active[0] if standing.active else None,
            session_state=session_state(standing.status, standing.waiting_reason),
            flow_id=picture.session.flow_id,
            valid_events=list(standing.valid_events),
            control_events=_control_events(execution),
            active_states=list(standing.active),
            pending_dependencies=[] if execution.ended is not None else list(missing_at_joins(execution)),
            waiting_for=waiting_for(standing.waiting_reason),
            tick=standing.seq,
            error=_error(picture),
            abort_reason=UNSET if picture.abort_reason is None else picture.abort_reason,
            inherit_session=picture.session.inherit_session,
            successors=list(picture.successors),
            created_at=rfc3339(picture.session.created_at),
            updated_at=rfc3339(picture.events[-1].at),
            trace_id=picture.session.trace_id,
        )
    )


async def stop(call: Call[StopBody, None]) -> Reply:
    """Stop a session for good; once more is the same."""
    session, row = await call.services.stop_session(
        call.principal, call.path["session_id"], reason=call.body.reason or "stopped", trace_id=call.trace_id
    )
    state_word = session_state(row.status, row.waiting_reason)
    return JsonReply(StopAnswer(status="terminated", session_id=session.session_id, session_state=state_word))


def _control_events(execution: Execution) -> list[str]:
    """The control events that would do something now."""
    if execution.ended is not None:
        return []
    useless = {"PAUSE" if execution.is_paused else "RESUME"} | ({"RETRY"} if execution.last_failed is None else set())
    return [name for name in CONTROL_EVENTS if name not in useless]


def _error(picture: Picture) -> dict[str, Any] | None:
    error = picture.execution.error
    if error is None:
        return None
    attempts = [found.event.attempt for found in picture.events if isinstance(found.event, TaskFailed)]
    return {
        "code": error.code,
        "message": error.message,
        "step": error.node_id,
        "attempt": attempts[-1] if attempts else None,
    }
