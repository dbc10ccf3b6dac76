"""When a server that fails all the time is left alone, and when it is asked again. Times are monotonic seconds."""

from __future__ import annotations

FAILURES = 10
"""Failures in a row after which a server is left alone."""
FIRST, LONGEST = 1.0, 30.0
"""Seconds for which it is left alone: at first, and at most. They double with every further failure."""
PROBE_SECONDS = 60.0
"""After so long without a word from the one call that tries it again, another one may."""


class Circuit:
    """How one server does, as far as one caller knows. Closed, every call goes out; open, one now and then."""

    __slots__ = ("_failures", "_pause", "_probe_until", "_until")

    def __init__(self) -> None:
        self._failures = 0
        self._pause = 0.0
        self._until = 0.0
        self._probe_until = 0.0

    @property
    def is_well(self) -> bool:
        """Whether there is nothing to remember."""
        return self._failures == 0

    def refused_for(self, now: float, chance: float) -> float:
        """0 if a call may go out; else the seconds after which to ask again.

        ``chance`` (0 to 1) spreads those who are refused together over one more pause.
        """
        if self._failures < FAILURES:
            return 0.0
        if now >= max(self._until, self._probe_until):
            self._probe_until = now + PROBE_SECONDS
            return 0.0
        return max(0.0, self._until - now) + self._pause * chance + 0.001

    def succeeded(self) -> None:
        """A call was answered: all may go out again."""
        self._failures, self._pause, self._probe_until = 0, 0.0, 0.0

    def failed(self, now: float) -> None:
        """A call failed. One that went out before the others stopped prolongs nothing."""
        self._failures += 1
        if self._failures >= FAILURES and now >= self._until:
            self._pause = min(LONGEST, self._pause * 2 or FIRST)
            self._until = now + self._pause
            self._probe_until = 0.0

    def left(self) -> None:
        """A call was given up before anything was known of it."""
        self._probe_until = 0.0
