"""Limiters over a real Valkey, each as one process has it."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from contextlib import AsyncExitStack

from interlock.backends.limiter.redis import RedisLimiter
from interlock.core.limits import Window
from interlock.kit.clock import SystemClock

SOON = 5.0  # a deadline, reached only when something is wrong
FOUR = (Window("four", 4, 10),)
callers = (f"caller {number}" for number in itertools.count())


async def running(url: str, stack: AsyncExitStack, replicas: int = 1) -> RedisLimiter:
    async def count() -> int:
        return replicas

    limiter = RedisLimiter(url, SystemClock(), count)
    await limiter.start()
    stack.push_async_callback(limiter.stop)
    return limiter


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(SOON):
        while not holds():
            await asyncio.sleep(0.01)
