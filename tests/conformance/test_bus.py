"""Every bus wakes who follows; those of Postgres and Redis also across processes, and through lost connections."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import asyncpg
import pytest
from redis.asyncio import Redis

from bus_house import SOON, TENANT, new_id, start_bus
from interlock.backends.bus import redis as redis_module
from interlock.backends.bus.hints import LOOK, MAX_BYTES, LogGrew, pack, unpack
from interlock.backends.bus.memory import MemoryBus, topic_of
from interlock.backends.bus.postgres import CHANNEL, PostgresBus
from interlock.backends.bus.redis import RedisBus
from interlock.kit.ids import RandomIds

NEVER = 0.05  # long enough for a hint that should not come

SharedBus = PostgresBus | RedisBus
Bus = MemoryBus | SharedBus


@pytest.fixture(params=["postgres", "redis"])
def wire(request) -> str:
    """What processes tell each other hints through."""
    return request.param


@pytest.fixture
async def running_postgres(database) -> AsyncIterator[Callable[[], Awaitable[PostgresBus]]]:
    """Starts buses of several processes over one database."""
    async with AsyncExitStack() as stack:
        yield lambda: start_bus(stack, PostgresBus(lambda: asyncpg.connect(database.serve_url)))


@pytest.fixture
async def running_redis(valkey_url) -> AsyncIterator[Callable[[], Awaitable[RedisBus]]]:
    """Starts buses of several processes over one Redis."""
    async with AsyncExitStack() as stack:
        yield lambda: start_bus(stack, RedisBus(valkey_url, RandomIds()))


@pytest.fixture
def running(wire, request) -> Callable[[], Awaitable[SharedBus]]:
    """Starts buses of several processes."""
    return request.getfixturevalue(f"running_{wire}")


@pytest.fixture(params=["memory", "postgres", "postgres alone", "redis", "redis alone"])
def start_any(request) -> Callable[[], Awaitable[Bus]]:
    """Starts a bus of any kind, with peers or without."""
    wire, _, alone = request.param.partition(" ")
    start = request.getfixturevalue(f"running_{wire}")

    async def start_with_peers() -> Bus:
        bus: Bus = await start()
        bus.set_peers(not alone)
        return bus

    return start_with_peers


@pytest.fixture
async def running_memory() -> AsyncIterator[Callable[[], Awaitable[MemoryBus]]]:
    """Starts a bus of one process."""
    async with AsyncExitStack() as stack:
        yield lambda: start_bus(stack, MemoryBus())


@pytest.fixture
async def bus(start_any) -> Bus:
    return await start_any()


class Listener:
    """Another session that hears what is sent."""

    def __init__(self, say: Callable[[str], Awaitable[Any]]) -> None:
        self.texts: list[str] = []
        self.heard = asyncio.Event()
        self.say = say

    def hear(self, text: str) -> None:
        if text != LOOK:
            self.texts.append(text)
            self.heard.set()


@pytest.fixture
def listener(wire, request) -> Listener:
    return request.getfixturevalue(f"{wire}_listener")


@pytest.fixture
async def postgres_listener(database) -> AsyncIterator[Listener]:
    connection = await asyncpg.connect(database.serve_url)
    listener = Listener(lambda text: connection.execute("select pg_notify($1, $2)", CHANNEL, text))
    await connection.add_listener(CHANNEL, lambda _, __, ___, text: listener.hear(text))
    yield listener
    await connection.close()


@pytest.fixture
async def redis_listener(valkey_url) -> AsyncIterator[Listener]:
    redis = Redis.from_url(valkey_url, decode_responses=True)
    heard = redis.pubsub(ignore_subscribe_messages=True)
    await heard.subscribe(redis_module.CHANNEL)
    listener = Listener(lambda text: redis.publish(redis_module.CHANNEL, f"somebody {text}"))

    async def listen() -> None:
        async for message in heard.listen():
            listener.hear(message["data"].partition(" ")[2])

    listening = asyncio.create_task(listen())
    yield listener
    listening.cancel()
    await asyncio.gather(listening, return_exceptions=True)
    await heard.aclose()
    await redis.aclose()


# Every bus ------------------------------------------------------------------------------------------------------


async def test_a_follower_is_woken_by_its_execution_only(bus):
    mine, other = new_id(), new_id()
    follower = bus.follow(mine)
    bus.log_grew(other, TENANT)
    assert not await follower.wait(NEVER)
    waiting = asyncio.create_task(follower.wait(SOON))
    await asyncio.sleep(0)
    bus.log_grew(mine, TENANT)
    assert await waiting
    assert not await follower.wait(0)
    follower.close()


async def test_a_local_hint_needs_no_turn_of_the_loop(bus):
    execution_id = new_id()
    follower = bus.follow(execution_id)
    bus.log_grew(execution_id, TENANT)
    assert await follower.wait(0)


async def test_hints_between_two_waits_are_one(bus):
    execution_id = new_id()
    follower = bus.follow(execution_id)
    for _ in range(5):
        bus.log_grew(execution_id, TENANT)
    assert await follower.wait(SOON)
    assert not await follower.wait(NEVER)


async def test_every_follower_is_woken(bus):
    execution_id = new_id()
    followers = [bus.follow(execution_id) for _ in range(20)]
    waiting = [asyncio.create_task(follower.wait(SOON)) for follower in followers]
    await asyncio.sleep(0)
    bus.log_grew(execution_id, TENANT)
    assert all(await asyncio.gather(*waiting))


async def test_a_closed_follower_is_let_go_and_forgotten(bus):
    execution_id = new_id()
    stays, goes = bus.follow(execution_id), bus.follow(execution_id)
    waiting = asyncio.create_task(goes.wait(SOON))
    await asyncio.sleep(0)
    goes.close()
    goes.close()
    assert not await waiting
    bus.log_grew(execution_id, TENANT)
    assert not await goes.wait(0)
    assert await stays.wait(0)
    stays.close()
    local = bus if isinstance(bus, MemoryBus) else bus._local
    assert execution_id not in local._followers


async def test_a_cancelled_wait_loses_no_hint(bus):
    execution_id = new_id()
    follower = bus.follow(execution_id)
    waiting = asyncio.create_task(follower.wait(SOON))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    bus.log_grew(execution_id, TENANT)
    assert await follower.wait(0)


async def test_what_was_committed_here_comes_along_with_its_hint(bus):
    execution_id, other = new_id(), new_id()
    rows = [(execution_id, seq, "x", "{}", None, datetime.now(UTC), "t") for seq in (1, 2, 3)]
    follower = bus.follow(execution_id)
    bus.log_grew(other, TENANT, rows)
    bus.log_grew(execution_id, TENANT, rows[:2])
    bus.log_grew(execution_id, TENANT, rows[2:])
    assert await follower.wait(SOON)
    assert follower.given() == rows
    bus.log_grew(execution_id, TENANT, rows)
    bus.log_grew(execution_id, TENANT)
    assert follower.given() is None, "of what came without its events nobody knows how much it is"
    assert follower.given() == []


async def test_who_follows_a_tenant_hears_of_all_its_executions_and_of_no_other(bus):
    hinted = asyncio.Event()
    follower = bus.follow_tenant(TENANT, hinted.set)
    one, two = new_id(), new_id()
    bus.log_grew(new_id(), "another tenant")
    assert not hinted.is_set()
    bus.log_grew(one, TENANT)
    bus.log_grew(two, TENANT)
    bus.log_grew(one, TENANT)
    assert hinted.is_set()
    assert follower.take() == {one, two}
    assert follower.take() == set()
    follower.close()
    follower.close()
    bus.log_grew(one, TENANT)
    assert follower.take() == set()


async def test_everybody_who_asked_hears_of_inboxes(bus):
    heard: list[tuple[str, UUID, int | None]] = []
    bus.on_inbox(lambda execution_id, owner: heard.append(("a", execution_id, owner)))
    bus.on_inbox(lambda execution_id, owner: heard.append(("b", execution_id, owner)))
    one, two = new_id(), new_id()
    bus.inbox_grew(one, 7)
    bus.inbox_grew(two, None)
    assert heard == [("a", one, 7), ("b", one, 7), ("a", two, None), ("b", two, None)]


async def test_stopping_lets_everybody_go():
    bus = MemoryBus()
    waiting = asyncio.create_task(bus.follow(new_id()).wait(SOON))
    await asyncio.sleep(0)
    await bus.stop()
    assert not await waiting


# Between processes ----------------------------------------------------------------------------------------------


async def test_another_process_is_woken(running):
    here, there = await running(), await running()
    execution_id = new_id()
    follower = there.follow(execution_id)
    here.log_grew(execution_id, TENANT)
    assert await follower.wait(SOON)


async def test_a_tenant_is_followed_across_processes(running):
    here, there = await running(), await running()
    hinted = asyncio.Event()
    follower = there.follow_tenant(TENANT, hinted.set)
    here.log_grew(new_id(), "another tenant")
    here.log_grew(execution_id := new_id(), TENANT)
    async with asyncio.timeout(SOON):
        await hinted.wait()
    assert follower.take() == {execution_id}


async def test_who_gets_a_peer_asks_it_to_look(running):
    here, there = await running(), await running()
    follower = there.follow(new_id())
    here.set_peers(False)
    here.set_peers(True)
    assert await follower.wait(SOON)


async def test_another_process_hears_of_inboxes_with_their_owner(running):
    here, there = await running(), await running()
    heard: asyncio.Queue[tuple[UUID, int | None]] = asyncio.Queue()
    there.on_inbox(lambda execution_id, owner: heard.put_nowait((execution_id, owner)))
    said = {(new_id(), 7), (new_id(), None), (new_id(), 2**62)}
    for execution_id, owner in said:
        here.inbox_grew(execution_id, owner)
    async with asyncio.timeout(SOON):
        assert {await heard.get() for _ in range(3)} == said


async def test_a_process_does_not_hear_itself_from_outside(running, listener):
    here = await running()
    heard: list[UUID] = []
    here.on_inbox(lambda execution_id, owner: heard.append(execution_id))
    here.inbox_grew(new_id(), 1)
    async with asyncio.timeout(SOON):
        await listener.heard.wait()
    there = await running()
    follower = here.follow(execution_id := new_id())
    there.log_grew(execution_id, TENANT)  # comes after whatever else came
    assert await follower.wait(SOON)
    assert len(heard) == 1


async def test_many_hints_leave_together(running, listener):
    here, there = await running(), await running()
    executions = [new_id() for _ in range(1_000)]
    follower = there.follow(executions[-1])
    tasks = len(asyncio.all_tasks())
    for _ in range(20):
        for execution_id in executions:
            here.log_grew(execution_id, TENANT)
    assert len(asyncio.all_tasks()) == tasks, "a hint costs no task"
    assert await follower.wait(SOON)
    async with asyncio.timeout(SOON):
        while sum(len(unpack(text)) for text in listener.texts) < len(executions):
            listener.heard.clear()
            await listener.heard.wait()
    said = [hint for text in listener.texts for hint in unpack(text)]
    assert sorted(said) == sorted(LogGrew(execution_id, topic_of(TENANT)) for execution_id in executions)
    assert len(listener.texts) == 3
    assert all(len(text.encode()) <= MAX_BYTES for text in listener.texts)


async def test_nothing_is_sent_while_there_are_no_peers(running, listener):
    here, there = await running(), await running()
    here.log_grew(new_id(), TENANT)
    here.set_peers(False)
    here.log_grew(new_id(), TENANT)
    here.inbox_grew(new_id(), 1)
    follower = there.follow(execution_id := new_id())
    assert not await follower.wait(NEVER)
    assert listener.texts == []
    here.set_peers(True)
    here.log_grew(execution_id, TENANT)
    assert await follower.wait(SOON)
    async with asyncio.timeout(SOON):
        await listener.heard.wait()
    assert [unpack(text) for text in listener.texts] == [[LogGrew(execution_id, topic_of(TENANT))]]


async def test_hints_that_cannot_be_read_hurt_nobody(running, listener):
    here = await running()
    follower = here.follow(execution_id := new_id())
    letters = "A" * 22
    for text in (
        "",
        "1;x",
        "3",
        "2;short",
        "2;" + "!" * 22,
        "2;é",
        f"2;{letters}:x",
        f"2;{letters}",
        "[]",
        "2;;",
        "2;=",
    ):
        await listener.say(text)
    (text,) = pack([LogGrew(execution_id, topic_of(TENANT))], [])
    await listener.say(text)
    assert await follower.wait(SOON)
