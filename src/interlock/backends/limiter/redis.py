"""Windows shared by many processes through Redis: one script and one round trip for a request.

While Redis is away each process holds to its own share of every limit. What it has admitted through Redis counts there
too, so that a process that was busy before does not start from nothing.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from hashlib import blake2b
from typing import Any

import structlog
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from interlock.backends.limiter.memory import MemoryLimiter
from interlock.backends.limiter.script import GIVE_BACK, TAKE
from interlock.core.limits import Standing, Strategy, Verdict, Window
from interlock.core.sliding_window import shape
from interlock.kit.clock import Clock
from interlock.ports.limiter import LimiterState

ANSWER_SECONDS = 0.25
"""Redis is away if it takes longer; a request waits for this once, and then no request does until it is back."""
FIRST_DELAY, LONGEST_DELAY = 0.1, 2.0
COUNT_SECONDS = 5.0
"""How often the processes are counted that share the limits."""
CONNECTIONS = 16

_LOST = (RedisError, OSError)  # OSError: also a timeout

CountReplicas = Callable[[], Awaitable[int]]


class RedisLimiter:
    """Satisfies ``ports.limiter.Limiter``; ``count_replicas`` says how many processes there are, whatever Redis does."""

    def __init__(
        self, url: str, clock: Clock, count_replicas: CountReplicas, strategy: Strategy = "sliding_window"
    ) -> None:
        pool = BlockingConnectionPool.from_url(
            url,
            max_connections=CONNECTIONS,
            timeout=ANSWER_SECONDS,
            socket_timeout=ANSWER_SECONDS,
            socket_connect_timeout=ANSWER_SECONDS,
            retry=Retry(NoBackoff(), 0),
        )
        self._redis: Redis = Redis.from_pool(pool)
        self._take_script = self._redis.register_script(TAKE)
        self._give_back_script = self._redis.register_script(GIVE_BACK)
        self._strategy: Strategy = strategy
        self._own = MemoryLimiter(clock, strategy)
        self._count_replicas = count_replicas
        self._replicas = 1
        self._is_connected = False
        self._is_lost = asyncio.Event()
        self._watcher: asyncio.Task[None] | None = None
        self._log = structlog.get_logger(__name__)

    async def start(self) -> None:
        """Connect, or hold to this process's share until Redis is there."""
        await self._count()
        await self._ping()
        self._watcher = asyncio.create_task(self._watch(), name="limiter-watch")

    async def stop(self) -> None:
        """Close the connections; what was counted stays in Redis."""
        if self._watcher is not None:
            self._watcher.cancel()
            await asyncio.gather(self._watcher, return_exceptions=True)
            self._watcher = None
        await self._redis.aclose()

    @property
    def state(self) -> LimiterState:
        return "connected" if self._is_connected else "unavailable"

    async def take(self, caller: str, windows: Sequence[Window]) -> Verdict:
        """Count one request in all windows, or in none if one of them is full."""
        if self._is_connected:
            try:
                verdict = await self._ask(caller, windows, counts=True)
            except _LOST as error:
                self._lose(error)
            else:
                if verdict.is_admitted:
                    self._own.note(caller, windows)
                return verdict
        return self._own.take_now(caller, self._shares(windows))

    async def give_back(self, caller: str, verdict: Verdict) -> None:
        """Let an admitted request count no longer; one that Redis does not hear of goes on to count."""
        if not self._is_connected:
            return
        windows = [standing.window for standing in verdict.standings]
        lengths = [shape(window, self._strategy)[0] for window in windows]
        try:
            await self._give_back_script(keys=_keys(caller, windows), args=[verdict.stamp, *lengths])
        except _LOST as error:
            self._lose(error)

    async def look(self, caller: str, windows: Sequence[Window]) -> tuple[Standing, ...]:
        """Where the caller stands, without counting anything."""
        if self._is_connected:
            try:
                return (await self._ask(caller, windows, counts=False)).standings
            except _LOST as error:
                self._lose(error)
        return await self._own.look(caller, self._shares(windows))

    async def _ask(self, caller: str, windows: Sequence[Window], *, counts: bool) -> Verdict:
        told = [int(counts)]
        for window in windows:
            told += [window.limit, *shape(window, self._strategy)]
        answer: Any = await self._take_script(keys=_keys(caller, windows), args=told)
        fits, stamp, *figures = answer
        pairs = zip(windows, figures[::2], figures[1::2], strict=True)
        return Verdict(bool(fits), tuple(Standing(window, used, left / 1e6) for window, used, left in pairs), stamp)

    def _shares(self, windows: Sequence[Window]) -> list[Window]:
        """This process's part of each window, one request at least."""
        return [Window(w.name, max(1, w.limit // self._replicas), w.seconds) for w in windows]

    def _lose(self, error: Exception) -> None:
        if self._is_connected:
            self._is_connected = False
            self._is_lost.set()
            self._log.warning("limiter.redis_lost", error=str(error) or type(error).__name__, replicas=self._replicas)

    async def _watch(self) -> None:
        """Count the processes now and then, and find Redis again when it was lost."""
        delay = FIRST_DELAY
        while True:
            if self._is_connected:
                delay = FIRST_DELAY
                try:
                    await asyncio.wait_for(self._is_lost.wait(), COUNT_SECONDS)
                except TimeoutError:
                    await self._count()
                continue
            await asyncio.sleep(delay * random.uniform(0.5, 1.0))
            delay = min(delay * 2, LONGEST_DELAY)
            await self._count()
            await self._ping()

    async def _ping(self) -> None:
        """Ask for the very thing that requests need, so that a store that only answers pings is not believed."""
        try:
            await self._ask("watch", _PROBE, counts=True)
        except _LOST as error:
            self._log.info("limiter.redis_away", error=str(error) or type(error).__name__)
        else:
            self._is_lost.clear()
            self._is_connected = True

    async def _count(self) -> None:
        try:
            self._replicas = max(1, await self._count_replicas())
        except Exception as error:  # noqa: BLE001 - the database may be away too; the last number stands
            self._log.warning("limiter.replicas_unknown", error=f"{type(error).__name__}: {error}"[:200])


_PROBE = (Window("watch", 1_000_000, 1),)


def _keys(caller: str, windows: Sequence[Window]) -> list[str]:
    """The lists of a caller's windows: on one node of a cluster, and without a name that anybody could read."""
    digest = blake2b(caller.encode(), digest_size=12).hexdigest()
    return [f"interlock:limit:{{{digest}}}:{window.name}" for window in windows]
