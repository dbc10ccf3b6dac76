"""For how long anybody is kept waiting: a burst is borne, a crowd that stays is not."""

from __future__ import annotations

BURST_SECONDS = 2.0
"""Whoever would wait for longer, as far as can be told, is refused: so much of a burst fits into the lines."""
CROWD_SECONDS = 0.5
"""The patience once there have been lines for as long as a burst: more comes than can be done."""
CALM_SECONDS = 1.0
"""A crowd that was there for long is over when there were no lines for so long."""


class Patience:
    """Of one place with lines. ``now`` is any clock's time in seconds, always the same clock's.

    Time with lines counts, and time without any counts against it: neither is a crowd over with a moment in which
    nobody happens to wait, nor do short lines that come again and again add up to one.
    """

    def __init__(self, crowd: float = CROWD_SECONDS) -> None:
        self._crowd = crowd
        self._counted = 0.0
        self._at = 0.0
        self._has_lines = False

    def note_lines(self, now: float) -> None:
        """There are lines."""
        self._note(now, has_lines=True)

    def note_none(self, now: float) -> None:
        """There are no lines any more."""
        self._note(now, has_lines=False)

    def is_crowd(self, now: float) -> bool:
        """Whether there have been lines for longer than a burst."""
        return self._count(now) >= BURST_SECONDS

    def seconds(self, now: float) -> float:
        """What anybody may wait at the moment."""
        return min(BURST_SECONDS, self._crowd) if self.is_crowd(now) else BURST_SECONDS

    def _note(self, now: float, *, has_lines: bool) -> None:
        self._counted, self._at, self._has_lines = self._count(now), now, has_lines

    def _count(self, now: float) -> float:
        """Seconds with lines less those without, as far as they still matter."""
        passed = now - self._at if self._has_lines else self._at - now
        return min(BURST_SECONDS + CALM_SECONDS, max(0.0, self._counted + passed))
