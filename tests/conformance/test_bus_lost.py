"""A bus that lost its connection, or never had one, finds it again, and everybody looks for themselves."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import asyncpg
import pytest
from structlog.testing import capture_logs

from bus_house import SOON, TENANT, new_id, start_bus
from interlock.backends.bus import postgres as postgres_module
from interlock.backends.bus import redis as redis_module
from interlock.backends.bus.postgres import PostgresBus
from interlock.backends.bus.redis import RedisBus
from interlock.kit.ids import RandomIds


@pytest.fixture
async def there(database: Any) -> AsyncIterator[PostgresBus]:
    """The bus of another process."""
    async with AsyncExitStack() as stack:
        yield await start_bus(stack, PostgresBus(lambda: asyncpg.connect(database.serve_url)))


async def cut(database: Any, bus: PostgresBus, made: list[Any]) -> None:
    """End the connection of a bus as the database's administrator would."""
    superuser = await asyncpg.connect(database.superuser_url)
    await superuser.execute("select pg_terminate_backend($1, 5000)", made[-1].get_server_pid())
    await superuser.close()


async def test_a_lost_connection_is_made_again(database, there, monkeypatch):
    monkeypatch.setattr(postgres_module, "FIRST_DELAY", 0.001)
    made: list[Any] = []

    async def connect() -> Any:
        made.append(await asyncpg.connect(database.serve_url))
        return made[-1]

    bus = PostgresBus(connect)
    await bus.start()
    bus.set_peers(True)
    for attempt in (1, 2, 3):
        execution_id = new_id()
        near, far = bus.follow(execution_id), there.follow(execution_id)
        await cut(database, bus, made)
        assert await near.wait(SOON), "after the pause everybody looks for itself"
        assert len(made) == attempt + 1
        bus.log_grew(execution_id, TENANT)
        assert await far.wait(SOON)
        there.log_grew(execution_id, TENANT)
        assert await near.wait(SOON)
    await bus.stop()


async def test_a_database_that_is_away_at_the_start_is_found_later(database, there, monkeypatch):
    monkeypatch.setattr(postgres_module, "FIRST_DELAY", 0.001)
    tries = 0

    async def connect() -> Any:
        nonlocal tries
        tries += 1
        if tries < 4:
            raise ConnectionRefusedError("not yet")
        return await asyncpg.connect(database.serve_url)

    bus = PostgresBus(connect)
    async with asyncio.timeout(SOON):
        await bus.start()
    follower = bus.follow(execution_id := new_id())
    assert await follower.wait(SOON), "it listens now"
    there.log_grew(execution_id, TENANT)
    assert await follower.wait(SOON)
    await bus.stop()


async def test_a_silent_connection_is_given_up(database, monkeypatch):
    monkeypatch.setattr(postgres_module, "FIRST_DELAY", 0.001)
    monkeypatch.setattr(postgres_module, "PING_SECONDS", 0.02)
    monkeypatch.setattr(postgres_module, "ANSWER_SECONDS", 0.02)
    made: list[Any] = []
    again = asyncio.Event()

    async def connect() -> Any:
        if made:
            again.set()
        made.append(await asyncpg.connect(database.serve_url))
        return made[-1]

    bus = PostgresBus(connect)
    await bus.start()
    transport = made[0]._transport
    transport.pause_reading()  # answers stop coming, as behind a dead link
    async with asyncio.timeout(SOON):
        await again.wait()
    await bus.stop()


async def test_a_bus_stops_whatever_it_is_doing(database):
    async def never() -> Any:
        await asyncio.Event().wait()

    busy = PostgresBus(never)
    starting = asyncio.create_task(busy.start())
    await asyncio.sleep(0)
    async with asyncio.timeout(SOON):
        await busy.stop()
        starting.cancel()
        await asyncio.gather(starting, return_exceptions=True)
    unstarted = PostgresBus(never)
    await unstarted.stop()


async def test_a_lost_redis_is_found_again_and_everybody_looks_for_themselves(new_valkey, monkeypatch):
    monkeypatch.setattr(redis_module, "FIRST_DELAY", 0.01)
    server = new_valkey()
    port = server.port
    async with AsyncExitStack() as stack:
        here = await start_bus(stack, RedisBus(server.connection_url, RandomIds()))
        there = await start_bus(stack, RedisBus(server.connection_url, RandomIds()))
        near, far = here.follow(one := new_id()), there.follow(one)
        server.terminate()
        here.log_grew(one, TENANT)
        assert await near.wait(0), "what happens here is heard without Redis"
        new_valkey(port=port)
        assert await near.wait(SOON), "after the pause everybody looks for itself"
        assert await far.wait(SOON)
        follower = there.follow(two := new_id())
        here.log_grew(two, TENANT)
        assert await follower.wait(SOON)


async def test_a_redis_that_is_away_at_the_start_delays_nothing(new_valkey, monkeypatch):
    monkeypatch.setattr(redis_module, "FIRST_DELAY", 0.01)
    server = new_valkey()
    port, url = server.port, server.connection_url
    server.terminate()
    async with AsyncExitStack() as stack:
        async with asyncio.timeout(SOON):
            bus = await start_bus(stack, RedisBus(url, RandomIds()))
        follower = bus.follow(new_id())
        new_valkey(port=port)
        assert await follower.wait(SOON), "it listens now"


async def test_a_redis_that_says_nothing_is_given_up(new_valkey, monkeypatch):
    for name, seconds in (("FIRST_DELAY", 0.01), ("PING_SECONDS", 0.05), ("ANSWER_SECONDS", 0.1)):
        monkeypatch.setattr(redis_module, name, seconds)
    server = new_valkey()
    async with AsyncExitStack() as stack:
        bus = await start_bus(stack, RedisBus(server.connection_url, RandomIds()))
        follower = bus.follow(new_id())
        server._process.send_signal(signal.SIGSTOP)
        with capture_logs() as lines:
            async with asyncio.timeout(SOON):
                while not any(line["event"] == "bus.connection_lost" for line in lines):
                    await asyncio.sleep(0.01)
        server._process.send_signal(signal.SIGCONT)
        assert await follower.wait(SOON), "it has connected again"
