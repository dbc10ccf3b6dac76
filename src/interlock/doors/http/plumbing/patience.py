"""For how long anybody is kept waiting: a burst is borne, a crowd that stays is not."""

from __future__ import annotations

BURST_SECONDS = 2.0
"""Whoever would wait for longer, as far as can be told, is refused: so much of a burst fits into the lines."""
CROWD_SECONDS = 0.5
"""The patience once there have been lines for as long as a burst: more comes than can be done."""


class Patience:
    """Of one place with lines. ``now`` is any clock's time in seconds, always the same clock's."""

    def __init__(self, crowd: float = CROWD_SECONDS) -> None:
        self._crowd = crowd
        self._since: float | None = None

    def note_lines(self, now: float) -> None:
        """There are lines."""
        if self._since is None:
            self._since = now

    def note_none(self) -> None:
        """There are no lines any more."""
        self._since = None

    def seconds(self, now: float) -> float:
        """What anybody may wait at the moment."""
        is_burst = self._since is None or now - self._since < BURST_SECONDS
        return BURST_SECONDS if is_burst else min(BURST_SECONDS, self._crowd)
