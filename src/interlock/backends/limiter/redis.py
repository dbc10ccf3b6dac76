"""Windows shared by many processes through Redis: one script and one round trip for a request.

While Redis is away each process holds to its own share of what was left. When Redis is back it is told first what was
admitted meanwhile, by every process, and only then asked again.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from hashlib import blake2b
from itertools import islice
from typing import Any

import structlog
from redis.exceptions import RedisError

from interlock.backends.limiter.pipe import LOST, Pipe, Script
from interlock.backends.limiter.script import CHARGE, GIVE_BACK, MARK, TAKE
from interlock.backends.limiter.share import Debt, Key, Share
from interlock.core.limits import Standing, Strategy, Verdict, Window
from interlock.core.sliding_window import shape
from interlock.kit.clock import Clock
from interlock.ports.limiter import LimiterState

ANSWER_SECONDS = 0.25
"""Redis is away if it takes longer; a request waits for this once, and then no request does until it is back."""
FIRST_DELAY, LONGEST_DELAY = 0.1, 1.0
CHECK_SECONDS = 1.0
"""How often a process without requests looks whether Redis is there and has forgotten nothing."""
COUNT_SECONDS = 5.0
"""How often the processes are counted that share the limits."""
SETTLE_SECONDS = 1.5
"""So long a process holds to its share after Redis is back: until all others have found it and told it, too."""

_MARK = "interlock:limit:mark"
_MARK_MILLISECONDS = 2 * 86_400_000  # longer than any window
_AT_ONCE = 50  # windows that Redis is told of in one go: it answers nobody else meanwhile

CountReplicas = Callable[[], Awaitable[int]]


class Forgot(RedisError):
    """Redis is there, and no longer knows what it was told."""


class RedisLimiter:
    """Satisfies ``ports.limiter.Limiter``; ``count_replicas`` says how many processes share the limits."""

    def __init__(
        self, url: str, clock: Clock, count_replicas: CountReplicas, strategy: Strategy = "sliding_window"
    ) -> None:
        self._url = url
        self._clock = clock
        self._pipe: Pipe | None = None
        self._broken: list[Pipe] = []
        self._take_script = Script(TAKE)
        self._give_back_script = Script(GIVE_BACK)
        self._charge_script = Script(CHARGE)
        self._mark_script = Script(MARK)
        self._strategy: Strategy = strategy
        self._share = Share(clock, strategy)
        self._count_replicas = count_replicas
        self._counted_at = 0.0
        self._mark = ""  # since when Redis forgets nothing; empty until it was there once
        self._is_lost = asyncio.Event()
        self._watcher: asyncio.Task[None] | None = None
        self._log = structlog.get_logger(__name__)

    async def start(self) -> None:
        """Connect, or hold to this process's share until Redis is there."""
        await self._count()
        await self._connect(settles=False)
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
                return await self._ask(pipe, caller, windows, counts=True)
            except LOST as error:
                self._lose(pipe, error)
        return self._share.take(caller, windows)

    async def give_back(self, caller: str, verdict: Verdict) -> None:
        """Let an admitted request count no longer; one that Redis does not hear of goes on to count."""
        self._share.give_back(caller, verdict)
        pipe = self._pipe
        if pipe is None or verdict.stamp < 0:  # below zero: this process's own, of which Redis does not know
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
        return self._share.look(caller, windows)

    async def _ask(self, pipe: Pipe, caller: str, windows: Sequence[Window], *, counts: bool) -> Verdict:
        told: list[int | str] = [int(counts), self._mark]
        for window in windows:
            told += [window.limit, *shape(window, self._strategy)]
        fits, *rest = await pipe.run(self._take_script, [*_keys(caller, windows), _MARK], told)
        if fits < 0:
            raise Forgot("Redis has forgotten what it was told")
        stamp, *figures = rest
        pairs = zip(windows, figures[::2], figures[1::2], strict=True)
        verdict = Verdict(bool(fits), tuple(Standing(window, used, left / 1e6) for window, used, left in pairs), stamp)
        self._share.note(caller, verdict, counts=counts)
        return verdict

    def _lose(self, pipe: Pipe, error: Exception) -> None:
        if pipe is self._pipe:
            self._pipe = None
            self._broken.append(pipe)
            self._is_lost.set()
            why = str(error) or type(error).__name__
            self._log.warning("limiter.redis_lost", error=why, replicas=self._share.replicas)

    async def _watch(self) -> None:
        """Look after Redis and the number of processes, and find Redis again when it was lost."""
        delay = FIRST_DELAY
        while True:
            pipe = self._pipe
            if pipe is not None:
                delay = FIRST_DELAY
                await self._look_after(pipe)
                continue
            await self._close_broken()
            await asyncio.sleep(delay * random.uniform(0.5, 1.0))
            delay = min(delay * 2, LONGEST_DELAY)
            await self._count()
            await self._connect(settles=True)

    async def _look_after(self, pipe: Pipe) -> None:
        """Return when Redis is lost, after a look at it at the latest."""
        try:
            async with asyncio.timeout(CHECK_SECONDS):  # wait_for may swallow the end of this task
                await self._is_lost.wait()
            return
        except TimeoutError:
            pass
        if self._clock.monotonic() - self._counted_at >= COUNT_SECONDS:
            await self._count()
        try:
            await self._read_mark(pipe)
            await self._ask(pipe, _PROBE_CALLER, _PROBE, counts=True)
        except LOST as error:
            self._lose(pipe, error)

    async def _connect(self, *, settles: bool) -> None:
        """Take Redis for being there once it has heard everything, and answers what requests ask."""
        pipe = Pipe(self._url, ANSWER_SECONDS)
        try:
            await pipe.open()
            await self._catch_up(pipe, settles=settles)
            await self._ask(pipe, _PROBE_CALLER, _PROBE, counts=True)
        except LOST as error:
            self._log.info("limiter.redis_away", error=str(error) or type(error).__name__)
            await pipe.close()
            return
        except BaseException:  # above all: whoever connects is stopped
            await pipe.close()
            raise
        self._is_lost.clear()
        self._pipe = pipe
        try:
            await self._charge(pipe, everything=False)  # what was admitted between the last time and this
        except LOST as error:
            self._lose(pipe, error)
        else:
            self._share.adopt()

    async def _catch_up(self, pipe: Pipe, *, settles: bool) -> None:
        """Tell Redis what it does not know, twice if others may have something to tell it, too."""
        mark = await self._read_mark(pipe)
        await self._charge(pipe, everything=mark != self._mark)
        self._mark = mark
        if settles:
            await asyncio.sleep(SETTLE_SECONDS)
            await self._charge(pipe, everything=False)

    async def _read_mark(self, pipe: Pipe) -> str:
        mark: Any = await pipe.run(self._mark_script, [_MARK], [_MARK_MILLISECONDS])
        return str(mark.decode() if isinstance(mark, bytes) else mark)

    async def _charge(self, pipe: Pipe, *, everything: bool) -> None:
        """Count in Redis what this process has admitted without it; with ``everything`` all that it has admitted."""
        debts = iter(self._share.debts(everything=everything))
        while some := list(islice(debts, _AT_ONCE)):
            await asyncio.gather(*(self._pay(pipe, debt) for debt in some))

    async def _pay(self, pipe: Pipe, debt: Debt) -> None:
        await pipe.run(self._charge_script, [_name(debt.key)], [debt.length, debt.hold, *debt.ages])
        self._share.settle(debt)

    async def _close_broken(self) -> None:
        while self._broken:
            await self._broken.pop().close()

    async def _count(self) -> None:
        self._counted_at = self._clock.monotonic()
        try:
            self._share.replicas = max(1, await self._count_replicas())
        except Exception as error:  # noqa: BLE001 - the database may be away too; the last number stands
            self._log.warning("limiter.replicas_unknown", error=f"{type(error).__name__}: {error}"[:200])


_PROBE_CALLER = "watch"
_PROBE = (Window("watch", 1_000_000, 1),)


def _keys(caller: str, windows: Sequence[Window]) -> list[str]:
    """The lists of a request's windows, without a name that anybody could read."""
    return [_name((window.caller or caller, window.name)) for window in windows]


def _name(key: Key) -> str:
    digest = blake2b(key[0].encode(), digest_size=12).hexdigest()
    return f"interlock:limit:{digest}:{key[1]}"
