"""Every request has a trace id and a request id, in and out, in every log line and in every answer."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from interlock.core.principal import Principal
from interlock.doors.http.plumbing.access_log import RequestLog
from interlock.doors.http.plumbing.socket_wire import bytes_sent
from interlock.kit.clock import Clock
from interlock.kit.ids import Ids

if TYPE_CHECKING:
    from interlock.doors.http.plumbing.limits import Limited

EXCHANGE = "interlock.exchange"
"""Where the scope of a request keeps its exchange."""

_TRACEPARENT = re.compile(rb"[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}(?:-.*)?")
_PLAIN_ID = re.compile(rb"[A-Za-z0-9_.-]{1,128}")
_W3C_ID = re.compile(r"[0-9a-f]{32}")
_TO_HANDSHAKE = frozenset({"websocket.accept", "websocket.http.response.start"})
_ZEROS = b"0" * 32


class Exchange:
    """One request and what became of it. ``started`` is seconds of the monotonic clock."""

    __slots__ = (
        "bytes_out",
        "client",
        "code",
        "credential",
        "detail",
        "door",
        "doubled",
        "ends_at",
        "had_no_room",
        "headers",
        "limited",
        "method",
        "path",
        "principal",
        "request_id",
        "route",
        "started",
        "status",
        "target",
        "trace_id",
    )

    def __init__(self, scope: Scope, started: float, ids: Ids) -> None:
        self.headers: dict[bytes, bytes] = dict(scope["headers"])
        self.doubled = _doubled(scope["headers"]) if len(self.headers) != len(scope["headers"]) else frozenset()
        self.method: str = scope.get("method", "GET")  # the handshake of a WebSocket is a GET
        self.path: str = scope["path"]
        client = scope.get("client")
        self.client: str = client[0] if client else ""
        self.trace_id = _trace_id(self.headers) or ids.new().hex
        self.request_id = _plain_id(self.headers.get(b"x-request-id")) or ids.new().hex
        self.started = started
        self.route = ""
        self.door = ""
        self.principal: Principal | None = None
        self.credential = ""  # the token it came with; never logged
        self.ends_at: float | None = None  # epoch seconds: when what a ticket was made with is over
        self.limited: Limited | None = None  # set once its limits were asked
        self.had_no_room = False  # refused after it was counted, for what others have under way
        self.status = 0
        self.code = ""  # why it was refused
        self.target = ""  # what was made or tried, for the audit log
        self.detail = ""  # what was set there, for the audit log
        self.bytes_out = 0


def _doubled(headers: Iterable[tuple[bytes, bytes]]) -> frozenset[bytes]:
    """The names of headers that stand there with different values."""
    first: dict[bytes, bytes] = {}
    return frozenset(name for name, value in headers if first.setdefault(name, value) != value)


class Traced:
    """The outermost wrapper: ids and timing on every answer, one line in the log for a request or a WebSocket."""

    def __init__(
        self, app: ASGIApp, clock: Clock, ids: Ids, log: RequestLog, headers: list[tuple[bytes, bytes]]
    ) -> None:
        self._app = app
        self._clock = clock
        self._ids = ids
        self._log = log
        self._headers = headers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        exchange = Exchange(scope, self._clock.monotonic(), self._ids)
        scope[EXCHANGE] = exchange
        bound = structlog.contextvars.bind_contextvars(trace_id=exchange.trace_id, request_id=exchange.request_id)
        try:
            sender = self._sender if scope["type"] == "http" else self._sender_of_socket
            await self._app(scope, receive, sender(exchange, send))
        finally:
            if scope["type"] == "websocket":
                exchange.bytes_out += bytes_sent(scope)
            self._log.write(exchange, self._clock.monotonic() - exchange.started)
            structlog.contextvars.reset_contextvars(**bound)

    def _sender(self, exchange: Exchange, send: Send) -> Send:
        async def send_traced(message: Message) -> None:
            if message["type"] == "http.response.start":
                exchange.status = message["status"]
                message["headers"] = [*message["headers"], *self._headers, *self._own(exchange)]
                if exchange.limited is not None:
                    message["headers"] += exchange.limited.headers
            else:
                exchange.bytes_out += len(message.get("body", b""))
            await send(message)

        return send_traced

    def _sender_of_socket(self, exchange: Exchange, send: Send) -> Send:
        """The same for the answer to a handshake; what comes behind it is no HTTP."""

        async def send_traced(message: Message) -> None:
            if message["type"] in _TO_HANDSHAKE:
                exchange.status = message.get("status", 101)
                message["headers"] = [*message.get("headers", ()), *self._headers, *self._own(exchange)]
            elif message["type"] == "websocket.close" and not exchange.status:
                exchange.status = 403
            exchange.bytes_out += len(message.get("body", b""))
            await send(message)

        return send_traced

    def _own(self, exchange: Exchange) -> list[tuple[bytes, bytes]]:
        return own_headers(exchange, self._clock.monotonic() - exchange.started)


def own_headers(exchange: Exchange, seconds: float) -> list[tuple[bytes, bytes]]:
    """The ids of an exchange and how long it took until now, for its answer."""
    return [
        (b"x-request-id", exchange.request_id.encode()),
        (b"x-trace-id", exchange.trace_id.encode()),
        (b"traceparent", b"00-%b-%b-01" % (_w3c(exchange.trace_id), _span(exchange.request_id))),
        (b"x-process-time", b"%.3f" % (seconds * 1000)),
    ]


def _trace_id(headers: dict[bytes, bytes]) -> str:
    """The caller's trace id: that of ``traceparent``, else ``X-Trace-Id`` in any spelling; empty if there is none."""
    parent = headers.get(b"traceparent")
    if parent is not None:
        found = _TRACEPARENT.fullmatch(parent)
        if found and found[1] != _ZEROS:
            return found[1].decode()
    return _plain_id(headers.get(b"x-trace-id"))


def _plain_id(value: bytes | None) -> str:
    return value.decode() if value is not None and _PLAIN_ID.fullmatch(value) else ""


def _w3c(trace_id: str) -> bytes:
    """The trace id as W3C wants it; one in free spelling is replaced by a digest that is always the same."""
    if _W3C_ID.fullmatch(trace_id):
        return trace_id.encode()
    return hashlib.blake2b(trace_id.encode(), digest_size=16).hexdigest().encode()


def _span(request_id: str) -> bytes:
    if _W3C_ID.fullmatch(request_id):
        return request_id[16:].encode()
    return hashlib.blake2b(request_id.encode(), digest_size=8).hexdigest().encode()
