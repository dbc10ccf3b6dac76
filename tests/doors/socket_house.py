"""The whole server of the door tests on a port of its own, for clients that need a real connection."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import uvicorn
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from interlock.doors.http.app_factory import build_app
from interlock.doors.http.plumbing.connections import Connections, WireLimits
from interlock.doors.http.plumbing.context import Context
from interlock.doors.http.plumbing.socket_wire import MAX_FRAME, SocketWire
from interlock.doors.http.plumbing.wire import protocol_over

SOON = 10.0  # a deadline, reached only when something is wrong


class Port:
    """A served context."""

    def __init__(self, context: Context) -> None:
        self.context = context
        self.connections = Connections(WireLimits(lingering=0.2))
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 32 * 1024)  # so that it is full soon
        self.number = self.listener.getsockname()[1]
        config = uvicorn.Config(
            build_app(context, lambda: b""),
            http=protocol_over(self.connections, context.doorstep),
            ws=SocketWire,
            ws_max_size=MAX_FRAME,
            ws_per_message_deflate=False,
            lifespan="off",
            log_config=None,
            access_log=False,
        )
        self.server = uvicorn.Server(config)
        self.server.capture_signals = contextlib.nullcontext  # type: ignore[assignment, method-assign]

    def socket(self, session_id: str, query: str = "", token: str = "", **options: Any) -> connect:
        """A connection of an ordinary client."""
        if token:
            options["additional_headers"] = {"authorization": f"Bearer {token}"}
        return connect(f"ws://127.0.0.1:{self.number}/ws/events/{session_id}{query}", **options)

    async def raw(self, session_id: str, query: str = "", *headers: str) -> RawSocket:
        """A connection of a client that keeps to nothing."""
        own = socket.socket()
        own.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        own.setblocking(False)
        await asyncio.get_running_loop().sock_connect(own, ("127.0.0.1", self.number))
        reader, writer = await asyncio.open_connection(sock=own)
        lines = [
            f"GET /ws/events/{session_id}{query} HTTP/1.1",
            "Host: 127.0.0.1",
            "Upgrade: websocket",
            "Connection: Upgrade",
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
            "Sec-WebSocket-Version: 13",
            *headers,
        ]
        writer.write("\r\n".join(lines).encode() + b"\r\n\r\n")
        async with asyncio.timeout(SOON):
            head = await reader.readuntil(b"\r\n\r\n")
        return RawSocket(reader, writer, head)


class RawSocket:
    """Writes whatever bytes it is told to."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, head: bytes) -> None:
        self._reader, self.writer, self.head = reader, writer, head

    async def write(self, *parts: bytes) -> None:
        """Write as long as somebody takes it."""
        with contextlib.suppress(ConnectionError):
            for part in parts:
                self.writer.write(part)
                await self.writer.drain()

    async def close_code(self) -> int | None:
        """What the server closes with; None if it just ends."""
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            async with asyncio.timeout(SOON):
                while True:
                    first, size = await self._reader.readexactly(2)
                    if size == 126:
                        size = int.from_bytes(await self._reader.readexactly(2), "big")
                    elif size == 127:
                        size = int.from_bytes(await self._reader.readexactly(8), "big")
                    payload = await self._reader.readexactly(size)
                    if first & 0x0F == 8:
                        return int.from_bytes(payload[:2], "big")
        return None

    async def close(self) -> None:
        """Leave."""
        self.writer.close()
        with contextlib.suppress(ConnectionError):
            await self.writer.wait_closed()


def client_frame(opcode: int, payload: bytes = b"", *, fin: bool = True, rsv: int = 0, masked: bool = True) -> bytes:
    """One frame of a client; the mask is zero, so that the payload stands as it is."""
    size = len(payload)
    first = bytes([(0x80 if fin else 0) | rsv << 4 | opcode])
    mask = 0x80 if masked else 0
    if size < 126:
        head = first + bytes([mask | size])
    elif size < 1 << 16:
        head = first + bytes([mask | 126]) + size.to_bytes(2, "big")
    else:
        head = first + bytes([mask | 127]) + size.to_bytes(8, "big")
    return head + (bytes(4) if masked else b"") + payload


@asynccontextmanager
async def served(context: Context) -> AsyncIterator[Port]:
    """Serve a context while the block runs."""
    port = Port(context)
    task = asyncio.create_task(port.server.serve(sockets=[port.listener]))
    try:
        yield port
    finally:
        port.server.should_exit = True
        await task
        port.listener.close()


async def frame(connection: ClientConnection) -> Any:
    """The next frame."""
    async with asyncio.timeout(SOON):
        return json.loads(await connection.recv())


async def closed(connection: ClientConnection) -> tuple[int | None, str]:
    """Code and reason of the close that comes, whatever comes before it."""
    with contextlib.suppress(ConnectionClosed):
        while True:
            await frame(connection)
    return connection.close_code, connection.close_reason or ""


async def eventually(holds: Any) -> None:
    """Wait until ``holds`` answers true."""
    async with asyncio.timeout(SOON):
        while not holds():
            await asyncio.sleep(0.01)
