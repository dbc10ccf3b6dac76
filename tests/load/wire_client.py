"""A watcher that costs next to nothing, so that a thousand fit beside the server: one socket, parsed by hand."""

from __future__ import annotations

import asyncio
import base64
import os
import re
import socket
import time
from collections.abc import Callable
from typing import cast
from urllib.parse import urlsplit

_TICK = re.compile(rb'"tick":(\d+)')
_CREATED = re.compile(rb'"created_at":([\d.]+)')

OnEvent = Callable[["WireClient", int, float], None]


class WireClient(asyncio.Protocol):
    """Counts the events of one session. ``on_event`` gets each tick and its age in seconds."""

    def __init__(self, url: str, token: str, on_event: OnEvent | None = None) -> None:
        self._url = urlsplit(url)
        self._token = token
        self._on_event = on_event
        self._buffer = b""
        self._transport: asyncio.Transport | None = None
        self.is_open = asyncio.Event()
        self.is_over = asyncio.Event()
        self.ticks: list[int] = []
        self.close_code: int | None = None
        self.close_reason = ""

    async def connect(self, receive_buffer: int = 0) -> WireClient:
        """Open the socket; the system takes in ``receive_buffer`` bytes beforehand, as many as it likes for 0."""
        loop, own = asyncio.get_running_loop(), socket.socket()
        if receive_buffer:
            own.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        own.setblocking(False)
        await loop.sock_connect(own, (self._url.hostname, self._url.port))
        await loop.create_connection(lambda: self, sock=own)
        async with asyncio.timeout(30):
            await self.is_open.wait()
        return self

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport = cast("asyncio.Transport", transport)
        key = base64.b64encode(os.urandom(16)).decode()
        query = f"?{self._url.query}" if self._url.query else ""
        transport.write(
            f"GET {self._url.path}{query} HTTP/1.1\r\nHost: {self._url.netloc}\r\nUpgrade: websocket\r\n"
            f"Connection: Upgrade\r\nSec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n"
            f"Authorization: Bearer {self._token}\r\n\r\n".encode()
        )

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_over.set()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if not self.is_open.is_set():
            head, end, rest = self._buffer.partition(b"\r\n\r\n")
            if not end:
                return
            assert b" 101 " in head, head
            self._buffer = rest
            self.is_open.set()
        now = time.time()
        while self._frame(now):
            pass

    def _frame(self, now: float) -> bool:
        buffer = self._buffer
        if len(buffer) < 2:
            return False
        size, begin = buffer[1], 2
        if size == 126:
            size, begin = int.from_bytes(buffer[2:4], "big"), 4
        elif size == 127:
            size, begin = int.from_bytes(buffer[2:10], "big"), 10
        if len(buffer) < begin + size or len(buffer) < begin:
            return False
        payload, self._buffer = buffer[begin : begin + size], buffer[begin + size :]
        self._take(buffer[0] & 0x0F, payload, now)
        return True

    def _take(self, opcode: int, payload: bytes, now: float) -> None:
        if opcode == 1:
            tick, created = _TICK.search(payload), _CREATED.search(payload)
            if tick is not None and created is not None:
                self.ticks.append(int(tick[1]))
                if self._on_event is not None:
                    self._on_event(self, self.ticks[-1], now - float(created[1]))
        elif opcode == 8:
            self.close_code, self.close_reason = int.from_bytes(payload[:2], "big"), payload[2:].decode()
            self.leave()
        elif opcode == 9:
            assert self._transport is not None
            mask = os.urandom(4)
            body = bytes(byte ^ mask[place % 4] for place, byte in enumerate(payload))
            self._transport.write(bytes([0x8A, 0x80 | len(payload)]) + mask + body)

    def leave(self) -> None:
        """Close the connection."""
        if self._transport is not None:
            self._transport.close()

    def stop_reading(self) -> None:
        """Take nothing any more."""
        assert self._transport is not None
        self._transport.pause_reading()
