"""Push an event into a session, and list what happened in it."""

from __future__ import annotations

import re
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from interlock.core.errors import rule_broken
from interlock.doors.http.plumbing.described import EventName
from interlock.doors.http.plumbing.idempotency import REPLAYED, answer_bound, read_key
from interlock.doors.http.plumbing.operation import Call, Reply
from interlock.doors.http.plumbing.replies import PRIVATE, JsonReply
from interlock.doors.http.tempo.door import session_state
from interlock.doors.http.tempo.frames import Telling, TempoEvent, event_id, tempo_event
from interlock.doors.http.tempo.starting import DEFAULT_WAIT_MS, WaitMs, wait_of
from interlock.services.sessions.push import Push

EVENT_ALIASES = {"type": "event_type", "event": "event_type"}
_KEYED = "\x1f"
"""Before what identifies an event by its sender and Idempotency-Key, so that it is no other event's id."""
_EVENT = re.compile(r"[A-Z0-9_.-]{1,64}")


class EventBody(msgspec.Struct, kw_only=True):
    """``event_id`` makes a repeat the same event; ``expected_state`` refuses it anywhere else."""

    event_type: EventName
    payload: dict[str, Any] | None = None
    expected_state: str | None = None
    event_id: Annotated[str, Meta(max_length=255)] | None = None
    wait_ms: WaitMs = DEFAULT_WAIT_MS


class EventAnswer(msgspec.Struct, kw_only=True):
    """Where the session stands; form, result and artifacts are of nodes that ran because of the event."""

    new_state: str | None
    session_state: str
    ui_schema: Any
    result: Any
    artifacts: dict[str, Any]
    valid_events: list[str]
    event_id: str
    tick: int


class EventsQuery(msgspec.Struct, kw_only=True):
    """``after``: only events with a higher tick."""

    after: Annotated[int, Meta(ge=0, le=2_000_000_000)] = 0
    limit: Annotated[int, Meta(ge=1, le=1000)] = 200


class SessionEvents(msgspec.Struct, kw_only=True):
    """Events in order; go on with ``next_after`` while there are more."""

    session_id: str
    events: list[TempoEvent]
    count: int
    next_after: int
    has_more: bool


def read_event_type(text: str) -> str:
    """The name of an event in upper case. Raises RULE for one that no flow could have."""
    name = text.upper()
    if not text.isascii() or not _EVENT.fullmatch(name):  # some letters of other scripts have plain ones above them
        reason = "must be 1 to 64 letters, digits and _ . -"
        errors = [{"field": "event_type", "reason": reason}]
        raise rule_broken("VALIDATION_ERROR", f"event_type: {reason}", field="event_type", errors=errors)
    return name


async def push(call: Call[EventBody, None]) -> Reply:
    """Push an event and follow the session until it rests."""
    return await (answer_bound(call, _push) if call.body.event_id else _push(call))


async def _push(call: Call[EventBody, None]) -> Reply:
    body = call.body
    key = read_key(call)
    wish = Push(
        name=read_event_type(body.event_type),
        payload=body.payload or {},
        trace_id=call.trace_id,
        expected_state=body.expected_state,
        event_id=body.event_id or (f"{_KEYED}{call.principal.subject} {key}" if key else None),
        wait=wait_of(call, body.wait_ms),
    )
    pushed = await call.services.push_event(call.principal, call.path["session_id"], wish)
    standing = pushed.standing
    tick = standing.seq if pushed.tick is None else pushed.tick
    return JsonReply(
        EventAnswer(
            new_state=standing.active[0] if standing.active else None,
            session_state=session_state(standing.status, standing.waiting_reason),
            ui_schema=standing.ui_schema,
            result=standing.result,
            artifacts=standing.artifacts,
            valid_events=list(standing.valid_events),
            event_id=body.event_id or key or event_id(pushed.session, tick),
            tick=tick,
        ),
        headers=(*PRIVATE, *REPLAYED) if pushed.is_replay else PRIVATE,
    )


async def list_events(call: Call[None, EventsQuery]) -> Reply:
    """What happened in a session; nothing for an id that is not known."""
    query, session_id = call.query, call.path["session_id"]
    log = await call.services.read_session_log(call.principal, session_id, query.after, query.limit + 1)
    records = log.records[: query.limit]
    events = []
    if log.session is not None:
        telling = Telling(log.session, call.principal.tenant_id, log.definition)
        events = [tempo_event(record, telling) for record in records]
    return JsonReply(
        SessionEvents(
            session_id=log.session.session_id if log.session is not None else session_id,
            events=events,
            count=len(events),
            next_after=records[-1].seq if records else query.after,
            has_more=len(log.records) > query.limit,
        )
    )
