"""Every limiter counts exactly; the one over Redis also across processes, and never without a bound when Redis is away.

Time goes on by itself in Redis: there it is moved by a Lua clock of the test's own, so that hours pass at once.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis.asyncio import Redis

from interlock.backends.limiter import redis as redis_module
from interlock.backends.limiter.memory import MemoryLimiter
from interlock.backends.limiter.pipe import Script
from interlock.backends.limiter.redis import RedisLimiter
from interlock.backends.limiter.script import TAKE
from interlock.core.limits import Strategy, Window
from interlock.core.sliding_window import MAX_SLICES, shape
from interlock.kit.clock import ManualClock, SystemClock
from limiter_house import FOUR, callers, running, until

START = datetime(2026, 11, 22, 12, 0, 0, 123_457, UTC)
TWO_WINDOWS = (Window("minute", 3, 60), Window("hour", 5, 3600))


class Timed:
    """A limiter and the only clock it knows."""

    def __init__(self, limiter: Any, advance: Callable[[float], Awaitable[None]]) -> None:
        self.limiter = limiter
        self.advance = advance

    async def admitted(self, caller: str, windows: tuple[Window, ...], times: int = 1) -> int:
        """How many of so many requests at once are admitted."""
        verdicts = [await self.limiter.take(caller, windows) for _ in range(times)]
        return sum(verdict.is_admitted for verdict in verdicts)


async def one() -> int:
    return 1


MOVED_CLOCK = """
local shift = tonumber(redis.call('GET', 'test:shift') or '0')
local now = time[1] * 0 + 1800000000123457 + shift
"""


async def over_redis(url: str, stack: AsyncExitStack, strategy: Strategy = "sliding_window") -> Timed:
    limiter = RedisLimiter(url, SystemClock(), one, strategy)
    plain = "local now = time[1] * 1000000 + time[2]\n"
    assert plain in TAKE
    limiter._take_script = Script(TAKE.replace(plain, MOVED_CLOCK))
    client = Redis.from_url(url)
    stack.push_async_callback(client.aclose)
    await client.set("test:shift", 0)
    await limiter.start()
    stack.push_async_callback(limiter.stop)

    async def advance(seconds: float) -> None:
        await client.incrby("test:shift", round(seconds * 1e6))

    return Timed(limiter, advance)


async def in_memory(strategy: Strategy = "sliding_window") -> Timed:
    clock = ManualClock(START)
    clock.advance(timedelta(days=3, microseconds=123_457))

    async def advance(seconds: float) -> None:
        clock.advance(timedelta(microseconds=round(seconds * 1e6)))

    return Timed(MemoryLimiter(clock, strategy), advance)


@pytest.fixture(params=["memory", "redis"])
async def timed(request: Any) -> AsyncIterator[Timed]:
    async with AsyncExitStack() as stack:
        if request.param == "memory":
            yield await in_memory()
        else:
            yield await over_redis(request.getfixturevalue("valkey_url"), stack)


@pytest.fixture(params=["memory", "redis"])
async def fixed(request: Any) -> AsyncIterator[Timed]:
    async with AsyncExitStack() as stack:
        if request.param == "memory":
            yield await in_memory("fixed_window")
        else:
            yield await over_redis(request.getfixturevalue("valkey_url"), stack, "fixed_window")


# Every limiter --------------------------------------------------------------------------------------------------


async def test_two_hundred_requests_in_a_second_count_two_hundred(timed: Timed) -> None:
    window = (Window("hour", 200, 3600),)
    caller = next(callers)
    assert await timed.admitted(caller, window, 200) == 200
    assert await timed.admitted(caller, window, 50) == 0
    (standing,) = await timed.limiter.look(caller, window)
    assert (standing.used, standing.remaining) == (200, 0)


async def test_requests_at_the_same_time_are_all_counted(timed: Timed) -> None:
    caller = next(callers)
    window = (Window("hour", 20, 3600),)
    verdicts = await asyncio.gather(*(timed.limiter.take(caller, window) for _ in range(60)))
    assert sum(verdict.is_admitted for verdict in verdicts) == 20


async def test_a_request_counts_for_exactly_the_window(timed: Timed) -> None:
    caller = next(callers)
    assert await timed.admitted(caller, FOUR, 1) == 1
    await timed.advance(4)
    assert await timed.admitted(caller, FOUR, 4) == 3
    await timed.advance(5.999_999)
    assert await timed.admitted(caller, FOUR, 1) == 0
    await timed.advance(0.000_001)
    assert await timed.admitted(caller, FOUR, 2) == 1
    await timed.advance(4)
    assert await timed.admitted(caller, FOUR, 4) == 3


async def test_refused_requests_do_not_count(timed: Timed) -> None:
    caller = next(callers)
    await timed.admitted(caller, FOUR, 100)
    for _ in range(9):
        await timed.advance(1)
        assert await timed.admitted(caller, FOUR, 10) == 0
    await timed.advance(1)
    assert await timed.admitted(caller, FOUR, 10) == 4


async def test_who_waits_as_told_is_admitted(timed: Timed) -> None:
    caller = next(callers)
    await timed.admitted(caller, TWO_WINDOWS, 3)
    for wait in (60, 3540):
        refused = await timed.limiter.take(caller, TWO_WINDOWS)
        assert not refused.is_admitted
        assert refused.tightest.reset_after == pytest.approx(wait)
        await timed.advance(refused.tightest.reset_after)
        await timed.admitted(caller, TWO_WINDOWS, 2)


async def test_a_full_window_leaves_the_others_uncounted(timed: Timed) -> None:
    caller = next(callers)
    assert await timed.admitted(caller, TWO_WINDOWS, 10) == 3
    used = [standing.used for standing in await timed.limiter.look(caller, TWO_WINDOWS)]
    assert used == [3, 3]
    await timed.advance(60)
    assert await timed.admitted(caller, TWO_WINDOWS, 10) == 2
    used = [standing.used for standing in await timed.limiter.look(caller, TWO_WINDOWS)]
    assert used == [2, 5]


async def test_callers_do_not_share_a_window_and_looking_counts_nothing(timed: Timed) -> None:
    first, second = next(callers), next(callers)
    assert await timed.admitted(first, FOUR, 9) == 4
    assert [s.used for s in await timed.limiter.look(second, FOUR)] == [0]
    assert await timed.admitted(second, FOUR, 9) == 4


async def test_what_is_given_back_is_free_again(timed: Timed) -> None:
    caller = next(callers)
    verdicts = [await timed.limiter.take(caller, TWO_WINDOWS) for _ in range(3)]
    await timed.advance(1)
    await timed.limiter.give_back(caller, verdicts[1])
    assert [s.used for s in await timed.limiter.look(caller, TWO_WINDOWS)] == [2, 2]
    assert await timed.admitted(caller, TWO_WINDOWS, 5) == 1
    await timed.advance(59)
    assert [s.used for s in await timed.limiter.look(caller, TWO_WINDOWS)] == [1, 3]


async def test_giving_back_everything_leaves_an_empty_window(timed: Timed) -> None:
    caller = next(callers)
    for _ in range(3):
        await timed.limiter.give_back(caller, await timed.limiter.take(caller, FOUR))
    (standing,) = await timed.limiter.look(caller, FOUR)
    assert (standing.used, standing.reset_after) == (0, 0)
    assert await timed.admitted(caller, FOUR, 9) == 4


async def test_a_fixed_window_begins_anew_at_its_end(fixed: Timed) -> None:
    caller = next(callers)
    assert await fixed.admitted(caller, FOUR, 9) == 4
    (standing,) = await fixed.limiter.look(caller, FOUR)
    assert 0 < standing.reset_after <= 10
    await fixed.advance(standing.reset_after)
    assert await fixed.admitted(caller, FOUR, 9) == 4


# Against the plainest way to count: every request with its time ---------------------------------------------------

STEPS = st.lists(st.tuples(st.integers(0, 4_000_000), st.integers(0, 6), st.booleans()), max_size=25)
NARROW = (Window("a", 5, 3), Window("b", 7, 6))
WIDE = (Window("wide", MAX_SLICES + 1, 60),)


class Plain:
    """All admitted requests, by when they no longer count."""

    def __init__(self, windows: tuple[Window, ...]) -> None:
        self.windows = windows
        self.ends: list[list[int]] = [[] for _ in windows]

    def take(self, now: int) -> bool:
        alive = [[end for end in ends if end > now] for ends in self.ends]
        if any(len(ends) >= window.limit for ends, window in zip(alive, self.windows, strict=True)):
            return False
        for ends, window in zip(self.ends, self.windows, strict=True):
            length, hold = shape(window)
            ends.append(now - now % length + hold)
        return True

    def used(self, now: int) -> list[int]:
        return [sum(end > now for end in ends) for ends in self.ends]


async def follow(timed: Timed, origin: int, windows: tuple[Window, ...], steps: list[tuple[int, int, bool]]) -> None:
    caller, plain, now = next(callers), Plain(windows), origin
    for pause, requests, gives_back in steps:
        await timed.advance(pause / 1e6)
        now += pause
        for _ in range(requests):
            verdict = await timed.limiter.take(caller, windows)
            assert verdict.is_admitted == plain.take(now)
            if gives_back and verdict.is_admitted:
                await timed.limiter.give_back(caller, verdict)
                for ends in plain.ends:
                    ends.pop()
        assert [s.used for s in await timed.limiter.look(caller, windows)] == plain.used(now)


@given(STEPS)
@settings(max_examples=150, deadline=None)
def test_memory_counts_as_the_plainest_way_does(steps: list[tuple[int, int, bool]]) -> None:
    async def run() -> None:
        timed = await in_memory()
        await follow(timed, timed.limiter._now(), NARROW, steps)

    asyncio.run(run())


@given(STEPS)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_redis_counts_as_the_plainest_way_does(valkey_url: str, steps: list[tuple[int, int, bool]]) -> None:
    async def run() -> None:
        async with AsyncExitStack() as stack:
            await follow(await over_redis(valkey_url, stack), 1_800_000_000_123_457, NARROW, steps)

    asyncio.run(run())


async def test_a_wide_window_never_admits_more_and_costs_bounded_memory(timed: Timed) -> None:
    caller, limit = next(callers), MAX_SLICES + 1
    length, _ = shape(WIDE[0])
    assert length == 20_000
    admitted = []
    for _ in range(130):
        admitted.append(await timed.admitted(caller, WIDE, 30))
        await timed.advance(0.9)
        recent = admitted[-66:]  # of the last 59.4 seconds
        assert sum(recent) <= limit
    assert sum(admitted) >= limit + 500, "what is old was free again"


# Memory ---------------------------------------------------------------------------------------------------------


async def test_memory_forgets_whoever_is_gone() -> None:
    timed = await in_memory()
    for number in range(1000):
        await timed.limiter.take(f"visitor {number}", FOUR)
    assert len(timed.limiter) == 1000
    await timed.advance(10)
    await timed.limiter.take("one more", FOUR)
    assert len(timed.limiter) == 1


async def test_memory_is_bounded_however_many_call() -> None:
    limiter = MemoryLimiter(ManualClock(START), max_logs=100)
    for number in range(1000):
        await limiter.take(f"visitor {number}", FOUR)
    assert len(limiter) == 100


# Redis ----------------------------------------------------------------------------------------------------------


async def test_two_processes_share_a_window(valkey_url: str) -> None:
    async with AsyncExitStack() as stack:
        here, there = await running(valkey_url, stack), await running(valkey_url, stack)
        caller, window = next(callers), (Window("hour", 50, 3600),)
        verdicts = await asyncio.gather(*((here, there)[i % 2].take(caller, window) for i in range(150)))
        assert sum(verdict.is_admitted for verdict in verdicts) == 50
        assert here.state == there.state == "connected"


async def test_a_request_is_one_round_trip_and_its_keys_go_by_themselves(new_valkey: Any) -> None:
    server = new_valkey()
    async with AsyncExitStack() as stack:
        limiter = await running(server.connection_url, stack)
        client = Redis.from_url(server.connection_url, decode_responses=True)
        stack.push_async_callback(client.aclose)
        await limiter.take("somebody", TWO_WINDOWS)
        before = (await client.info("commandstats"))["cmdstat_evalsha"]["calls"]
        for _ in range(3):
            await limiter.take("somebody", TWO_WINDOWS)
        assert (await client.info("commandstats"))["cmdstat_evalsha"]["calls"] == before + 3
        keys = [key for key in await client.keys("interlock:*") if not key.endswith((":watch", ":mark"))]
        assert len(keys) == 2
        assert not any("somebody" in key for key in keys)
        assert all([0 < await client.ttl(key) <= 3601 for key in keys])


async def test_without_redis_each_process_holds_to_its_share(new_valkey: Any) -> None:
    server = new_valkey()
    async with AsyncExitStack() as stack:
        both = [await running(server.connection_url, stack, replicas=2) for _ in range(2)]
        caller, window = next(callers), (Window("hour", 40, 3600),)
        before = [await both[i % 2].take(caller, window) for i in range(20)]
        assert all(verdict.is_admitted for verdict in before)
        server.terminate()
        after = [await both[i % 2].take(caller, window) for i in range(100)]
        assert sum(verdict.is_admitted for verdict in after) == 20, "what was admitted before counts on"
        assert [limiter.state for limiter in both] == ["unavailable", "unavailable"]
        assert (await both[0].look(caller, window))[0].window.limit == 20


async def test_redis_is_found_again(new_valkey: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(redis_module, "SETTLE_SECONDS", 0.2)
    server = new_valkey()
    port = server.port
    async with AsyncExitStack() as stack:
        limiter = await running(server.connection_url, stack)
        server.terminate()
        await limiter.take(next(callers), FOUR)
        assert limiter.state == "unavailable"
        new_valkey(port=port)
        await until(lambda: limiter.state == "connected")
        caller = next(callers)
        assert sum([(await limiter.take(caller, FOUR)).is_admitted for _ in range(9)]) == 4


async def test_a_start_without_redis_limits_at_once(new_valkey: Any) -> None:
    server = new_valkey()
    url = server.connection_url
    server.terminate()
    async with AsyncExitStack() as stack:
        limiter = await running(url, stack, replicas=4)
        caller = next(callers)
        assert sum([(await limiter.take(caller, FOUR)).is_admitted for _ in range(9)]) == 1


async def test_a_redis_that_hangs_costs_one_wait_and_no_more(new_valkey: Any) -> None:
    server = new_valkey()
    async with AsyncExitStack() as stack:
        limiter = await running(server.connection_url, stack, replicas=2)
        caller, loop = next(callers), asyncio.get_running_loop()
        server._process.send_signal(signal.SIGSTOP)
        try:
            begun = loop.time()
            verdicts = await asyncio.gather(*(limiter.take(caller, FOUR) for _ in range(10)))
            waited = loop.time() - begun
            verdicts += [await limiter.take(caller, FOUR) for _ in range(100)]
            assert loop.time() - begun - waited < redis_module.ANSWER_SECONDS / 2
        finally:
            server._process.send_signal(signal.SIGCONT)
        assert sum(verdict.is_admitted for verdict in verdicts) == 2
        assert waited < 1.0
        await until(lambda: limiter.state == "connected")


async def test_a_full_redis_means_the_share_and_breaks_nothing(new_valkey: Any) -> None:
    server = new_valkey()
    async with AsyncExitStack() as stack:
        limiter = await running(server.connection_url, stack, replicas=2)
        client = Redis.from_url(server.connection_url)
        stack.push_async_callback(client.aclose)
        caller = next(callers)
        assert (await limiter.take(caller, FOUR)).is_admitted
        await client.config_set("maxmemory", "1")
        assert [(await limiter.take(caller, FOUR)).is_admitted for _ in range(5)] == [True, *[False] * 4]
        assert limiter.state == "unavailable"
        await client.config_set("maxmemory", "0")
        await until(lambda: limiter.state == "connected")
