"""Caches keep what they were given for as long as they were told, and are never in the way."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest

from interlock.backends.cache.memory import MemoryCache
from interlock.backends.cache.redis import MAX_BYTES, RedisCache
from interlock.core.principal import Principal
from interlock.kit.clock import SystemClock
from interlock.ports.cache import Cache
from interlock.services.models.cached import CachedAnswers


@pytest.fixture(params=["memory", "redis"])
async def cache(request: pytest.FixtureRequest) -> AsyncIterator[Cache]:
    if request.param == "memory":
        yield MemoryCache(SystemClock())
        return
    cache = RedisCache(request.getfixturevalue("valkey_url"))
    yield cache
    await cache.close()


async def test_a_value_is_there_until_its_time_is_over(cache: Cache) -> None:
    await cache.put("tenant:a", b"\x00value", 60.0)
    await cache.put("tenant:short", b"x", 0.05)
    assert await cache.get("tenant:a") == b"\x00value"
    assert await cache.get("tenant:other") is None
    async with asyncio.timeout(5):
        while await cache.get("tenant:short") is not None:
            await asyncio.sleep(0.01)


async def test_the_newest_value_counts(cache: Cache) -> None:
    await cache.put("tenant:b", b"old", 60.0)
    await cache.put("tenant:b", b"new", 60.0)
    assert await cache.get("tenant:b") == b"new"


async def test_too_large_a_value_is_not_kept(cache: Cache) -> None:
    await cache.put("tenant:c", b"x" * (MAX_BYTES + 1), 60.0)
    assert await cache.get("tenant:c") is None


async def test_a_full_memory_forgets_what_was_not_asked_for_longest() -> None:
    cache = MemoryCache(SystemClock(), max_bytes=100)
    for name in "abcd":
        await cache.put(name, b"x" * 25, 60.0)
    await cache.get("a")
    await cache.put("e", b"x" * 25, 60.0)
    assert [name for name in "abcde" if await cache.get(name)] == ["a", "c", "d", "e"]


async def test_a_redis_that_is_away_holds_nothing_and_stops_nobody() -> None:
    cache = RedisCache("redis://127.0.0.1:9/0")
    await cache.put("tenant:a", b"value", 60.0)
    assert await cache.get("tenant:a") is None
    await cache.close()


def caller(**more: Any) -> Principal:
    return Principal(**{"subject": "ann", "tenant_id": "t", "scopes": frozenset(), **more})


async def test_answers_are_found_by_the_same_caller_with_the_same_request_only(cache: Cache) -> None:
    answers = CachedAnswers(cache, SystemClock(), 60.0)
    await answers.keep(caller(), b"asked", b"answer")
    assert await answers.find(caller(), b"asked", 60.0) == b"answer"
    assert await answers.find(caller(), b"asked too", 60.0) is None
    for other in (caller(subject="ben"), caller(tenant_id="u"), caller(kind="key")):
        assert await answers.find(other, b"asked", 60.0) is None


class Moving(SystemClock):
    """A clock that can be put forward."""

    ahead = 0.0

    def now(self) -> Any:
        return super().now() + timedelta(seconds=self.ahead)


async def test_an_answer_may_be_as_old_as_the_caller_says_and_no_older_than_the_operator_says(cache: Cache) -> None:
    clock = Moving()
    answers = CachedAnswers(cache, clock, 60.0)
    await answers.keep(caller(), b"aged", b"answer")
    clock.ahead = 30.0
    assert await answers.find(caller(), b"aged", 20.0) is None
    assert await answers.find(caller(), b"aged", 40.0) == b"answer"
    clock.ahead = 90.0
    assert await answers.find(caller(), b"aged", 3_600.0) is None
