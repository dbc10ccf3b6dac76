"""Connections to other servers: how they are shared, and how long they may take to be made."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager

import pytest
import uvloop

from interlock.backends.egress import client, pool
from interlock.backends.egress.client import GuardedEgress
from interlock.core.errors import ErrorKind, InterlockError
from interlock.ports.egress import ASKER, EgressResponse

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


class Gate:
    """A server that answers when it is told to; ``asked`` counts its calls, ``keys`` their Idempotency-Keys."""

    def __init__(self) -> None:
        self.url = ""
        self.asked = 0
        self.keys: list[bytes] = []
        self.opened = asyncio.Event()
        self._news = asyncio.Condition()
        self._handlers: list[asyncio.Future[None]] = []

    async def until_asked(self, times: int) -> None:
        async with self._news:
            await self._news.wait_for(lambda: self.asked >= times)

    def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._handlers.append(asyncio.ensure_future(self._serve(reader, writer)))

    async def close(self) -> None:
        for handler in self._handlers:
            handler.cancel()
        await asyncio.gather(*self._handlers, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                self.keys += [line[17:] for line in head.split(b"\r\n") if line.startswith(b"Idempotency-Key: ")]
                async with self._news:
                    self.asked += 1
                    self._news.notify_all()
                await self.opened.wait()
                writer.write(OK)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def gates(count: int) -> AsyncIterator[list[Gate]]:
    found, servers = [Gate() for _ in range(count)], []
    for gate in found:
        server = await asyncio.start_server(gate.connected, "127.0.0.1", 0)
        gate.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        servers.append(server)
    try:
        yield found
    finally:
        for server in servers:
            server.close()
        await asyncio.gather(*(gate.close() for gate in found))


async def call(egress: GuardedEgress, gate: Gate, asker: str = "", seconds: float = 10.0) -> EgressResponse:
    ASKER.set(asker)
    return await egress.request("GET", gate.url, headers={}, body=None, timeout=seconds, max_bytes=100)


def calls(egress: GuardedEgress, gate: Gate, count: int, asker: str = "") -> list[asyncio.Task[EgressResponse]]:
    return [asyncio.create_task(call(egress, gate, asker)) for _ in range(count)]


async def hang_up(tasks: list[asyncio.Task[EgressResponse]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_calls_that_come_together_each_take_the_place_of_a_connection_that_waits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pool, "MOST_OPEN", 8)
    egress = GuardedEgress(["loopback"])
    async with asyncio.timeout(5), gates(3) as (quick, tarpit, crowded):
        first = calls(egress, quick, 4)
        await quick.until_asked(4)
        quick.opened.set()
        await asyncio.gather(*first)
        hanging = calls(egress, tarpit, 4)
        await tarpit.until_asked(4)
        waiting = calls(egress, crowded, 4)
        await crowded.until_asked(4)
        crowded.opened.set()
        assert [answer.status for answer in await asyncio.gather(*waiting)] == [200] * 4
        await hang_up(hanging)
        await egress.close()


async def test_a_tenant_whose_servers_hang_leaves_room_for_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """J5."""
    monkeypatch.setattr(pool, "MOST_OPEN", 8)
    monkeypatch.setattr(client, "MOST_OF_ONE", 2)
    egress = GuardedEgress(["loopback"])
    async with asyncio.timeout(5), gates(2) as (tarpit, quick):
        quick.opened.set()
        hanging = calls(egress, tarpit, 20, "a")
        await tarpit.until_asked(2)
        for asker in ("b", "", "c"):
            assert (await asyncio.create_task(call(egress, quick, asker))).status == 200
        assert tarpit.asked == 2
        with pytest.raises(InterlockError, match=r"2 calls of this tenant") as refused:
            await asyncio.create_task(call(egress, quick, "a", 0.05))
        assert (refused.value.code, refused.value.details) == ("TIMEOUT", {"connected": False})
        await hang_up(hanging)
        assert (await asyncio.create_task(call(egress, quick, "a"))).status == 200, "its turns come back"
        await egress.close()


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def runner(request: pytest.FixtureRequest) -> Iterator[asyncio.Runner]:
    with asyncio.Runner(loop_factory=request.param) as runner:
        yield runner


def listening(scheme: str) -> Iterator[str]:
    """The address of a socket whose connections nobody accepts; the few that the system takes by itself are taken."""
    with socket.create_server(("127.0.0.1", 0), backlog=1) as server:
        port = server.getsockname()[1]
        taken = [socket.socket() for _ in range(4)] if scheme == "http" else []
        for one in taken:
            one.setblocking(False)
            one.connect_ex(("127.0.0.1", port))
        yield f"{scheme}://127.0.0.1:{port}/"
        for one in taken:
            one.close()


@pytest.fixture(params=["http", "https"])
def silent(request: pytest.FixtureRequest) -> Iterator[str]:
    """A server that takes no connection, or one that says nothing of TLS."""
    yield from listening(request.param)


async def whole(egress: GuardedEgress, url: str) -> None:
    await egress.request("GET", url, headers={}, body=None, timeout=60, max_bytes=100)


async def begun(egress: GuardedEgress, url: str) -> None:
    async with egress.open("POST", url, headers={}, body=b"", timeout=60, idle=60):
        raise AssertionError("nobody answers")


@pytest.mark.parametrize("ask", [whole, begun])
def test_a_server_that_cannot_be_reached_is_given_up_long_before_the_call(
    runner: asyncio.Runner, silent: str, ask: Callable[[GuardedEgress, str], Awaitable[None]]
) -> None:
    async def failure() -> InterlockError:
        egress = GuardedEgress(["loopback"], connect_seconds=0.1)
        try:
            async with asyncio.timeout(5):
                with pytest.raises(InterlockError) as failed:
                    await ask(egress, silent)
        finally:
            await egress.close()
        return failed.value

    error = runner.run(failure())
    assert (error.kind, error.code, error.retryable) == (ErrorKind.EXTERNAL, "EXTERNAL_SERVICE_ERROR", True)
    assert error.details["connected"] is False
    assert "within 0.1 seconds" in error.message


async def test_a_key_of_its_own_does_not_make_a_call_one_of_a_kind() -> None:
    egress = GuardedEgress(["loopback"])
    async with asyncio.timeout(5), gates(1) as (gate,):
        gate.opened.set()
        for key in (b"k1", b"k2", b"k3"):
            headers = {"Content-Type": "text/plain", "Idempotency-Key": key.decode()}
            async with egress.open("POST", gate.url, headers=headers, body=b"", timeout=5, idle=5) as answer:
                assert answer.status == 200
        assert gate.keys == [b"k1", b"k2", b"k3"]
        assert egress._prepared.cache_info().currsize == 1
        with pytest.raises(InterlockError):
            egress.open("POST", gate.url, headers={"Idempotency-Key": "a\r\nHost: b"}, body=b"", timeout=5, idle=5)
        await egress.close()
