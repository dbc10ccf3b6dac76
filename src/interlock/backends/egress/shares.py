"""Who may do how much of something at a time: one asker that is slow leaves room for the others."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass


@dataclass(slots=True)
class _Line:
    """The turns of one asker; ``users`` have one or wait for one."""

    turns: asyncio.Semaphore
    users: int = 0


class Shares:
    """Every asker has ``each`` turns at a time; those of nobody in particular share ``most``."""

    def __init__(self, each: int, most: int) -> None:
        self._each = each
        self._most = most
        self._lines: dict[str, _Line] = {}

    async def take(self, asker: str) -> None:
        """Wait for a turn, which has to be given back."""
        line = self._lines.get(asker)
        if line is None:
            line = self._lines[asker] = _Line(asyncio.Semaphore(self._each if asker else self._most))
        line.users += 1
        try:
            await line.turns.acquire()
        except BaseException:
            self._leave(asker, line)
            raise

    def give(self, asker: str) -> None:
        """A turn is over."""
        line = self._lines[asker]
        line.turns.release()
        self._leave(asker, line)

    def is_full(self, asker: str) -> bool:
        """Whether all turns of ``asker`` are taken."""
        line = self._lines.get(asker)
        return line is not None and line.turns.locked()

    def _leave(self, asker: str, line: _Line) -> None:
        line.users -= 1
        if not line.users:
            del self._lines[asker]
