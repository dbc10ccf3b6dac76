"""One WebSocket: whole JSON frames in and out, and a close that is sent once."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from starlette.types import Receive, Scope, Send

from interlock.doors.http.plumbing.socket_wire import MAX_FRAME, WIRE, SocketWire, payload_of, taken, text_frame
from interlock.kit import strict_json

WRITE_SECONDS = 15.0
"""A client that takes nothing for so long is cut off; it resumes by tick."""
_MAX_REASON = 120  # bytes, of the 123 that a close frame has room for


class Closed(Exception):
    """The connection is over."""


class BadFrame(Exception):
    """What a client sent cannot be read, or is too much; ``code`` is what the connection is closed with."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


class TooMany(BadFrame):
    """More frames than a client may send."""


class Socket:
    """A connection. Several tasks may send; each frame goes out whole.

    Over our own server frames are handed to the wire as they are; over any other one they go by ASGI.
    """

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._wire: SocketWire | None = scope.get("extensions", {}).get(WIRE)
        self._receive = receive
        self._send = send
        self._is_closed = False
        self._first: asyncio.Task[dict[str, Any]] | None = None
        self.was_dropped = False
        """Whether the client was cut off because it took nothing."""

    async def accept(self) -> None:
        """Take the handshake. Raises Closed."""
        if (await self._receive())["type"] != "websocket.connect":
            raise Closed
        await self._send({"type": "websocket.accept"})

    async def peek(self, seconds: float) -> dict[str, Any] | None:
        """The frame that ``receive`` will give next, if it comes in time. Raises as ``receive`` does.

        Whoever peeks calls ``forget`` at the end.
        """
        self._first = asyncio.create_task(self._receive_frame())
        done, _ = await asyncio.wait([self._first], timeout=seconds)
        return self._first.result() if done else None

    def forget(self) -> None:
        """Nobody wants the frame any more that was waited for."""
        first, self._first = self._first, None
        if first is not None and not first.cancel() and not first.cancelled():
            first.exception()  # looked at, so that nobody complains that nobody did

    async def receive(self) -> dict[str, Any]:
        """The next frame of the client. Raises BadFrame (1007, 1009) for what is no JSON object, Closed."""
        first, self._first = self._first, None
        return await (self._receive_frame() if first is None else first)

    async def _receive_frame(self) -> dict[str, Any]:
        message = await self._receive()
        if message["type"] == "websocket.disconnect":
            self._is_closed = True
            raise Closed
        text = message.get("text")
        body = message.get("bytes") or b"" if text is None else text.encode(errors="surrogatepass")
        if len(body) > MAX_FRAME:
            raise BadFrame(1009, f"a frame may have {MAX_FRAME} bytes")
        try:
            value = strict_json.decode(body, max_bytes=MAX_FRAME)
        except strict_json.StrictJsonError as error:
            raise BadFrame(1007, f"INVALID_JSON: {error.reason}") from error
        if not isinstance(value, dict):
            raise BadFrame(1007, "INVALID_JSON: a frame must be an object")
        return value

    async def send(self, payload: bytes) -> None:
        """Send one frame of JSON. Raises Closed, also when the client takes nothing for too long."""
        await self.send_frames([text_frame(payload)])

    async def send_frames(self, frames: Sequence[bytes]) -> None:
        """Send frames that ``text_frame`` made, together. Raises Closed as ``send`` does."""
        if self._is_closed:
            raise Closed
        try:
            if self._wire is not None:
                await taken(self._wire, WRITE_SECONDS)
                self._is_closed = self._is_closed or not self._wire.write(b"".join(frames))
            else:
                await self._send_each(frames)
        except (TimeoutError, OSError, RuntimeError) as error:
            self._drop(error)
            raise Closed from error
        if self._is_closed:
            raise Closed

    async def _send_each(self, frames: Sequence[bytes]) -> None:
        async with asyncio.timeout(WRITE_SECONDS):
            for frame in frames:
                await self._send({"type": "websocket.send", "text": payload_of(frame).decode()})

    def _drop(self, error: Exception) -> None:
        self._is_closed = True
        self.was_dropped = isinstance(error, TimeoutError)
        if self._wire is not None:
            self._wire.abort()

    async def close(self, code: int, reason: str) -> None:
        """End the connection, if nobody has yet."""
        if self._is_closed:
            return
        self._is_closed = True
        short = reason.encode()[:_MAX_REASON].decode(errors="ignore")
        try:
            async with asyncio.timeout(WRITE_SECONDS):
                await self._send({"type": "websocket.close", "code": code, "reason": short})
        except (TimeoutError, OSError, RuntimeError) as error:
            self._drop(error)  # it was already gone, or takes nothing
