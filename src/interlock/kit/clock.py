"""Time is asked of a clock that is passed in; nothing else reads it."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Protocol


class Clock(Protocol):
    """Two readings of time: the wall (aware UTC) for records, the monotonic one (seconds) for waiting."""

    def now(self) -> datetime: ...

    def monotonic(self) -> float: ...


SLEWED = timedelta(seconds=1)
"""A step back of less than this is waited out, so that what comes later is later; a greater one is taken."""
_TICK = timedelta(microseconds=1)


class SystemClock:
    """The machine's clocks, with an offset that aligns the wall to the database (``align``)."""

    def __init__(self) -> None:
        self._offset = timedelta(0)
        self._told = datetime.min.replace(tzinfo=UTC)

    def now(self) -> datetime:
        """Later than any instant told before, unless the wall was set back by ``SLEWED`` or more."""
        now = datetime.now(UTC) + self._offset
        if now <= self._told and self._told - now < SLEWED:
            now = self._told + _TICK
        self._told = now
        return now

    def monotonic(self) -> float:
        return time.monotonic()

    def align(self, reference: datetime) -> None:
        """Make ``now()`` agree with ``reference``, an instant just read from the authority on time."""
        self._offset = reference - datetime.now(UTC)


class ManualClock:
    """A clock that moves only when told to."""

    def __init__(self, at: datetime) -> None:
        self._at = at
        self._start = at

    def now(self) -> datetime:
        return self._at

    def monotonic(self) -> float:
        return (self._at - self._start).total_seconds()

    def advance(self, step: timedelta) -> None:
        self._at += step
