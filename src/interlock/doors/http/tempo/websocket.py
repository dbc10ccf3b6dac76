"""Sessions over a WebSocket: their events as they happen, and events from the client in the other direction."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any
from urllib.parse import parse_qsl

import structlog
from starlette.datastructures import URLPath
from starlette.routing import BaseRoute, Match, NoMatchFound
from starlette.types import Receive, Scope, Send

from interlock.core.errors import ErrorKind, InterlockError, invalid
from interlock.core.principal import Principal
from interlock.core.principal import Scope as Permission
from interlock.doors.http.plumbing import auditing
from interlock.doors.http.plumbing.authorise import authorise
from interlock.doors.http.plumbing.context import Context
from interlock.doors.http.plumbing.errors import status_of, unexpected
from interlock.doors.http.plumbing.operation import Call, Operation, Policy, Reply
from interlock.doors.http.plumbing.routing import require_policy
from interlock.doors.http.plumbing.trace import EXCHANGE, Exchange
from interlock.doors.http.tempo.door import SOCKETS
from interlock.doors.http.tempo.socket import BadFrame, Closed, Socket
from interlock.doors.http.tempo.talk import Talk, TooMany
from interlock.doors.http.tempo.watching import Watching, watch_session, watch_tenant

PATH = "/ws/events/"
ALL = "*"
"""Stands for all sessions of the tenant."""
AUTH_SECONDS = 5.0
"""How long a first message may take that says who is there."""
FIRST_SECONDS = 0.1
"""How long the past waits for a first message that says from where, if it is known who is there and not from where."""
SIGHT_SECONDS = 30.0
"""How often is checked again that the caller may see the session."""

_CREDENTIALS = (b"authorization", b"x-api-key", b"x-api-key-id")
_IN_URL = ("ticket", "token", "access_token")
_AFTER = ("since", "after", "last_event_id")
_AWAY = (ErrorKind.UNAVAILABLE, ErrorKind.TIMEOUT)
_CLOSE: dict[ErrorKind, int] = {
    ErrorKind.UNAUTHENTICATED: 4401,
    ErrorKind.DENIED: 4403,
    ErrorKind.NOT_FOUND: 4404,
    ErrorKind.GONE: 4404,
    ErrorKind.LIMITED: 1013,
    ErrorKind.UNAVAILABLE: 1013,
    ErrorKind.TIMEOUT: 1013,
    ErrorKind.INVALID: 1008,
    ErrorKind.RULE: 1008,
}
_log = structlog.get_logger("interlock.socket")


async def _no_answer(call: Call[Any, Any]) -> Reply:
    raise TypeError("a WebSocket is not answered by an operation's handler")


WATCH = Operation(
    method="WS",
    path="/ws/events/{session_id}",
    door=SOCKETS,
    summary="Watch a session",
    handler=_no_answer,
    policy=Policy.TENANT,
    scope=Permission.EXECUTIONS_READ,
    is_stream=True,
    key_in_url="token",
)
"""The policy of the socket: the same that HTTP obeys."""


class EventSocket(BaseRoute):
    """Answers WebSockets at ``/ws/events/{session_id}``. Raises RouteError if its operation declares no policy."""

    def __init__(self, context: Context) -> None:
        require_policy(WATCH)
        self.operations = (WATCH,)
        self._context = context

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """A match for the handshakes of this door."""
        is_ours = scope["type"] == "websocket" and scope["path"].startswith(PATH)
        return (Match.FULL if is_ours else Match.NONE), {}

    def url_path_for(self, name: str, /, **path_params: Any) -> URLPath:
        raise NoMatchFound(name, path_params)

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection to its end; whatever goes wrong, it is closed with a code that says so."""
        exchange: Exchange = scope[EXCHANGE]
        exchange.route, exchange.door = WATCH.route, WATCH.door.name
        socket = Socket(scope, receive, send)
        status, code = 101, ""
        try:
            await socket.accept()
            await self._serve(socket, scope, exchange)
        except Closed:
            if socket.was_dropped:
                self._context.telemetry.stream_dropped(WATCH.door.name)
        except TooMany as error:
            status, code = 429, "RATE_LIMIT_EXCEEDED"
            await socket.close(error.code, str(error))
        except BadFrame as error:
            await socket.close(error.code, str(error))
        except InterlockError as error:
            status, code = status_of(error, WATCH.door), error.code
            await socket.close(_CLOSE.get(error.kind, 1011), f"{error.code}: {error.message}")
        except Exception:  # noqa: BLE001 - the last wall: logged with its traceback, told as a code
            _log.exception("error", route=WATCH.route)
            status, code = 500, unexpected().code
            await socket.close(1011, code)
        finally:
            socket.forget()
            path = {"session_id": scope["path"].removeprefix(PATH)}
            exchange.status, exchange.code = status, code
            auditing.note(WATCH, exchange, self._context, path, status=status, code=code)

    async def _serve(self, socket: Socket, scope: Scope, exchange: Exchange) -> None:
        context = self._context
        session_id = scope["path"].removeprefix(PATH)
        query = dict(parse_qsl(scope["query_string"].decode("latin-1")))
        principal, told_after = await self._authorise(socket, scope, exchange, query)
        await context.limits.admit(WATCH, scope, principal)
        asked = _asked_after(exchange, query)
        if context.settings.is_local and session_id != ALL and asked is None and "live" not in query:
            told_after = told_after or await _said_at_once(socket)
        after = _number(told_after or asked or "0")
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
        try:
            talk = Talk(context, socket, scope, exchange, principal, only)
            await self._converse(socket, watching, talk, exchange, principal, only)
        finally:
            leave()

    async def _watch(self, session_id: str, principal: Principal, after: int, *, is_live: bool) -> Watching | None:
        services = self._context.services
        if session_id == ALL:
            return await watch_tenant(services, principal)
        return await watch_session(services, principal, session_id, after, is_live=is_live)

    async def _authorise(
        self, socket: Socket, scope: Scope, exchange: Exchange, query: dict[str, str]
    ) -> tuple[Principal, str | None]:
        """Who is there, and the number after which the first message wants to go on."""
        is_told = any(name in exchange.headers for name in _CREDENTIALS) or any(query.get(name) for name in _IN_URL)
        token = after = None
        if not is_told and not self._context.settings.is_local:
            token, after = await _first_message(socket)
        principal = await authorise(
            WATCH, exchange, scope, self._context, told_token=token, told_tenant=query.get("tenant_id", "default")
        )
        return principal, after

    async def _converse(
        self,
        socket: Socket,
        watching: Watching,
        talk: Talk,
        exchange: Exchange,
        principal: Principal,
        session_id: str | None,
    ) -> None:
        """Send and receive until one of the two ends, the server goes away or the caller may watch no more."""
        loop = asyncio.get_running_loop()
        gone, refused = asyncio.Event(), loop.create_future()
        forget = self._context.drain.on_begin(gone.set)
        if self._context.drain.has_begun:
            gone.set()
        believe = self._context.proofs.keep(self._context, exchange, principal, lambda error: _fail(refused, error))
        parts: list[Coroutine[Any, Any, None]] = [
            watching.send_all(socket),
            talk.receive_all(),
            self._say_goodbye(socket, watching, gone),
            self._end_with(refused),
        ]
        if session_id is not None:
            parts.append(self._keep_seeing(principal, session_id))
        tasks = [asyncio.create_task(part) for part in parts]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            forget()
            believe()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            talk.stop()
            watching.close()

    async def _say_goodbye(self, socket: Socket, watching: Watching, gone: asyncio.Event) -> None:
        await gone.wait()
        await socket.close(1012, f"resume after={watching.seq}")

    async def _end_with(self, refused: asyncio.Future[None]) -> None:
        await refused

    async def _keep_seeing(self, principal: Principal, session_id: str) -> None:
        """Raise NOT_FOUND once the caller may not see the session any more."""
        while True:
            await asyncio.sleep(SIGHT_SECONDS)
            try:
                await self._context.services.find_session.row(principal, session_id)
            except InterlockError as error:
                if error.kind not in _AWAY:  # then the next time decides
                    raise


def _fail(refused: asyncio.Future[None], error: InterlockError) -> None:
    if not refused.done():
        refused.set_exception(error)


async def _first_message(socket: Socket) -> tuple[str, str | None]:
    """Token and number of ``{"type":"auth","token":…,"after":…}``. Raises UNAUTHENTICATED if none comes in time."""
    refused = InterlockError(ErrorKind.UNAUTHENTICATED, "AUTHENTICATION_FAILED", "Say who you are within 5 s")
    try:
        async with asyncio.timeout(AUTH_SECONDS):
            message = await socket.receive()
    except TimeoutError:
        raise refused from None
    token, after = message.get("token"), message.get("after")
    if message.get("type") != "auth" or not isinstance(token, str) or not token:
        raise refused
    return token, None if after is None else str(after)


async def _said_at_once(socket: Socket) -> str | None:
    """The number in a first message from whoever need not say who is there; it is looked at later like any other."""
    message = await socket.peek(FIRST_SECONDS)
    after = message.get("after") if message is not None and message.get("type") == "auth" else None
    return None if after is None else str(after)


def _asked_after(exchange: Exchange, query: dict[str, str]) -> str | None:
    """The number after which the handshake wants to go on; its header wins. Raises INVALID if two names differ."""
    header = exchange.headers.get(b"last-event-id")
    if header:
        return header.decode("latin-1")
    told = {name: query[name] for name in _AFTER if name in query}
    if len(set(told.values())) > 1:
        message = f"{' and '.join(told)} are the same parameter and have different values; send one of them"
        raise invalid("INVALID_REQUEST", message, field=[*told][-1])
    return next(iter(told.values()), None)


def _number(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 9):
        raise invalid("INVALID_CURSOR", "after must be the tick of an event, 0 or more")
    return int(text)
