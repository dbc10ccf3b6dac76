"""The client's side of a WebSocket (RFC 6455) without any input or output: bytes in, messages out, and the reverse."""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from interlock.client.errors import ConnectionLost

_GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_CLOSE, _PING, _PONG = 0x8, 0x9, 0xA
_MAX_MESSAGE = 64 * 1_048_576


@dataclass(frozen=True)
class Text:
    """A whole text message."""

    text: str


@dataclass(frozen=True)
class Ping:
    """The other side asks for ``answer`` to be sent."""

    answer: bytes


@dataclass(frozen=True)
class Closed:
    """The other side ends the connection."""

    code: int
    reason: str


class Handshake:
    """The request that turns a connection into a WebSocket, and the check of its answer."""

    def __init__(self, host: str, path: str, headers: Mapping[str, str]) -> None:
        self._key = base64.b64encode(os.urandom(16)).decode()
        lines = [
            f"GET {path} HTTP/1.1",
            f"Host: {host}",
            "Upgrade: websocket",
            "Connection: Upgrade",
            f"Sec-WebSocket-Key: {self._key}",
            "Sec-WebSocket-Version: 13",
            *(f"{name}: {value}" for name, value in headers.items()),
        ]
        self.request = ("\r\n".join(lines) + "\r\n\r\n").encode()

    def accepts(self, status: int, headers: Mapping[str, str]) -> bool:
        """Whether the answer opens the WebSocket that was asked for. Its headers have names in lower case."""
        expected = base64.b64encode(hashlib.sha1((self._key + _GUID).encode(), usedforsecurity=False).digest())
        return status == 101 and headers.get("sec-websocket-accept", "") == expected.decode()


class Reader:
    """Takes what arrives in pieces of any size, and gives the messages in it."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._message = bytearray()

    def feed(self, data: bytes) -> Iterator[Text | Ping | Closed]:
        """The messages that are whole now. Raises ConnectionLost for what is no WebSocket."""
        self._buffer += data
        while (frame := self._next()) is not None:
            is_last, kind, payload = frame
            if kind == _CLOSE:
                code = int.from_bytes(payload[:2], "big") if len(payload) >= 2 else 1005
                yield Closed(code, payload[2:].decode(errors="replace"))
                return
            if kind == _PING:
                yield Ping(framed(_PONG, payload))
            elif kind != _PONG:
                self._message += payload
                if len(self._message) > _MAX_MESSAGE:
                    raise ConnectionLost(f"The server sends a message of more than {_MAX_MESSAGE >> 20} MiB")
                if is_last:
                    text = bytes(self._message).decode(errors="replace")
                    self._message.clear()
                    yield Text(text)

    def _next(self) -> tuple[bool, int, bytes] | None:
        """The next frame: whether it ends its message, its kind, and its content."""
        buffer = self._buffer
        if len(buffer) < 2:
            return None
        first, second = buffer[0], buffer[1]
        if first & 0x70 or second & 0x80:
            raise ConnectionLost("The server does not speak WebSocket as it was agreed")
        length, start = second & 0x7F, 2
        if length >= 126:
            start += 2 if length == 126 else 8
            if len(buffer) < start:
                return None
            length = int.from_bytes(buffer[2:start], "big")
        if length > _MAX_MESSAGE:
            raise ConnectionLost(f"The server sends a frame of {length:,} bytes")
        if len(buffer) < start + length:
            return None
        payload = bytes(buffer[start : start + length])
        del buffer[: start + length]
        return bool(first & 0x80), first & 0x0F, payload


def framed(kind: int, payload: bytes) -> bytes:
    """A whole frame from this side, masked as clients must; control frames only, so of at most 125 bytes."""
    mask = os.urandom(4)
    masked = bytes(byte ^ mask[place % 4] for place, byte in enumerate(payload[:125]))
    return bytes((0x80 | kind, 0x80 | len(masked))) + mask + masked


def goodbye() -> bytes:
    """The frame by which this side leaves."""
    return framed(_CLOSE, (1000).to_bytes(2, "big"))
