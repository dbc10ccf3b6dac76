"""What one process knows of windows that it shares with others, and what it may admit while it cannot ask."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

from interlock.core.limits import Standing, Strategy, Verdict, Window
from interlock.core.sliding_window import RequestLog, shape
from interlock.kit.clock import Clock

MAX_WINDOWS = 200_000
"""Windows that are remembered; the one that was used longest ago goes first."""

Key = tuple[str, str]
"""Whose window, and its name."""


@dataclass(frozen=True, slots=True)
class Debt:
    """Requests of one window that the shared store has to be told of: how many microseconds ago, and how many."""

    key: Key
    length: int
    hold: int
    slices: list[tuple[int, int]]
    own: list[tuple[int, int]]  # what of them was admitted without asking, by this process's clock

    @property
    def ages(self) -> list[int]:
        """Age and requests of each slice in turn, the oldest first."""
        return [number for pair in self.slices for number in pair]


class _Known:
    """One window. ``shared``: requests of this process that the store has counted; ``others``: those of the others.

    ``own`` are those that were admitted without asking, and ``told`` the part of them that the store has heard of.
    """

    __slots__ = ("empty_at", "hold", "length", "others", "others_until", "own", "shared", "told")

    def __init__(self) -> None:
        self.shared = RequestLog()
        self.own: RequestLog | None = None
        self.told: RequestLog | None = None
        self.others = self.others_until = self.empty_at = 0
        self.length = self.hold = 1

    def used(self, now: int) -> int:
        """How many requests the store knew of, as far as they surely or possibly still count."""
        return self.shared.used(now, self.hold) + (self.others if now < self.others_until else 0)

    def admitted(self, now: int) -> int:
        """How many were admitted without asking."""
        return sum(log.used(now, self.hold) for log in (self.own, self.told) if log is not None)

    def reset_after(self, now: int) -> float:
        """Seconds until the first of all these counts no longer; 0 if none does."""
        logs = [log for log in (self.shared, self.own, self.told) if log is not None]
        ends = [log.reset_after(now, self.hold) for log in logs if log.used(now, self.hold)]
        if self.others and now < self.others_until:
            ends.append((self.others_until - now) / 1_000_000)
        return min(ends, default=0.0)


class Share:
    """While the store is away, each of n processes holds to an n-th of a window, and to an n-th of what was left of it.

    What has counted before counts on, its own and, as the store said it last, that of the others. All of this is
    bounded and never waits.
    """

    def __init__(self, clock: Clock, strategy: Strategy = "sliding_window", *, max_windows: int = MAX_WINDOWS) -> None:
        self._clock = clock
        self._strategy: Strategy = strategy
        self._max_windows = max_windows
        self._known: OrderedDict[Key, _Known] = OrderedDict()
        self._away: set[Key] = set()  # windows with requests that were admitted without asking
        self.replicas = 1

    def note(self, caller: str, verdict: Verdict, *, counts: bool) -> None:
        """What the store has answered, and whether the request was to be counted."""
        now = self._now()
        for standing in verdict.standings:
            known = self._find(caller, standing.window, now)
            if counts and verdict.is_admitted:
                known.shared.add(now, known.length)
            known.others = max(0, standing.used - known.shared.used(now, known.hold))
            known.others_until = now + known.hold
        self._forget(now)

    def take(self, caller: str, windows: Sequence[Window]) -> Verdict:
        """Admit a request without asking if it fits the share of every window."""
        now = self._now()
        standings = self._look(caller, windows, now)
        if not all(standing.remaining for standing in standings):
            return Verdict(False, standings, -now)
        for window in windows:
            known = self._find(caller, window, now)
            known.own = known.own or RequestLog()
            known.own.add(now, known.length)
            self._away.add(_key(caller, window))
        self._forget(now)
        return Verdict(True, self._look(caller, windows, now), -now)

    def look(self, caller: str, windows: Sequence[Window]) -> tuple[Standing, ...]:
        """Where the caller stands in its shares."""
        return self._look(caller, windows, self._now())

    def give_back(self, caller: str, verdict: Verdict) -> None:
        """Let an admitted request count no longer here; one that the store was told of afterwards goes on to count."""
        now = self._now()
        for standing in verdict.standings:
            known = self._known.get(_key(caller, standing.window))
            if known is None:
                continue
            if verdict.stamp >= 0:
                known.shared.remove(now)
            elif known.own is not None:
                known.own.remove(-verdict.stamp)

    def debts(self, *, everything: bool) -> list[Debt]:
        """What the store has not heard of; with ``everything`` what it has heard of, too, because it forgot."""
        now = self._now()
        keys = list(self._known) if everything else list(self._away)
        owed = (self._debt(key, self._known[key], now, everything=everything) for key in keys if key in self._known)
        return [debt for debt in owed if debt.slices]

    def settle(self, debt: Debt) -> None:
        """The store has heard of this. It goes on to count as admitted without asking, until ``adopt``."""
        known = self._known.get(debt.key)
        if known is not None and known.own is not None:
            known.own.take_out(debt.own)
            known.told = known.told or RequestLog()
            known.told.put(debt.own)

    def adopt(self) -> None:
        """The store is asked again from now on: what it has heard of is known to it like all else."""
        now = self._now()
        for key in list(self._away):
            known = self._known.get(key)
            if known is not None and known.told is not None:
                known.shared.put(known.told.slices())
                known.told = None
            if known is None or known.own is None or not known.own.used(now, known.hold):
                self._away.discard(key)

    def __len__(self) -> int:
        """How many windows are known."""
        return len(self._known)

    def _now(self) -> int:
        return int(self._clock.monotonic() * 1_000_000)

    def _look(self, caller: str, windows: Sequence[Window], now: int) -> tuple[Standing, ...]:
        return tuple(self._standing(caller, window, now) for window in windows)

    def _standing(self, caller: str, window: Window, now: int) -> Standing:
        """One request at least may be admitted, unless the window is known to be full."""
        share = max(1, window.limit // self.replicas)
        mine = Window(window.name, share, window.seconds, window.caller)
        known = self._known.get(_key(caller, window))
        if known is None:
            return Standing(mine, 0, 0.0)
        left = window.limit - known.used(now)
        of_the_rest = max(1, left // self.replicas) if left > 0 else 0
        of_the_whole = share - known.shared.used(now, known.hold)
        remaining = max(0, min(of_the_whole, of_the_rest) - known.admitted(now))
        return Standing(mine, share - remaining, known.reset_after(now))

    def _find(self, caller: str, window: Window, now: int) -> _Known:
        key = _key(caller, window)
        known = self._known.get(key)
        if known is None:
            known = self._known[key] = _Known()
        else:
            self._known.move_to_end(key)
        known.length, known.hold = shape(window, self._strategy)
        known.empty_at = now + known.hold
        return known

    def _debt(self, key: Key, known: _Known, now: int, *, everything: bool) -> Debt:
        own = known.own.slices() if known.own is not None else []
        owed = own
        if everything:
            told = known.told.slices() if known.told is not None else []
            owed = sorted([*known.shared.slices(), *told, *own])
        # The newest that a request of the slice can be: it may count longer, and never shorter.
        ages = [(max(0, now - (start + known.length - 1)), requests) for start, requests in owed]
        return Debt(key, known.length, known.hold, ages, own)

    def _forget(self, now: int) -> None:
        """Drop the oldest windows that are empty, and any that are too many."""
        while self._known:
            oldest = next(iter(self._known))
            if self._known[oldest].empty_at > now and len(self._known) <= self._max_windows:
                return
            del self._known[oldest]
            self._away.discard(oldest)


def _key(caller: str, window: Window) -> Key:
    return window.caller or caller, window.name
