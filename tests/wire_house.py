"""A server on a port of its own, and clients that misbehave."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import uvicorn

from interlock.doors.http.plumbing.connections import SWEEP_SECONDS, Connections, WireLimits
from interlock.doors.http.plumbing.sse import ABORT
from interlock.doors.http.plumbing.wire import protocol_over

LIMITS = WireLimits(
    first_byte=0.5, headers=1.0, body_grace=1.0, body_rate=1000, stalled=1.0, lingering=0.5, per_address=40
)
SLACK = 4 * SWEEP_SECONDS  # the machine may be busy
BIG = 8 * 1024 * 1024
GET = b"GET /x HTTP/1.1\r\nHost: h\r\n\r\n"


class App:
    """Answers what it saw; remembers every request that reached it."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, str]] = []
        self.cut = 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.seen.append((scope["method"], scope["path"]))
        assert callable(scope["extensions"][ABORT])
        if scope["path"] == "/stream":
            await self._stream(send)
            return
        body, more = b"", scope["path"] != "/unread"
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                self.cut += 1
                return
            body += message["body"]
            more = message["more_body"]
            if scope["path"] == "/late":
                await asyncio.sleep(2.5)
        names = sorted(name.decode() for name, _ in scope["headers"])
        told = b"x" * BIG if scope["path"] == "/big" else json.dumps({"length": len(body), "names": names}).encode()
        headers = [(b"content-length", b"%d" % len(told))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": told})

    async def _stream(self, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for _ in range(30):
            await send({"type": "http.response.body", "body": b"tick\n", "more_body": True})
            await asyncio.sleep(0.1)
        await send({"type": "http.response.body", "body": b"end\n"})


class Served:
    """A server on a port of its own."""

    def __init__(self, limits: WireLimits, exempt: Callable[[str], bool] = lambda address: False) -> None:
        self.app = App()
        self.clients: list[Client] = []
        self.connections = Connections(limits, exempt)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        protocol = protocol_over(self.connections)
        config = uvicorn.Config(self.app, http=protocol, ws="none", lifespan="off", log_config=None, access_log=False)
        self.server = uvicorn.Server(config)
        self.server.capture_signals = contextlib.nullcontext  # type: ignore[assignment, method-assign]

    async def connect(self, limit: int = 1 << 20) -> Client:
        client = Client(*await asyncio.open_connection("127.0.0.1", self.port, limit=limit))
        self.clients.append(client)
        return client


class Client:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self.began = time.monotonic()

    def send(self, data: bytes) -> None:
        self._writer.write(data)

    async def trickle(self, data: bytes, seconds: float = 0.2) -> bytes:
        """One byte after the other until the server has enough; what it says of that."""
        reading = asyncio.create_task(self.rest(20))
        with contextlib.suppress(ConnectionError):
            for number in range(len(data)):
                self._writer.write(data[number : number + 1])
                await self._writer.drain()
                await asyncio.wait([reading], timeout=seconds)
                if reading.done():
                    break
        return await reading

    async def rest(self, seconds: float = 10.0) -> bytes:
        """All that comes until the server closes the connection."""
        parts = b""
        with contextlib.suppress(ConnectionError):
            async with asyncio.timeout(seconds):
                while part := await self._reader.read(65536):
                    parts += part
        return parts

    async def answer(self) -> tuple[int, bytes]:
        """Status and body of one answer with a length."""
        head = await asyncio.wait_for(self._reader.readuntil(b"\r\n\r\n"), 10)
        length = next(int(line.split(b":")[1]) for line in head.lower().split(b"\r\n") if b"content-length" in line)
        return int(head.split()[1]), await asyncio.wait_for(self._reader.readexactly(length), 10)

    @property
    def lasted(self) -> float:
        return time.monotonic() - self.began

    def close(self) -> None:
        self._writer.close()

    async def leave(self) -> None:
        self.close()
        with contextlib.suppress(ConnectionError):
            await self._writer.wait_closed()


@pytest.fixture
async def serve() -> AsyncIterator[Callable[..., Any]]:
    """Starts servers; they are stopped at the end."""
    async with contextlib.AsyncExitStack() as stack:

        async def start(limits: WireLimits = LIMITS, **more: Any) -> Served:
            served = Served(limits, **more)
            running = asyncio.create_task(served.server.serve(sockets=[served.listener]))
            async with asyncio.timeout(10):
                while not served.server.started:
                    await asyncio.sleep(0.01)

            async def stop() -> None:
                for client in served.clients:
                    await client.leave()
                served.server.should_exit = served.server.force_exit = True
                await running
                served.listener.close()

            stack.push_async_callback(stop)
            return served

        yield start


@pytest.fixture
async def served(serve: Callable[..., Any]) -> Served:
    result: Served = await serve()
    return result
