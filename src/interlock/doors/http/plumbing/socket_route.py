"""What all WebSockets share: the handshake, who is there, and an end that says why."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Protocol

import structlog
from starlette.datastructures import URLPath
from starlette.routing import BaseRoute, Match, NoMatchFound
from starlette.types import Receive, Scope, Send

from interlock.core.errors import ErrorKind, InterlockError, invalid
from interlock.core.principal import Principal
from interlock.doors.http.plumbing import auditing
from interlock.doors.http.plumbing.authorise import authorise
from interlock.doors.http.plumbing.context import Context
from interlock.doors.http.plumbing.errors import status_of, unexpected
from interlock.doors.http.plumbing.operation import Call, Operation, Reply
from interlock.doors.http.plumbing.routing import require_policy
from interlock.doors.http.plumbing.socket import BadFrame, Closed, Socket, TooMany
from interlock.doors.http.plumbing.trace import EXCHANGE, Exchange

AUTH_SECONDS = 5.0
"""How long a first message may take that says who is there."""
SIGHT_SECONDS = 30.0
"""How often is checked again that the caller may see what it watches."""

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

Look = Callable[[], Awaitable[object]]


class Watching(Protocol):
    """A source of frames. ``seq`` is the number of the last one that was sent."""

    seq: int

    async def send_all(self, socket: Socket) -> None:
        """Send what there is and what comes; returns after the last frame of all."""
        ...

    def close(self) -> None: ...


async def no_answer(call: Call[Any, Any]) -> Reply:
    """The handler of an operation that a WebSocket is. Raises TypeError."""
    raise TypeError("a WebSocket is not answered by an operation's handler")


class SocketRoute(BaseRoute):
    """Answers the WebSockets of one operation. Raises RouteError if it declares no policy."""

    def __init__(self, context: Context, operation: Operation) -> None:
        require_policy(operation)
        self.operations = (operation,)
        self.operation = operation
        self.context = context

    def read_path(self, path: str) -> dict[str, str] | None:
        """The parameters of a path that belongs to this operation; None for any other."""
        names, parts = self.operation.path.split("/"), path.split("/")
        if len(names) != len(parts):
            return None
        pairs = list(zip(names, parts, strict=True))
        if any(not part or (name != part and not name.startswith("{")) for name, part in pairs[1:]):
            return None
        return {name[1:-1]: part for name, part in pairs if name.startswith("{")}

    async def serve(self, socket: Socket, scope: Scope, exchange: Exchange, path: dict[str, str]) -> None:
        """Serve a connection that was accepted, to its end."""
        raise NotImplementedError

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """A match for the handshakes of this door."""
        is_ours = scope["type"] == "websocket" and self.read_path(scope["path"]) is not None
        return (Match.FULL if is_ours else Match.NONE), {}

    def url_path_for(self, name: str, /, **path_params: Any) -> URLPath:
        raise NoMatchFound(name, path_params)

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection to its end; whatever goes wrong, it is closed with a code that says so."""
        exchange: Exchange = scope[EXCHANGE]
        operation = self.operation
        exchange.route, exchange.door = operation.route, operation.door.name
        socket = Socket(scope, receive, send)
        status, code = 101, ""
        path = self.read_path(scope["path"]) or {}
        try:
            await socket.accept()
            await self.serve(socket, scope, exchange, path)
        except Closed:
            if socket.was_dropped:
                self.context.telemetry.stream_dropped(operation.door.name)
        except TooMany as error:
            status, code = 429, "RATE_LIMIT_EXCEEDED"
            await socket.close(error.code, str(error))
        except BadFrame as error:
            await socket.close(error.code, str(error))
        except InterlockError as error:
            status, code = status_of(error, operation.door), error.code
            await socket.close(_CLOSE.get(error.kind, 1011), f"{error.code}: {error.message}")
        except Exception:  # noqa: BLE001 - the last wall: logged with its traceback, told as a code
            _log.exception("error", route=operation.route)
            status, code = 500, unexpected().code
            await socket.close(1011, code)
        finally:
            socket.forget()
            exchange.status, exchange.code = status, code
            auditing.note(operation, exchange, self.context, path, status=status, code=code)

    async def authorise(
        self, socket: Socket, scope: Scope, exchange: Exchange, query: dict[str, str], tenant: str | None = None
    ) -> tuple[Principal, str | None]:
        """Who is there, and the number after which the first message wants to go on.

        ``tenant`` is the one that the address names for local mode.
        """
        is_told = any(name in exchange.headers for name in _CREDENTIALS) or any(query.get(name) for name in _IN_URL)
        token = after = None
        if not is_told and not self.context.settings.is_local:
            token, after = await _first_message(socket)
        principal = await authorise(self.operation, exchange, scope, self.context, told_token=token, told_tenant=tenant)
        return principal, after

    async def converse(
        self,
        socket: Socket,
        watching: Watching,
        receiving: Coroutine[Any, Any, None],
        exchange: Exchange,
        principal: Principal,
        look: Look | None,
    ) -> None:
        """Send and receive until one of the two ends, the server goes away or the caller may watch no more.

        ``look`` raises NOT_FOUND once the caller may not see it any more.
        """
        loop = asyncio.get_running_loop()
        gone, refused = asyncio.Event(), loop.create_future()
        forget = self.context.drain.on_begin(gone.set)
        if self.context.drain.has_begun:
            gone.set()
        believe = self.context.proofs.keep(self.context, exchange, principal, lambda error: _fail(refused, error))
        parts = [watching.send_all(socket), receiving, _say_goodbye(socket, watching, gone), _end_with(refused)]
        if look is not None:
            parts.append(_keep_seeing(look))
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
            watching.close()


def asked_after(exchange: Exchange, query: dict[str, str]) -> str | None:
    """The number after which the handshake wants to go on; its header wins. Raises INVALID if two names differ."""
    header = exchange.headers.get(b"last-event-id")
    if header:
        return header.decode("latin-1")
    told = {name: query[name] for name in _AFTER if name in query}
    if len(set(told.values())) > 1:
        message = f"{' and '.join(told)} are the same parameter and have different values; send one of them"
        raise invalid("INVALID_REQUEST", message, field=[*told][-1])
    return next(iter(told.values()), None)


def read_after(text: str) -> int:
    """The number of an event. Raises INVALID."""
    if not (text.isascii() and text.isdigit() and len(text) <= 9):
        raise invalid("INVALID_CURSOR", "after must be the tick of an event, 0 or more")
    return int(text)


async def _say_goodbye(socket: Socket, watching: Watching, gone: asyncio.Event) -> None:
    await gone.wait()
    await socket.close(1012, f"resume after={watching.seq}")


async def _end_with(refused: asyncio.Future[None]) -> None:
    await refused


async def _keep_seeing(look: Look) -> None:
    while True:
        await asyncio.sleep(SIGHT_SECONDS)
        try:
            await look()
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
