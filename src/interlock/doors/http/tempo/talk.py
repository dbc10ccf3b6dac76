"""What a client says on a socket: events for its session, and whether anybody is there."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any

import msgspec
import structlog

from interlock.core.errors import InterlockError, invalid, rule_broken
from interlock.core.principal import Principal
from interlock.doors.http.plumbing.context import Context
from interlock.doors.http.plumbing.errors import unexpected
from interlock.doors.http.tempo.door import details_of, session_state
from interlock.doors.http.tempo.events import read_event_type
from interlock.doors.http.tempo.frames import SERVER, TempoEvent
from interlock.doors.http.tempo.socket import BadFrame, Closed, Socket
from interlock.services.sessions.push import Push

FRAMES_PER_SECOND = 20
"""More frames of a client than that in one second end the connection."""
REST_SECONDS = 10.0
"""How long an answer waits for the session to rest."""

_HEARTBEAT = b'{"type":"HEARTBEAT"}'
_encode = msgspec.json.Encoder().encode
_log = structlog.get_logger("interlock.socket")


class Talk:
    """Reads a client's frames. Answers go to this client alone; what they cause is told to all who watch."""

    def __init__(
        self, context: Context, socket: Socket, principal: Principal, trace_id: str, session_id: str | None
    ) -> None:
        self._context = context
        self._socket = socket
        self._principal = principal
        self._trace_id = trace_id
        self._session_id = session_id
        self._times: deque[float] = deque(maxlen=FRAMES_PER_SECOND)
        self._pushing: set[asyncio.Task[None]] = set()

    async def receive_all(self) -> None:
        """Read until the client leaves. Raises Closed, BadFrame."""
        while True:
            frame = await self._socket.receive()
            now = self._context.clock.monotonic()
            if len(self._times) == FRAMES_PER_SECOND and now - self._times[0] < 1.0:
                raise BadFrame(1008, f"at most {FRAMES_PER_SECOND} frames a second")
            self._times.append(now)
            if frame.get("type") == "PING":
                await self._socket.send(_HEARTBEAT)
            elif frame.get("type") != "auth":  # who is there was said before, or need not be said
                task = asyncio.create_task(self._answer(frame))
                self._pushing.add(task)
                task.add_done_callback(self._pushing.discard)

    def stop(self) -> None:
        """Wait for no answer any more; what was pushed has its effect all the same."""
        for task in self._pushing:
            task.cancel()

    async def _answer(self, frame: dict[str, Any]) -> None:
        session_id = str(frame.get("session_id") or self._session_id or "")
        reply_to = frame.get("id")
        try:
            kind, told = "EVENT_RESULT", await self._push(session_id, frame)
        except InterlockError as error:
            kind, told = "EVENT_ERROR", _refusal(error)
        except Exception:  # noqa: BLE001 - logged with its traceback, told as a code
            _log.exception("error", route="/ws/events/{session_id}")
            kind, told = "EVENT_ERROR", _refusal(unexpected())
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
            name=read_event_type(_text(frame, "event_type") or _text(frame, "type") or ""),
            payload=frame.get("payload") if frame.get("payload") is not None else {},
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


def _text(frame: dict[str, Any], name: str) -> str | None:
    value = frame.get(name)
    if value is not None and not isinstance(value, str):
        errors = [{"field": name, "reason": "must be a text"}]
        raise rule_broken("VALIDATION_ERROR", f"{name}: must be a text", field=name, errors=errors)
    return value


def _refusal(error: InterlockError) -> dict[str, Any]:
    return {"ok": False, "code": error.code, "message": error.message, "details": details_of(error.details)}
