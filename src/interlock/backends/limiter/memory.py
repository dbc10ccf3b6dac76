"""Windows of one process."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

from interlock.core.limits import Standing, Strategy, Verdict, Window
from interlock.core.sliding_window import RequestLog, shape
from interlock.kit.clock import Clock
from interlock.ports.limiter import LimiterState

MAX_LOGS = 200_000
"""Callers' windows that are kept; the one that was used longest ago goes first."""


class _Kept:
    """A log, and when nothing in it counts any longer."""

    __slots__ = ("empty_at", "log")

    def __init__(self) -> None:
        self.log = RequestLog()
        self.empty_at = 0


class MemoryLimiter:
    """Satisfies ``ports.limiter.Limiter`` for one process, without waiting for anything."""

    def __init__(self, clock: Clock, strategy: Strategy = "sliding_window", *, max_logs: int = MAX_LOGS) -> None:
        self._clock = clock
        self._strategy: Strategy = strategy
        self._max_logs = max_logs
        self._kept: OrderedDict[tuple[str, str], _Kept] = OrderedDict()

    async def start(self) -> None:
        """Nothing to do: it is always up."""

    async def stop(self) -> None:
        """Nothing to do."""

    @property
    def state(self) -> LimiterState:
        return "not_configured"

    async def take(self, caller: str, windows: Sequence[Window]) -> Verdict:
        """Count one request in all windows, or in none if one of them is full."""
        now = self._now()
        found = [(window, self._kept_for(caller, window), *shape(window, self._strategy)) for window in windows]
        used = [kept.log.used(now, hold) for _, kept, _, hold in found]
        is_admitted = all(count < window.limit for count, window in zip(used, windows, strict=True))
        standings = []
        for count, (window, kept, length, hold) in zip(used, found, strict=True):
            if is_admitted:
                kept.log.add(now, length)
                kept.empty_at = now + hold
            standings.append(Standing(window, count + is_admitted, kept.log.reset_after(now, hold)))
        self._forget(now)
        return Verdict(is_admitted, tuple(standings), now)

    async def give_back(self, caller: str, verdict: Verdict) -> None:
        """Let an admitted request count no longer."""
        self._remove(caller, verdict, verdict.stamp)

    async def look(self, caller: str, windows: Sequence[Window]) -> tuple[Standing, ...]:
        """Where the caller stands, without counting anything."""
        now = self._now()
        return tuple(self._standing(caller, window, now) for window in windows)

    def __len__(self) -> int:
        """How many windows are kept."""
        return len(self._kept)

    def _now(self) -> int:
        return int(self._clock.monotonic() * 1_000_000)

    def _standing(self, caller: str, window: Window, now: int) -> Standing:
        kept = self._kept.get((window.caller or caller, window.name))
        if kept is None:
            return Standing(window, 0, 0.0)
        hold = shape(window, self._strategy)[1]
        used = kept.log.used(now, hold)
        return Standing(window, used, kept.log.reset_after(now, hold))

    def _kept_for(self, caller: str, window: Window) -> _Kept:
        """The log of a window, now the one that was used last."""
        key = window.caller or caller, window.name
        kept = self._kept.get(key)
        if kept is None:
            kept = self._kept[key] = _Kept()
        else:
            self._kept.move_to_end(key)
        return kept

    def _remove(self, caller: str, verdict: Verdict, at: int) -> None:
        for standing in verdict.standings:
            kept = self._kept.get((standing.window.caller or caller, standing.window.name))
            if kept is not None:
                kept.log.remove(at)

    def _forget(self, now: int) -> None:
        """Drop the oldest windows that are empty, and any that are too many."""
        while self._kept:
            oldest = next(iter(self._kept))
            if self._kept[oldest].empty_at > now and len(self._kept) <= self._max_logs:
                return
            del self._kept[oldest]
