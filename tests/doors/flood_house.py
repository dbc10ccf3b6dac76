"""A server whose callers are over their limits, and clients that write to its wire as they like."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Any

import httpx2
from uvicorn.server import ServerState

from doors.socket_house import served
from interlock.backends.limiter.memory import MemoryLimiter
from interlock.core.limits import LimitTable, Verdict, Window
from interlock.doors.http.plumbing.context import Context
from interlock.doors.http.plumbing.limits import Limits
from interlock.doors.http.plumbing.wire import protocol_over
from interlock.kit.clock import SystemClock
from interlock.services.limits import CountRequests

STARTS = {"app:POST /workflows/{id}/execute": "1/minute"}
START = "/api/app/workflows/01890000-0000-7000-8000-000000000000/execute"


class Moved(SystemClock):
    """The machine's clock, which the test moves on, and can stop."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds = 0.0
        self._stopped: float | None = None

    def stop(self) -> None:
        """From now on only the test moves it."""
        self._stopped = super().monotonic()

    def monotonic(self) -> float:
        return (super().monotonic() if self._stopped is None else self._stopped) + self.seconds

    def now(self) -> datetime:
        return super().now() + timedelta(seconds=self.seconds)


class Asked(MemoryLimiter):
    """Says how often it was asked."""

    times = 0

    async def take(self, caller: str, windows: Sequence[Window]) -> Verdict:
        self.times += 1
        return await super().take(caller, windows)


class Flood:
    """A served context with limits of its own, and clients of it."""

    def __init__(self, house: Any, changes: dict[str, str]) -> None:
        self.clock = Moved()
        self.limiter = Asked(self.clock)
        table = LimitTable(changes, is_local=True)
        limits = Limits(CountRequests(table, self.limiter), self.clock)
        self.context: Context = dataclasses.replace(house.context(), clock=self.clock, limits=limits)
        self._house = house
        self.url = ""

    def client(self, tenant: str, subject: str = "ann", **headers: str) -> httpx2.AsyncClient:
        token = self._house.identity.mint(subject, tenant)
        return httpx2.AsyncClient(base_url=self.url, headers={"authorization": f"Bearer {token}", **headers})

    async def asked_by(self, http: httpx2.AsyncClient) -> tuple[int, int]:
        """The status of an answer, and how often the limiter was asked for it."""
        before = self.limiter.times
        return (await http.get("/api/app/executions")).status_code, self.limiter.times - before


@asynccontextmanager
async def flooded(house: Any, **changes: str) -> AsyncIterator[Flood]:
    flood = Flood(house, changes)
    async with served(flood.context) as port:
        flood.url = f"http://127.0.0.1:{port.number}"
        yield flood


class Swallowing(asyncio.Transport):
    """A client that takes whatever is written, at once."""

    def __init__(self, answers: int) -> None:
        super().__init__({"peername": ("127.0.0.1", 4711), "sockname": ("127.0.0.1", 80)})
        self.written: list[bytes] = []
        self.has_all = asyncio.Event()
        self._missing = answers

    def expect(self, answers: int) -> None:
        """Wait for so many more."""
        self._missing = answers
        self.has_all.clear()

    def write(self, data: Any) -> None:
        self.written.append(bytes(data))
        self._missing -= data.startswith(b"HTTP/1.1 ")
        if not self._missing:
            self.has_all.set()

    def pause_reading(self) -> None:
        """It sends nothing more."""

    def resume_reading(self) -> None:
        """It sends nothing more."""

    def is_closing(self) -> bool:
        return False

    def close(self) -> None:
        """Nothing is left to do."""

    def abort(self) -> None:
        """Nothing is left to do."""


def request_bytes(http: httpx2.AsyncClient, body: bytes = b"{}", more: str = "") -> bytes:
    head = (
        f"POST {START} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: {http.headers['authorization']}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n{more}\r\n"
    )
    return head.encode() + body


class Wire:
    """One connection on which requests are written as they are; ``parsed`` counts those whose heads were read."""

    def __init__(self, flood: Flood, port: Any) -> None:
        self.parsed = 0
        wire = self

        class Counting(protocol_over(port.connections, flood.context.doorstep)):  # type: ignore[misc]
            def on_headers_complete(self) -> None:
                wire.parsed += 1
                super().on_headers_complete()

        self._client = Swallowing(0)
        self.protocol = Counting(config=port.server.config, server_state=ServerState(), app_state={})
        self.protocol.connection_made(self._client)

    async def ask(self, *parts: bytes) -> bytes:
        """The answer to a request that comes in these parts."""
        self._client.expect(1)
        self.send(*parts)
        async with asyncio.timeout(10):
            await self._client.has_all.wait()
        return self.written

    def send(self, *parts: bytes) -> None:
        """Have these parts read."""
        self._client.written.clear()
        for part in parts:
            self.protocol.data_received(part)

    @property
    def written(self) -> bytes:
        """What came back since."""
        return b"".join(self._client.written)

    async def at_rest(self) -> None:
        """The loop has gone round, so that a further request is taken up at once."""
        await asyncio.sleep(0)


@asynccontextmanager
async def wired(house: Any, tenant_id: str) -> AsyncIterator[tuple[Flood, httpx2.AsyncClient, Wire]]:
    """A caller who is over its limit, and a connection of its own."""
    async with flooded(house, **STARTS) as flood, flood.client(tenant_id) as http, served(flood.context) as port:
        wire = Wire(flood, port)
        flood.clock.stop()
        assert (await wire.ask(request_bytes(http)))[9:12] == b"404"
        for _ in range(2):  # the first is remembered, the second kept
            assert (await wire.ask(request_bytes(http)))[9:12] == b"429"
        yield flood, http, wire
        wire.protocol.connection_lost(None)
