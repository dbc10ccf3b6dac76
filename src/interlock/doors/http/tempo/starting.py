"""Start a session."""

from __future__ import annotations

import hashlib
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from interlock.doors.http.plumbing.idempotency import REPLAYED, answer_bound, key_of
from interlock.doors.http.plumbing.operation import Call, HeaderField, Reply
from interlock.doors.http.plumbing.replies import PRIVATE, JsonReply
from interlock.doors.http.tempo.door import session_state
from interlock.services.sessions.start import SessionWish

PREFER = HeaderField("Prefer", "`respond-async` is the same as `wait_ms: 0`.", {"type": "string"})
WaitMs = Annotated[int, Meta(ge=0, le=30_000)]
DEFAULT_WAIT_MS = 10_000


class StartBody(msgspec.Struct, kw_only=True):
    """``flow_id`` wins over ``node_id``. ``wait_ms``: how long to stay until the session rests."""

    flow_id: str | None = None
    node_id: str | None = None
    params: dict[str, Any] | None = None
    inherit_session: str | None = None
    from_step: str | None = None
    session_id: str | None = None
    wait_ms: WaitMs = DEFAULT_WAIT_MS


class StartAnswer(msgspec.Struct, kw_only=True):
    """Where the session stands; form and result are those of the last node that gave one."""

    session_id: str
    state: str | None
    session_state: str
    flow_id: str | None
    ui_schema: Any
    result: Any
    valid_events: list[str]


async def start(call: Call[StartBody, None]) -> Reply:
    """Start a flow, or a single node, and run it until it rests."""
    return await (answer_bound(call, _start) if call.body.session_id else _start(call))


async def _start(call: Call[StartBody, None]) -> Reply:
    body = call.body
    wish = SessionWish(
        flow_id=body.flow_id or None,
        node_id=body.node_id or None,
        params=body.params or {},
        inherit_session=body.inherit_session or None,
        from_step=body.from_step or None,
        session_id=body.session_id or None,
        trace_id=call.trace_id,
        digest=_digest(body) if body.session_id else "",
        key=None if body.session_id else key_of(call),
        wait=wait_of(call, body.wait_ms),
    )
    started = await call.services.start_session(call.principal, wish)
    call.acts_on(started.session.session_id)
    standing = started.standing
    answer = StartAnswer(
        session_id=started.session.session_id,
        state=standing.active[0] if standing.active else None,
        session_state=session_state(standing.status, standing.waiting_reason),
        flow_id=started.session.flow_id,
        ui_schema=standing.ui_schema,
        result=standing.result,
        valid_events=list(standing.valid_events),
    )
    return JsonReply(answer, headers=(*PRIVATE, *REPLAYED) if started.is_replay else PRIVATE)


def _digest(body: StartBody) -> str:
    """The same for requests that want the same, however they are written and however long they wait."""
    wanted = msgspec.structs.replace(body, wait_ms=0)
    return hashlib.sha256(msgspec.json.encode(wanted, order="sorted")).hexdigest()


def wait_of(call: Call[Any, Any], wait_ms: int) -> float:
    """Seconds to wait; none for a caller who prefers not to."""
    preferences = (call.header("prefer") or "").lower()
    return 0.0 if "respond-async" in preferences else wait_ms / 1000
