"""One WebSocket: whole JSON frames in and out, one at a time, and a close that is sent once."""

from __future__ import annotations

import asyncio
from typing import Any

from starlette.types import Receive, Send

from interlock.kit import strict_json

MAX_FRAME = 64 * 1024
"""Bytes of a frame from a client; larger ones are refused where they are read."""
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


class Socket:
    """A connection. Several tasks may send; each frame goes out whole."""

    def __init__(self, receive: Receive, send: Send) -> None:
        self._receive = receive
        self._send = send
        self._turn = asyncio.Lock()
        self._is_closed = False

    async def accept(self) -> None:
        """Take the handshake. Raises Closed."""
        if (await self._receive())["type"] != "websocket.connect":
            raise Closed
        await self._send({"type": "websocket.accept"})

    async def receive(self) -> dict[str, Any]:
        """The next frame of the client. Raises BadFrame (1007, 1009) for what is no JSON object, Closed."""
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

    async def send(self, frame: bytes) -> None:
        """Send one frame of JSON. Raises Closed, also when the client takes nothing for too long."""
        if self._is_closed:
            raise Closed
        try:
            async with asyncio.timeout(WRITE_SECONDS), self._turn:
                await self._send({"type": "websocket.send", "text": frame.decode()})
        except (TimeoutError, OSError, RuntimeError) as error:
            self._is_closed = True
            raise Closed from error

    async def close(self, code: int, reason: str) -> None:
        """End the connection, if nobody has yet."""
        if self._is_closed:
            return
        self._is_closed = True
        short = reason.encode()[:_MAX_REASON].decode(errors="ignore")
        try:
            async with asyncio.timeout(WRITE_SECONDS):
                await self._send({"type": "websocket.close", "code": code, "reason": short})
        except (TimeoutError, OSError, RuntimeError):
            return  # it was already gone
