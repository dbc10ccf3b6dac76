"""What a client says on a socket: events for its session, and whether anybody is there."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any

import msgspec
import structlog
from starlette.types import Scope

from interlock.core.errors import ErrorKind, InterlockError, invalid, rule_broken
from interlock.core.principal import Principal
from interlock.doors.http.plumbing import auditing
from interlock.doors.http.plumbing.context import Context
from interlock.doors.http.plumbing.errors import status_of, unexpected
from interlock.doors.http.plumbing.socket import Closed, Socket, TooMany
from interlock.doors.http.plumbing.trace import Exchange
from interlock.doors.http.tempo.door import details_of, session_state
from interlock.doors.http.tempo.events import EVENT_ALIASES, read_event_type
from interlock.doors.http.tempo.frames import SERVER, TempoEvent
from interlock.doors.http.tempo.operations import PUSH_EVENT
from interlock.services.sessions.push import Push

FRAMES_PER_SECOND = 20
"""More frames of a client than that in one second end the connection."""
REST_SECONDS = 10.0
"""How long an answer waits for the session to rest."""

_HEARTBEAT = b'{"type":"HEARTBEAT"}'
_encode = msgspec.json.Encoder().encode
_log = structlog.get_logger("interlock.socket")


class Talk:
    """Reads a client's frames. Answers go to this client alone; what they cause is told to all who watch.

    An event counts against the limits of a push over HTTP and is audited as one.
    """

    def __init__(
        self,
        context: Context,
        socket: Socket,
        scope: Scope,
        exchange: Exchange,
        principal: Principal,
        session_id: str | None,
    ) -> None:
        self._context = context
        self._socket = socket
        self._scope = scope
        self._exchange = exchange
        self._principal = principal
        self._trace_id = exchange.trace_id
        self._session_id = session_id
        self._times: deque[float] = deque(maxlen=FRAMES_PER_SECOND)
        self._pushing: set[asyncio.Task[None]] = set()

    async def receive_all(self) -> None:
        """Read until the client leaves. Raises Closed, BadFrame, UNAUTHENTICATED, DENIED."""
        while True:
            frame = await self._socket.receive()
            now = self._context.clock.monotonic()
            if len(self._times) == FRAMES_PER_SECOND and now - self._times[0] < 1.0:
                raise TooMany(1008, f"at most {FRAMES_PER_SECOND} frames a second")
            self._times.append(now)
            if frame.get("type") == "PING":
                await self._socket.send(_HEARTBEAT)
            elif frame.get("type") == "auth":
                await self._look_at(frame.get("token"))
            else:
                self._start(frame, await self._refused_for_limits())

    def stop(self) -> None:
        """Wait for no answer any more; what was pushed has its effect all the same."""
        for task in self._pushing:
            task.cancel()

    async def _look_at(self, token: object) -> None:
        """Who is there was said before, or need not be said; what is said all the same must be true."""
        if not isinstance(token, str) or token == self._exchange.credential:
            return
        principal = await self._context.services.identity.authenticate(token)
        if principal.tenant_id != self._principal.tenant_id:
            message = "This connection is of another tenant; open one with this credential"
            raise InterlockError(ErrorKind.DENIED, "TENANT_MISMATCH", message)

    async def _refused_for_limits(self) -> InterlockError | None:
        """Asked for one frame after the other, so that they stay in order."""
        try:
            await self._context.limits.admit(PUSH_EVENT, self._scope, self._principal)
        except InterlockError as error:
            return error
        return None

    def _start(self, frame: dict[str, Any], refusal: InterlockError | None) -> None:
        task = asyncio.create_task(self._answer(frame, refusal))
        self._pushing.add(task)
        task.add_done_callback(self._pushing.discard)

    async def _answer(self, frame: dict[str, Any], refusal: InterlockError | None) -> None:
        session_id = str(frame.get("session_id") or self._session_id or "")
        reply_to = frame.get("id")
        status, code = 200, ""
        try:
            if refusal is not None:
                raise refusal
            kind, told = "EVENT_RESULT", await self._push(session_id, frame)
        except InterlockError as error:
            status, code = status_of(error, PUSH_EVENT.door), error.code
            kind, told = "EVENT_ERROR", _refusal(error)
        except Exception:  # noqa: BLE001 - logged with its traceback, told as a code
            _log.exception("error", route=self._exchange.route)
            status, code = 500, unexpected().code
            kind, told = "EVENT_ERROR", _refusal(unexpected())
        path = {"session_id": session_id}
        auditing.note(PUSH_EVENT, self._exchange, self._context, path, status=status, code=code)
        answer = TempoEvent(
            id=str(self._context.ids.new()),
            type=kind,
            source=SERVER,
            target=self._principal.subject,
            tick=0,
            payload={"in_reply_to": reply_to, **told},
            created_at=self._context.clock.now().timestamp(),
            tenant_id=self._principal.tenant_id,
            session_id=session_id,
            trace_id=self._trace_id,
            priority=5,
        )
        try:
            await self._socket.send(_encode(answer))
        except Closed:
            return  # nobody waits for the answer any more

    async def _push(self, session_id: str, frame: dict[str, Any]) -> dict[str, Any]:
        if not session_id:
            raise invalid("INVALID_REQUEST", "Name the session_id of the event", field="session_id")
        push = Push(
            name=read_event_type(_event_type(frame)),
            payload=_payload(frame),
            trace_id=self._trace_id,
            expected_state=_text(frame, "expected_state"),
            event_id=_text(frame, "event_id"),
            wait=REST_SECONDS,
        )
        pushed = await self._context.services.push_event(self._principal, session_id, push)
        standing = pushed.standing
        return {
            "ok": True,
            "new_state": standing.active[0] if standing.active else None,
            "session_state": session_state(standing.status, standing.waiting_reason),
        }


def _event_type(frame: dict[str, Any]) -> str:
    """The name of the event by any of its fields. Raises INVALID if two of them differ."""
    told = {name: text for name in ("event_type", *EVENT_ALIASES) if (text := _text(frame, name)) is not None}
    if len(set(told.values())) > 1:
        message = f"{' and '.join(told)} are the same field and have different values; send one of them"
        raise invalid("INVALID_REQUEST", message, field=[*told][-1])
    return next(iter(told.values()), "")


def _payload(frame: dict[str, Any]) -> dict[str, Any]:
    value = frame.get("payload")
    if value is not None and not isinstance(value, dict):
        errors = [{"field": "payload", "reason": "must be an object"}]
        raise rule_broken("VALIDATION_ERROR", "payload: must be an object", field="payload", errors=errors)
    return value or {}


def _text(frame: dict[str, Any], name: str) -> str | None:
    value = frame.get(name)
    if value is not None and not isinstance(value, str):
        errors = [{"field": name, "reason": "must be a text"}]
        raise rule_broken("VALIDATION_ERROR", f"{name}: must be a text", field=name, errors=errors)
    return value


def _refusal(error: InterlockError) -> dict[str, Any]:
    return {"ok": False, "code": error.code, "message": error.message, "details": details_of(error)}
