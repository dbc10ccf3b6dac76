"""Windows shared by many processes through Redis: one script and one round trip for a request.

While Redis is away each process holds to its own share of every limit. What it has admitted through Redis counts there
too, so that a process that was busy before does not start from nothing.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from hashlib import blake2b

import structlog

from interlock.backends.limiter.memory import MemoryLimiter
from interlock.backends.limiter.pipe import LOST, Pipe, Script
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

CountReplicas = Callable[[], Awaitable[int]]


class RedisLimiter:
    """Satisfies ``ports.limiter.Limiter``; ``count_replicas`` says how many processes share the limits."""

    def __init__(
        self, url: str, clock: Clock, count_replicas: CountReplicas, strategy: Strategy = "sliding_window"
    ) -> None:
        self._url = url
        self._pipe: Pipe | None = None
        self._broken: list[Pipe] = []
        self._take_script = Script(TAKE)
        self._give_back_script = Script(GIVE_BACK)
        self._strategy: Strategy = strategy
        self._own = MemoryLimiter(clock, strategy)
        self._count_replicas = count_replicas
        self._replicas = 1
        self._is_lost = asyncio.Event()
        self._watcher: asyncio.Task[None] | None = None
        self._log = structlog.get_logger(__name__)

    async def start(self) -> None:
        """Connect, or hold to this process's share until Redis is there."""
        await self._count()
        await self._connect()
        self._watcher = asyncio.create_task(self._watch(), name="limiter-watch")

    async def stop(self) -> None:
        """Close the connections; what was counted stays in Redis."""
        if self._watcher is not None:
            self._watcher.cancel()
            await asyncio.gather(self._watcher, return_exceptions=True)
            self._watcher = None
        if self._pipe is not None:
            self._broken.append(self._pipe)
            self._pipe = None
        await self._close_broken()

    @property
    def state(self) -> LimiterState:
        return "unavailable" if self._pipe is None else "connected"

    async def take(self, caller: str, windows: Sequence[Window]) -> Verdict:
        """Count one request in all windows, or in none if one of them is full."""
        pipe = self._pipe
        if pipe is not None:
            try:
                verdict = await self._ask(pipe, caller, windows, counts=True)
            except LOST as error:
                self._lose(pipe, error)
            else:
                if verdict.is_admitted:
                    self._own.note(caller, windows)
                return verdict
        return self._own.take_now(caller, self._shares(windows))

    async def give_back(self, caller: str, verdict: Verdict) -> None:
        """Let an admitted request count no longer; one that Redis does not hear of goes on to count."""
        self._own.give_back_noted(caller, verdict)
        pipe = self._pipe
        if pipe is None:
            return
        windows = [standing.window for standing in verdict.standings]
        lengths = [shape(window, self._strategy)[0] for window in windows]
        try:
            await pipe.run(self._give_back_script, _keys(caller, windows), [verdict.stamp, *lengths])
        except LOST as error:
            self._lose(pipe, error)

    async def look(self, caller: str, windows: Sequence[Window]) -> tuple[Standing, ...]:
        """Where the caller stands, without counting anything."""
        pipe = self._pipe
        if pipe is not None:
            try:
                return (await self._ask(pipe, caller, windows, counts=False)).standings
            except LOST as error:
                self._lose(pipe, error)
        return await self._own.look(caller, self._shares(windows))

    async def _ask(self, pipe: Pipe, caller: str, windows: Sequence[Window], *, counts: bool) -> Verdict:
        told = [int(counts)]
        for window in windows:
            told += [window.limit, *shape(window, self._strategy)]
        fits, stamp, *figures = await pipe.run(self._take_script, _keys(caller, windows), told)
        pairs = zip(windows, figures[::2], figures[1::2], strict=True)
        return Verdict(bool(fits), tuple(Standing(window, used, left / 1e6) for window, used, left in pairs), stamp)

    def _shares(self, windows: Sequence[Window]) -> list[Window]:
        """This process's part of each window, one request at least."""
        return [Window(w.name, max(1, w.limit // self._replicas), w.seconds) for w in windows]

    def _lose(self, pipe: Pipe, error: Exception) -> None:
        if pipe is self._pipe:
            self._pipe = None
            self._broken.append(pipe)
            self._is_lost.set()
            self._log.warning("limiter.redis_lost", error=str(error) or type(error).__name__, replicas=self._replicas)

    async def _watch(self) -> None:
        """Count the processes now and then, and find Redis again when it was lost."""
        delay = FIRST_DELAY
        while True:
            if self._pipe is not None:
                delay = FIRST_DELAY
                try:
                    async with asyncio.timeout(COUNT_SECONDS):  # wait_for may swallow the end of this task
                        await self._is_lost.wait()
                except TimeoutError:
                    await self._count()
                continue
            await self._close_broken()
            await asyncio.sleep(delay * random.uniform(0.5, 1.0))
            delay = min(delay * 2, LONGEST_DELAY)
            await self._count()
            await self._connect()

    async def _connect(self) -> None:
        """Ask for the very thing that requests need, so that a store that only answers pings is not believed."""
        pipe = Pipe(self._url, ANSWER_SECONDS)
        try:
            await pipe.open()
            await self._ask(pipe, "watch", _PROBE, counts=True)
        except LOST as error:
            self._log.info("limiter.redis_away", error=str(error) or type(error).__name__)
            self._broken.append(pipe)
            await self._close_broken()
        else:
            self._is_lost.clear()
            self._pipe = pipe

    async def _close_broken(self) -> None:
        while self._broken:
            await self._broken.pop().close()

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
