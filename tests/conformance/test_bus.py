"""Every bus wakes who follows; those of Postgres and Redis also across processes, and through lost connections."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import asyncpg
import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis.asyncio import Redis
from structlog.testing import capture_logs

from interlock.backends.bus import postgres as postgres_module
from interlock.backends.bus import redis as redis_module
from interlock.backends.bus.hints import LOOK, MAX_BYTES, InboxGrew, LogGrew, pack, unpack
from interlock.backends.bus.memory import MemoryBus, topic_of
from interlock.backends.bus.postgres import CHANNEL, PostgresBus
from interlock.backends.bus.redis import RedisBus
from interlock.kit.ids import RandomIds

TENANT = "a tenant"
SOON = 5.0  # a deadline, reached only when something is wrong
NEVER = 0.05  # long enough for a hint that should not come

SharedBus = PostgresBus | RedisBus
Bus = MemoryBus | SharedBus


def new_id() -> UUID:
    return RandomIds().new()


@pytest.fixture(params=["postgres", "redis"])
def wire(request) -> str:
    """What processes tell each other hints through."""
    return request.param


async def start_bus(stack: AsyncExitStack, bus: Any) -> Any:
    """A bus that believes it has peers, stopped with ``stack``."""
    await bus.start()
    stack.push_async_callback(bus.stop)
    bus.set_peers(True)
    if not isinstance(bus, MemoryBus):
        bus._outbox.forget()  # nobody needs to look: nothing was missed yet
    return bus


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


# A lost connection ----------------------------------------------------------------------------------------------


async def cut(database: Any, bus: PostgresBus, made: list[Any]) -> None:
    """End the connection of a bus as the database's administrator would."""
    superuser = await asyncpg.connect(database.superuser_url)
    await superuser.execute("select pg_terminate_backend($1, 5000)", made[-1].get_server_pid())
    await superuser.close()


async def test_a_lost_connection_is_made_again(database, running_postgres, monkeypatch):
    monkeypatch.setattr(postgres_module, "FIRST_DELAY", 0.001)
    made: list[Any] = []

    async def connect() -> Any:
        made.append(await asyncpg.connect(database.serve_url))
        return made[-1]

    there = await running_postgres()
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


async def test_a_database_that_is_away_at_the_start_is_found_later(database, running_postgres, monkeypatch):
    monkeypatch.setattr(postgres_module, "FIRST_DELAY", 0.001)
    there = await running_postgres()
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


# The form of hints ----------------------------------------------------------------------------------------------

IDS = st.uuids()


LOGS = st.lists(st.builds(LogGrew, IDS, st.sampled_from([topic_of(name) for name in "abc"])), max_size=800)
INBOXES = st.lists(st.builds(InboxGrew, IDS, st.none() | st.integers(0, 2**63 - 1)), max_size=600)


@given(LOGS, INBOXES)
def test_packed_hints_come_back_by_tenant_and_fit(logs, inboxes):
    texts = list(pack(logs, inboxes))
    assert all(len(text.encode()) <= MAX_BYTES for text in texts)
    topics = list(dict.fromkeys(topic for _, topic in logs))
    ordered = sorted(logs, key=lambda hint: topics.index(hint.topic))
    assert [hint for text in texts for hint in unpack(text)] == [*ordered, *inboxes]
    assert len(texts) <= 1 + (23 * (len(logs) + 4) + 43 * len(inboxes)) // (MAX_BYTES - 70)


def test_a_text_without_hints_asks_to_look():
    assert unpack(LOOK) == []


@given(st.text(max_size=100) | st.text("2;:AZaz09-_=", max_size=60))
def test_any_text_is_read_or_refused(text):
    try:
        hints = unpack(text)
    except ValueError:
        return
    assert all(isinstance(hint, UUID | tuple) for hint in hints)
