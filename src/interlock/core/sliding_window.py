"""The requests of one caller that still count, as a list of short slices of time.

Times are whole microseconds. A request counts from when it came until ``hold`` after the start of its slice. Slices
are one microsecond long, so that the window is exact, up to ``MAX_SLICES`` requests; larger windows are cut into that
many slices, so that a caller costs bounded memory: then a request counts up to one slice longer than the window, and
never shorter. Whatever the order of requests, no window ever holds more than its limit.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from interlock.core.limits import Strategy, Window

MAX_SLICES = 3_000


def shape(window: Window, strategy: Strategy = "sliding_window") -> tuple[int, int]:
    """How long a slice of the window is, and how long after its start its requests count."""
    whole = window.seconds * 1_000_000
    if strategy == "fixed_window":
        return whole, whole
    length = 1 if window.limit <= MAX_SLICES else -(-whole // MAX_SLICES)
    return length, whole + length - 1


class RequestLog:
    """The slices of one caller in one window, oldest first."""

    __slots__ = ("_slices", "_total")

    def __init__(self) -> None:
        self._slices: deque[list[int]] = deque()  # [start, requests]
        self._total = 0

    def used(self, now: int, hold: int) -> int:
        """How many requests count now; the others are forgotten."""
        slices = self._slices
        while slices and (slices[0][0] + hold <= now or not slices[0][1]):
            self._total -= slices.popleft()[1]
        return self._total

    def reset_after(self, now: int, hold: int) -> float:
        """Seconds until the oldest request no longer counts; 0 if none does."""
        return (self._slices[0][0] + hold - now) / 1_000_000 if self._slices else 0.0

    def add(self, now: int, length: int) -> None:
        """Count one request."""
        start = now - now % length
        if self._slices and self._slices[-1][0] >= start:  # later, if the clock was set back: then it counts longer
            self._slices[-1][1] += 1
        else:
            self._slices.append([start, 1])
        self._total += 1

    def slices(self) -> list[tuple[int, int]]:
        """When each slice begins and how many requests it has, oldest first; also of those that count no longer."""
        return [(start, requests) for start, requests in self._slices if requests]

    def put(self, slices: Iterable[tuple[int, int]]) -> None:
        """Count requests of any time."""
        added = [[start, requests] for start, requests in slices]
        self._slices = deque(sorted([*self._slices, *added]))
        self._total += sum(requests for _, requests in added)

    def take_out(self, slices: Iterable[tuple[int, int]]) -> None:
        """Let so many requests of each slice count no longer, as far as they still do."""
        leaving = dict(slices)
        for held in self._slices:
            requests = min(held[1], leaving.get(held[0], 0))
            held[1] -= requests
            self._total -= requests

    def remove(self, at: int) -> None:
        """Take back the newest request that was added until ``at``, if there is one."""
        for held in reversed(self._slices):
            if held[0] <= at and held[1]:
                held[1] -= 1
                self._total -= 1
                return
