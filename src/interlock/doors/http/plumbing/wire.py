"""HTTP/1.1 on the wire: uvicorn's protocol, with a deadline for whatever a client sends or leaves unread.

The app sees only requests that came whole and unambiguous so far; everything before that is refused here.
"""

from __future__ import annotations

import asyncio
import fcntl
import math
import sys
import termios
from collections.abc import Callable
from enum import IntEnum
from typing import Any, ClassVar, cast

from httptools import HttpParserInvalidMethodError
from starlette.types import Scope
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from interlock.doors.http.plumbing.connections import Connections
from interlock.doors.http.plumbing.doorstep import Doorstep
from interlock.doors.http.plumbing.sending import UNTIL_CLOSED, Answering
from interlock.doors.http.plumbing.sse import ABORT, LEFT
from interlock.doors.http.plumbing.trace import EXCHANGE, Exchange
from interlock.doors.http.plumbing.unread import answer, answer_to_unknown_method

_PER_FIELD = 4
"""Bytes of a header on the wire beside its name and value."""


class _Phase(IntEnum):
    """What a connection owes us."""

    SILENT = 0  # its first byte
    HEADERS = 1  # the rest of its headers
    BODY = 2  # the rest of its body
    NOTHING = 3


class _Refused(Exception):
    """Raised into the parser, which hands the connection over to ``send_400_response``."""


class _Flow(FlowControl):
    """Reads nothing more while ``is_held``, whoever is done with what came before."""

    is_held = False

    def resume_reading(self) -> None:
        if not self.is_held:
            super().resume_reading()


class WatchedProtocol(HttpToolsProtocol):
    """One connection. Subclasses made by ``protocol_over`` know the connections of their server."""

    connections_of_server: ClassVar[Connections]
    doorstep: ClassVar[Doorstep]
    flow: _Flow

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.flow = _Flow(transport)
        self.watched = self.connections_of_server
        self.limits = self.watched.limits
        self.address = self.client[0] if self.client else ""
        self._phase = _Phase.SILENT
        self._since = self.loop.time()
        self._received = 0
        self._head = 0
        self._fields = 0
        self._status = 400
        self._is_upgraded = False
        self._ignored: int | None = None
        self._stalled: float | None = None
        self._closing: float | None = None
        self._is_lost = False
        self._postponed = b""
        self._is_late = False
        self._asker = ""
        self._newest = self._began = b""
        self._waiting: set[Callable[[], None]] = set()
        if not self.watched.enter(self):
            self._refuse(503)

    def shutdown(self) -> None:
        """Uvicorn's word that the server stops: an idle connection closes, but not on a request that has come.

        One that was just made or used may have a request on the way: it stays a moment longer.
        """
        if self.loop.time() - self._since < self.limits.last_moment and not self._is_answering():
            self.loop.call_later(self.limits.last_moment, self._end)
        else:
            self._end()

    def _end(self) -> None:
        is_over = self._is_lost or self._is_upgraded
        if not is_over and not self._postponed and not _has_unread(self.transport):
            super().shutdown()

    def connection_lost(self, exc: Exception | None) -> None:
        self.watched.leave(self)
        super().connection_lost(exc)
        self._is_lost = True
        for left in tuple(self._waiting):
            left()

    def _tell_of_leaving(self, left: Callable[[], None]) -> Callable[[], None]:
        """Call it when the connection is lost, until what comes back is called. Cheaper than a task that waits."""
        self._waiting.add(left)
        if self._is_lost:
            self.loop.call_soon(lambda: left() if left in self._waiting else None)
        self.flow.resume_reading()  # who does not read does not notice
        return lambda: self._waiting.discard(left)

    def handle_websocket_upgrade(self) -> None:
        self._is_upgraded = True  # from now on its own protocol has deadlines; it still counts as a connection
        super().handle_websocket_upgrade()

    # What comes in

    def data_received(self, data: bytes) -> None:
        if self._postponed:
            self._postponed += data
        elif self.watched.intake.has_room():
            self._take_up(data)
        elif not (self.watched.intake.is_crowded(self._asker) and self._is_refused_again(data, is_late=True)):
            self._postponed = data
            self.flow.pause_reading()
            self.flow.is_held = True
            self.watched.intake.postpone(self._asker, self._go_on)

    def _go_on(self, is_late: bool) -> None:
        """It is the turn of what was postponed."""
        data, self._postponed = self._postponed, b""
        self.flow.is_held = False
        if not self._is_lost:
            self._is_late = is_late
            self.flow.resume_reading()
            self._take_up(data)
            self._is_late = False

    def _take_up(self, data: bytes) -> None:
        if self._ignored is not None:
            self._ignore(data)
            return
        if self._is_at_rest():
            if self._is_refused_again(data, is_late=self._is_late):
                return
            self._enter(_Phase.HEADERS)
            self._began = data
        else:
            self._began = b""
        if self._phase is _Phase.HEADERS:
            self._head += len(data)
            self._newest = data
        super().data_received(data)
        if self._phase is _Phase.HEADERS and self._head > self.limits.header_bytes and not self._is_closing():
            self._refuse(431)

    def _is_at_rest(self) -> bool:
        """Whether the next byte begins a request, and no answer is due before its own."""
        return self._phase is _Phase.SILENT or (self._phase is _Phase.NOTHING and not self._is_answering())

    def _is_refused_again(self, data: bytes, *, is_late: bool) -> bool:
        """Whether it was one request like others that were just refused, and is answered."""
        if self._ignored is not None or not (self._is_at_rest() and self._may_refuse_at_once()):
            return False
        refusal = self.doorstep.refusal_again(self.address, data, is_late=is_late)
        if refusal is None:
            return False
        self.transport.write(refusal)
        self._enter(_Phase.NOTHING)
        if self.timeout_keep_alive_task is None:
            self.timeout_keep_alive_handler()
        return True

    def timeout_keep_alive_handler(self) -> None:
        """Uvicorn's timer. It goes on while requests are refused at once, to set it for each costs too much, and
        while one waits for its turn.
        """
        passed = 0.0 if self._postponed else self.loop.time() - self._since
        left = self.timeout_keep_alive - passed
        if left <= 0:
            super().timeout_keep_alive_handler()
        elif not self._is_closing():
            self.timeout_keep_alive_task = self.loop.call_later(left, self.timeout_keep_alive_handler)

    def _may_refuse_at_once(self) -> bool:
        return not (self.pipeline or self.watched.is_draining or self.flow.write_paused or self._is_closing())

    def on_message_begin(self) -> None:
        if self._phase is not _Phase.HEADERS:
            self._enter(_Phase.HEADERS)
            self._began = b""  # behind another one
        self._fields = 0
        self._status = 400
        super().on_message_begin()
        cast("dict[str, Any]", self.scope)["extensions"] = {ABORT: self.transport.abort, LEFT: self._tell_of_leaving}

    def on_url(self, url: bytes) -> None:
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._count(len(name) + len(value) + _PER_FIELD)
        if self._phase is _Phase.BODY:
            return  # a trailer: nobody asked for it, and it must not become a header
        super().on_header(name, value)
        if len(self.headers) > self.limits.header_count:
            self._status = 431
            raise _Refused

    def on_headers_complete(self) -> None:
        self._refuse_two_meanings()
        self._enter(_Phase.BODY)
        super().on_headers_complete()
        if self.cycle is not None:
            Answering.over(self.cycle)
        if self.watched.is_draining and self.cycle is not None:
            self.cycle.keep_alive = False
        if self.parser.get_http_version() == "1.0" and self.cycle is not None:
            # It does not know chunks: the end of the connection is the end of the answer.
            self.cycle.chunked_encoding = False
            self.cycle.expected_content_length = cast("int", UNTIL_CLOSED)

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        """Begin with a request, unless it can be refused at once, which costs no task and no turn of the loop.

        A refusal at once begins with the next one in the pipeline, so that only the last there is refused so: each of
        the others would stand on the stack of the one before.
        """
        refusal = None
        if cycle.keep_alive and self._may_refuse_at_once():
            scope = cast("Scope", cycle.scope)
            refusal = self.doorstep.refusal(scope, cycle.default_headers, self._began, is_late=self._is_late)
        if refusal is None:
            super()._start_asgi_task(cycle, app)
            return
        self.transport.write(refusal)
        cycle.response_started = cycle.response_complete = True
        cycle.message_event.set()
        cycle.on_response()

    def on_response_complete(self) -> None:
        exchange: Exchange | None = cast("dict[str, Any]", self.cycle.scope).get(EXCHANGE)
        if exchange is not None and exchange.principal is not None:
            self._asker = exchange.principal.tenant_id
        super().on_response_complete()

    def on_body(self, body: bytes) -> None:
        self._received += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._enter(_Phase.NOTHING)
        super().on_message_complete()

    def _enter(self, phase: _Phase) -> None:
        self._phase = phase
        self._since = self.loop.time()
        self._received = self._head = 0

    def _count(self, size: int) -> None:
        self._fields += size
        if self._fields > self.limits.header_bytes:
            self._status = 431
            raise _Refused

    def _refuse_two_meanings(self) -> None:
        """Raise for a request that another server on the way could read as another request."""
        names = [name for name, _ in self.headers]
        hosts = [value for name, value in self.headers if name == b"host"]
        if len(hosts) != 1 and (hosts or self.parser.get_http_version() != "1.0"):
            raise _Refused
        if b"transfer-encoding" in names and b"content-length" in names:
            raise _Refused
        if not self.url.startswith(b"/") and not self._is_of(hosts):
            raise _Refused

    def _is_of(self, hosts: list[bytes]) -> bool:
        """Whether a target that is no path is the whole server's ``*`` or names the host that the header names."""
        if self.url == b"*":
            return self.parser.get_method() == b"OPTIONS"
        scheme, _, rest = self.url.partition(b"://")
        authority = rest.partition(b"/")[0].partition(b"?")[0]
        return scheme.lower() in (b"http", b"https") and hosts == [authority]

    # What goes out

    def pause_writing(self) -> None:
        self._stalled = self.loop.time()
        super().pause_writing()

    def resume_writing(self) -> None:
        self._stalled = None
        super().resume_writing()

    def send_400_response(self, msg: str) -> None:
        """Uvicorn calls this for every request that its parser refuses."""
        self._refuse(self._status)

    def _refuse(self, status: int) -> None:
        """Answer and close, but never into an answer that is under way: that one still goes out, and then it closes."""
        self.watched.note_refused(str(status))
        if self._is_answering() and self._phase is not _Phase.BODY:
            self._ignored = 0
            self._phase = _Phase.NOTHING
            self.cycle.keep_alive = False
            return
        if not self._is_silent(status) and (not self._is_answering() or self._is_first_unanswered()):
            self.transport.write(self._refusal(status))
        self.transport.close()

    def _refusal(self, status: int) -> bytes:
        """The answer to what is no request; called while a parser's error is handled, if that is why."""
        if isinstance(sys.exc_info()[1], HttpParserInvalidMethodError):
            return answer_to_unknown_method(self._newest, self.doorstep.methods_at)
        return answer(status, self.headers if self._fields else (), self.loop.time() - self._since)

    def _ignore(self, data: bytes) -> None:
        """What comes behind nonsense has no meaning; it is read only to notice that the client leaves."""
        self._ignored = (self._ignored or 0) + len(data)
        if self._ignored > self.limits.header_bytes:
            self.transport.abort()

    def _is_first_unanswered(self) -> bool:
        """Whether the request that is still coming is the one whose answer is due next, and none has begun."""
        return self._phase is _Phase.BODY and not self.pipeline and not self.cycle.response_started

    def _is_silent(self, status: int) -> bool:
        """Whether nobody asked for anything yet."""
        return status == 408 and self._phase is _Phase.SILENT

    def _is_answering(self) -> bool:
        """Whether the app is still busy with a request of this connection that came whole."""
        return self.cycle is not None and not self.cycle.response_complete

    def _is_closing(self) -> bool:
        return self.transport.is_closing()

    # Deadlines

    def look(self, now: float, passed: float) -> None:
        """End the connection if it takes too long; what we keep waiting ourselves does not count."""
        if self._is_upgraded:
            if self._is_closing():
                self._let_go(now)
        elif self._is_closing():
            self._closing = now if self._closing is None else self._closing
            if now - self._closing > self.limits.lingering:
                self.transport.abort()
        elif self._stalled is not None and now - self._stalled > self.limits.stalled:
            self.watched.note_refused("stalled")
            self.transport.abort()
        elif self.flow.read_paused:
            self._since += passed
        elif now - self._since > self._allowed():
            self._refuse(408)

    def _let_go(self, now: float) -> None:
        """A WebSocket that is closed counts until its last bytes are out, and those have only so long."""
        self._closing = now if self._closing is None else self._closing
        if self.transport.get_write_buffer_size() == 0 or now - self._closing > self.limits.lingering:
            self.transport.abort()
            self.watched.leave(self)

    def _allowed(self) -> float:
        """Seconds that the present phase may last."""
        if self._phase is _Phase.SILENT:
            return self.limits.first_byte
        if self._phase is _Phase.HEADERS:
            return self.limits.headers
        if self._phase is _Phase.BODY:
            return self.limits.body_grace + self._received / self.limits.body_rate
        return math.inf


def _has_unread(transport: asyncio.Transport) -> bool:
    """Whether the system holds bytes for us: to close on them would reset the connection."""
    own = transport.get_extra_info("socket")
    try:
        return own is not None and fcntl.ioctl(own.fileno(), termios.FIONREAD, bytes(4)) != bytes(4)
    except OSError:
        return False  # it is closed already


def protocol_over(connections: Connections, refusals: Doorstep | None = None) -> type[WatchedProtocol]:
    """The protocol of one server; ``refusals`` answers what need not even begin."""

    class ServerProtocol(WatchedProtocol):
        connections_of_server = connections
        doorstep = refusals or Doorstep()

    return ServerProtocol
