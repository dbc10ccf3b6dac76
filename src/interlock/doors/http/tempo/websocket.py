"""Sessions over a WebSocket: their events as they happen, and events from the client in the other direction."""

from __future__ import annotations

from urllib.parse import parse_qsl

from starlette.types import Scope

from interlock.core.principal import Principal
from interlock.core.principal import Scope as Permission
from interlock.doors.http.plumbing.context import Context
from interlock.doors.http.plumbing.operation import Operation, Policy
from interlock.doors.http.plumbing.socket import Socket
from interlock.doors.http.plumbing.socket_route import SocketRoute, Watching, asked_after, no_answer, read_after
from interlock.doors.http.plumbing.trace import Exchange
from interlock.doors.http.tempo.door import SOCKETS
from interlock.doors.http.tempo.talk import Talk
from interlock.doors.http.tempo.watching import watch_session, watch_tenant

PATH = "/ws/events/"
ALL = "*"
"""Stands for all sessions of the tenant."""
FIRST_SECONDS = 0.1
"""How long the past waits for a first message that says from where, if it is known who is there and not from where."""

WATCH = Operation(
    method="WS",
    path="/ws/events/{session_id}",
    door=SOCKETS,
    summary="Watch a session",
    handler=no_answer,
    policy=Policy.TENANT,
    scope=Permission.EXECUTIONS_READ,
    is_stream=True,
    key_in_url="token",
)
"""The policy of the socket: the same that HTTP obeys."""


class EventSocket(SocketRoute):
    """Answers WebSockets at ``/ws/events/{session_id}``."""

    def __init__(self, context: Context) -> None:
        super().__init__(context, WATCH)

    def read_path(self, path: str) -> dict[str, str] | None:
        """Everything behind the beginning is the session's id."""
        return {"session_id": path.removeprefix(PATH)} if path.startswith(PATH) else None

    async def serve(self, socket: Socket, scope: Scope, exchange: Exchange, path: dict[str, str]) -> None:
        """Serve one connection to its end."""
        context, session_id = self.context, path["session_id"]
        query = dict(parse_qsl(scope["query_string"].decode("latin-1")))
        principal, told_after = await self.authorise(socket, scope, exchange, query, query.get("tenant_id", "default"))
        await context.limits.admit(WATCH, scope, principal)
        asked = asked_after(exchange, query)
        if context.settings.is_local and session_id != ALL and asked is None and "live" not in query:
            told_after = told_after or await _said_at_once(socket)
        after = read_after(told_after or asked or "0")
        watching = await self._watch(session_id, principal, after, is_live=query.get("live") == "1")
        if watching is None:
            await socket.close(1000, "the session has ended")
            return
        only = None if session_id == ALL else session_id
        try:  # after it has begun to watch: asking for a seat takes a while, and the client believes it is watching
            leave = await context.seats.take(WATCH.door.name, principal)
        except BaseException:
            watching.close()
            raise
        talk = Talk(context, socket, scope, exchange, principal, only)
        try:
            look = None if only is None else lambda: context.services.find_session.row(principal, session_id)
            await self.converse(socket, watching, talk.receive_all(), exchange, principal, look)
        finally:
            talk.stop()
            leave()

    async def _watch(self, session_id: str, principal: Principal, after: int, *, is_live: bool) -> Watching | None:
        services = self.context.services
        if session_id == ALL:
            return await watch_tenant(services, principal)
        return await watch_session(services, principal, session_id, after, is_live=is_live)


async def _said_at_once(socket: Socket) -> str | None:
    """The number in a first message from whoever need not say who is there; it is looked at later like any other."""
    message = await socket.peek(FIRST_SECONDS)
    after = message.get("after") if message is not None and message.get("type") == "auth" else None
    return None if after is None else str(after)
