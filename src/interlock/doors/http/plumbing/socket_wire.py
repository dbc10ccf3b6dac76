"""WebSockets on the wire: uvicorn's protocol, with bounds for what a client sends that the app never sees.

It also takes frames that are ready to be sent, so that a frame for many clients is made once.
"""

from __future__ import annotations

import asyncio
from typing import Any, cast

from starlette.types import Scope
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import Frame
from websockets.http11 import Request

WIRE = "interlock.wire"
"""Name of the ASGI extension: the ``SocketWire`` of a connection."""
MAX_FRAME = 64 * 1024
"""Bytes of a message from a client."""
_MAX_FRAGMENTS = 64  # parts of one message
_MAX_CONTROLS = 20  # pings and pongs in one second
_SLICE = 16 * 1024  # bytes that are parsed in one go: tiny frames are many
_TEXT = 0x81  # a whole text message


class SocketWire(WebSocketsSansIOProtocol):
    """One WebSocket of the server."""

    _second = 0.0
    _controls = 0
    _fragments = 0
    bytes_out = 0
    """What was sent in whole frames."""

    async def drained(self) -> None:
        """Wait until the client has taken what was written before, or is gone."""
        await self.writable.wait()

    @property
    def is_drained(self) -> bool:
        """Whether the client takes what is written."""
        return self.writable.is_set()

    def write(self, frames: bytes) -> bool:
        """Write whole frames; False if the connection is over."""
        if self.disconnected or self.close_sent or self.transport.is_closing():
            return False
        self.transport.write(frames)
        self.bytes_out += len(frames)
        return True

    async def send(self, message: Any) -> None:
        """Send what the app says. A handshake that it refused in full is over: uvicorn's log would call it an error."""
        await super().send(message)
        if self.initial_response is not None and self.close_sent:
            self.handshake_complete = True

    def abort(self) -> None:
        """Drop the connection without waiting for unsent data."""
        self.transport.abort()

    def handle_connect(self, event: Request) -> None:
        super().handle_connect(event)
        if hasattr(self, "scope"):
            cast("dict[str, Any]", self.scope)["extensions"][WIRE] = self

    def data_received(self, data: bytes) -> None:
        for begin in range(0, len(data), _SLICE):
            if self.transport.is_closing():
                return
            super().data_received(data[begin : begin + _SLICE])

    def handle_text(self, event: Frame) -> None:
        self._fragments = 0
        super().handle_text(event)

    def handle_bytes(self, event: Frame) -> None:
        self._fragments = 0
        super().handle_bytes(event)

    def handle_cont(self, event: Frame) -> None:
        self._fragments += 1
        if self._fragments >= _MAX_FRAGMENTS:
            self._refuse(f"a message may come in {_MAX_FRAGMENTS} parts")
        else:
            super().handle_cont(event)

    def handle_ping(self) -> None:
        super().handle_ping()
        self._count_control()

    def handle_pong(self, event: Frame) -> None:
        super().handle_pong(event)
        self._count_control()

    def _count_control(self) -> None:
        now = self.loop.time()
        if now - self._second >= 1.0:
            self._second, self._controls = now, 0
        self._controls += 1
        if self._controls > _MAX_CONTROLS:
            self._refuse(f"at most {_MAX_CONTROLS} pings a second")

    def _refuse(self, reason: str) -> None:
        if self.close_sent or self.transport.is_closing():
            return
        self.queue.put_nowait({"type": "websocket.disconnect", "code": 1008, "reason": reason})
        self.conn.fail(1008, reason)
        self.transport.write(b"".join(self.conn.data_to_send()))
        self.close_sent = True
        self.transport.close()


def bytes_sent(scope: Scope) -> int:
    """How much a WebSocket has sent in whole frames; 0 for one of another server."""
    wire: SocketWire | None = scope.get("extensions", {}).get(WIRE)
    return wire.bytes_out if wire is not None else 0


def text_frame(payload: bytes) -> bytes:
    """A whole text message as it goes over the wire to a client (RFC 6455, 5.2: not masked, not compressed)."""
    size = len(payload)
    if size < 126:
        return b"%c%c%b" % (_TEXT, size, payload)
    if size < 1 << 16:
        return b"%c\x7e%b%b" % (_TEXT, size.to_bytes(2, "big"), payload)
    return b"%c\x7f%b%b" % (_TEXT, size.to_bytes(8, "big"), payload)


def payload_of(frame: bytes) -> bytes:
    """What ``text_frame`` was given."""
    return frame[2 + {0x7E: 2, 0x7F: 8}.get(frame[1], 0) :]


async def taken(wire: SocketWire, seconds: float) -> None:
    """Wait until the client takes what is written. Raises TimeoutError after so many seconds."""
    if not wire.is_drained:
        async with asyncio.timeout(seconds):
            await wire.drained()
