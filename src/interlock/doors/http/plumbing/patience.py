"""For how long anybody is kept waiting: a burst is borne, a crowd that stays is not."""

from __future__ import annotations

BURST_SECONDS = 2.0
"""Whoever would wait for longer, as far as can be told, is refused: so much of a burst fits into the lines."""
CROWD_SECONDS = 0.5
"""The patience once there have been lines for as long as a burst: more comes than can be done."""
CALM_SECONDS = 1.0
"""A crowd is over when there were no lines for so long; a moment without any is only that."""


class Patience:
    """Of one place with lines. ``now`` is any clock's time in seconds, always the same clock's."""

    def __init__(self, crowd: float = CROWD_SECONDS) -> None:
        self._crowd = crowd
        self._since: float | None = None
        self._none_since: float | None = None

    def note_lines(self, now: float) -> None:
        """There are lines."""
        if self._since is None or (self._none_since is not None and now - self._none_since >= CALM_SECONDS):
            self._since = now
        self._none_since = None

    def note_none(self, now: float) -> None:
        """There are no lines any more."""
        self._none_since = now

    def is_crowd(self, now: float) -> bool:
        """Whether there have been lines for longer than a burst."""
        return self._since is not None and now - self._since >= BURST_SECONDS

    def seconds(self, now: float) -> float:
        """What anybody may wait at the moment."""
        return min(BURST_SECONDS, self._crowd) if self.is_crowd(now) else BURST_SECONDS
