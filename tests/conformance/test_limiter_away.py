"""Redis goes away and comes back: what was admitted meanwhile counts, and a process of its own holds to its share."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from redis.asyncio import Redis

from interlock.backends.limiter import redis as redis_module
from interlock.backends.limiter.redis import RedisLimiter
from interlock.backends.limiter.script import CHARGE
from interlock.backends.limiter.share import Share
from interlock.core.limits import LimitTable, Standing, Verdict, Window
from interlock.core.principal import Principal
from interlock.kit.clock import ManualClock
from interlock.services.limits import CountRequests
from limiter_house import FOUR, SOON, callers, running, until

START = datetime(2026, 11, 22, 12, 0, 0, 123_457, UTC)
HUNDRED = (Window("hour", 100, 3600),)


async def burst(limiters: list[RedisLimiter], caller: str, times: int) -> int:
    """How many of so many requests at once, by turns of the processes, are admitted."""
    verdicts = await asyncio.gather(*(limiters[i % len(limiters)].take(caller, HUNDRED) for i in range(times)))
    return sum(verdict.is_admitted for verdict in verdicts)


@pytest.fixture
async def two(new_valkey: Any) -> AsyncIterator[tuple[Any, list[RedisLimiter]]]:
    """A Valkey and the limiters of two processes."""
    server = new_valkey()
    async with AsyncExitStack() as stack:
        yield server, [await running(server.connection_url, stack, replicas=2) for _ in range(2)]


def are_connected(limiters: list[RedisLimiter]) -> bool:
    return all(limiter.state == "connected" for limiter in limiters)


async def test_a_redis_that_forgot_is_told_again(new_valkey: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(redis_module, "SETTLE_SECONDS", 0.2)
    server = new_valkey()
    async with AsyncExitStack() as stack:
        limiter = await running(server.connection_url, stack)
        client = Redis.from_url(server.connection_url)
        stack.push_async_callback(client.aclose)
        caller = next(callers)
        await limiter.take(caller, FOUR)
        await client.flushall()
        assert [(await limiter.take(caller, FOUR)).is_admitted for _ in range(9)].count(True) == 3
        await until(lambda: limiter.state == "connected")
        assert [found.used for found in await limiter.look(caller, FOUR)] == [4]
        await client.script_flush()
        assert not (await limiter.take(caller, FOUR)).is_admitted
        assert limiter.state == "connected"


async def test_who_stops_while_connecting_leaves_no_connection_behind(new_valkey: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(redis_module, "ANSWER_SECONDS", SOON)
    async with AsyncExitStack() as stack:
        url = new_valkey().connection_url
        client = Redis.from_url(url)
        stack.push_async_callback(client.aclose)
        await client.client_pause(60_000, all=False)  # scripts get no answer
        connecting = asyncio.create_task(running(url, stack))

        async def others() -> int:
            return sum(one["cmd"].startswith("eval") for one in await client.client_list())

        async with asyncio.timeout(SOON):
            while not await others():
                await asyncio.sleep(0.01)
            connecting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await connecting
            while await others():
                await asyncio.sleep(0.01)


async def test_a_busy_process_does_not_take_redis_for_lost(two: tuple[Any, list[RedisLimiter]]) -> None:
    _, limiters = two
    caller = next(callers)
    assert await burst(limiters[:1], caller, 90) == 90
    asking = asyncio.ensure_future(burst(limiters, caller, 80))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    time.sleep(0.4)  # the process is busy with something else, longer than Redis may take
    assert await asking == 10
    assert are_connected(limiters)


async def test_what_was_admitted_without_redis_counts_when_it_is_back(two: tuple[Any, list[RedisLimiter]]) -> None:
    server, limiters = two
    caller = next(callers)
    assert await burst(limiters, caller, 40) == 40
    server._process.send_signal(signal.SIGSTOP)
    try:
        meanwhile = await burst(limiters, caller, 50)
        assert 0 < meanwhile <= 50
    finally:
        server._process.send_signal(signal.SIGCONT)
    back = await burst(limiters, caller, 100)  # Redis is there, and has not heard of everything
    await until(lambda: are_connected(limiters))
    after = await burst(limiters, caller, 100)
    assert meanwhile + back + after <= 60
    assert (await limiters[0].look(caller, HUNDRED))[0].used >= 40 + meanwhile + back


async def test_a_redis_that_lost_its_memory_in_between_is_told_everything(
    new_valkey: Any, two: tuple[Any, list[RedisLimiter]]
) -> None:
    server, limiters = two
    caller = next(callers)
    assert await burst(limiters, caller, 40) == 40
    port = server.port
    server.terminate()
    meanwhile = await burst(limiters, caller, 20)
    new_valkey(port=port)
    await until(lambda: are_connected(limiters))
    assert meanwhile == 20
    assert await burst(limiters, caller, 100) == 40
    assert (await limiters[0].look(caller, HUNDRED))[0].used == 100


async def test_a_process_that_saw_a_full_window_keeps_it_full_without_redis(
    two: tuple[Any, list[RedisLimiter]],
) -> None:
    server, limiters = two
    caller = next(callers)
    assert await burst(limiters[:1], caller, 100) == 100
    assert await burst(limiters[1:], caller, 1) == 0
    server.terminate()
    assert await burst(limiters, caller, 100) == 0


async def test_a_long_outage_gives_each_process_its_share_and_no_more(two: tuple[Any, list[RedisLimiter]]) -> None:
    server, limiters = two
    caller = next(callers)
    server.terminate()
    assert await burst(limiters, caller, 300) == 100


async def test_charged_requests_count_from_when_they_came(valkey_url: str) -> None:
    async with AsyncExitStack() as stack:
        client = Redis.from_url(valkey_url)
        stack.push_async_callback(client.aclose)
        charge = client.register_script(CHARGE)
        key = next(callers)
        seconds = 10
        hold = seconds * 1_000_000
        told = [hold - 100_000, 1, 4_000_000, 2, 4_000_000, 1, 0, 3]
        assert await charge([key], [1, hold, *told]) == 7
        assert await charge([key], [1, hold, 2 * hold, 5, 6_000_000, 1]) == 8, "what no longer counts is left out"
        starts = [int(slice_.split(b":")[0]) for slice_ in (await client.lrange(key, 1, -1))]
        assert starts == sorted(starts)
        async with asyncio.timeout(SOON):
            while await charge([key], [1, hold]) == 8:
                await asyncio.sleep(0.02)
        assert await charge([key], [1, hold]) == 7
        assert 0 < await client.pttl(key) <= 10_000


async def test_many_keys_of_a_tenant_are_no_way_around_a_limit(two: tuple[Any, list[RedisLimiter]]) -> None:
    _, limiters = two
    processes = [CountRequests(LimitTable({"models:*": "20/minute"}), limiter) for limiter in limiters]
    plan = processes[0].plan("models", "POST", "/chat/completions", "/v1/chat/completions")
    assert plan is not None

    async def admitted(tenant_id: str, keys: int, times: int) -> int:
        people = [Principal("k", tenant_id, frozenset(), kind="key", key_id=UUID(int=n)) for n in range(keys)]
        asked = [processes[n % 2].take(plan, people[n % keys], "") for n in range(times)]
        return sum(taken is not None and taken.verdict.is_admitted for taken in await asyncio.gather(*asked))

    assert await admitted("first", 1, 50) == 20
    assert await admitted("second", 9, 180) == 40
    assert await admitted("first", 2, 80) == 20, "what one key has used is not used twice"


# What one process knows, against every request with its time ------------------------------------------------------

AWAY = st.lists(st.tuples(st.integers(0, 3_000_000), st.integers(0, 8)), max_size=20)


@given(before=st.integers(0, 12), others=st.integers(0, 12), replicas=st.integers(1, 4), steps=AWAY)
@settings(max_examples=150, deadline=None)
def test_a_share_never_admits_more_than_its_part_of_what_was_left(
    before: int, others: int, replicas: int, steps: list[tuple[int, int]]
) -> None:
    clock, window = ManualClock(START), Window("w", 12, 5)
    share = Share(clock)
    share.replicas = replicas
    used = min(12, before + others)
    for number in range(min(before, used)):
        verdict = Verdict(True, (Standing(window, used - min(before, used) + number + 1, 5.0),), 1)
        share.note("somebody", verdict, counts=True)
    known, mine, now, admitted = (used if before else 0), min(before, used), 0, []
    for pause, requests in steps:
        clock.advance(timedelta(microseconds=pause))
        now += pause
        for _ in range(requests):
            if share.take("somebody", (window,)).is_admitted:
                admitted.append(now)
        is_old = now >= 5_000_000
        left = 12 if is_old else 12 - known
        of_the_whole = max(1, 12 // replicas) - (0 if is_old else mine)
        allowed = max(0, min(of_the_whole, max(1, left // replicas) if left else 0))
        alive = sum(at + 5_000_000 > now for at in admitted)
        if admitted and admitted[-1] == now:
            assert alive <= allowed
        elif requests:
            assert alive >= allowed


def test_what_a_process_knows_is_bounded() -> None:
    share = Share(ManualClock(START), max_windows=100)
    for number in range(1000):
        share.take(f"visitor {number}", FOUR)
    assert len(share) == 100
    assert len(share.debts(everything=False)) == 100
