"""What a host keeps of each server that talks to it: the lines it has not confirmed."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from uuid import UUID

Key = tuple[UUID, str]
"""Execution and task."""
MAX_READ = 16 * 1_048_576
"""Bytes after which ``read`` leaves the rest for the next one."""


class Work:
    """An attempt on a host. ``ending`` is its last line once it is over; ``teller`` is who hears of it."""

    __slots__ = ("attempt", "ending", "key", "teller")

    def __init__(self, key: Key, attempt: int, teller: Session) -> None:
        self.key = key
        self.attempt = attempt
        self.teller = teller
        self.ending = b""


class Session:
    """Lines for one server, numbered from 1, kept until they are confirmed."""

    def __init__(self) -> None:
        self._lines: deque[tuple[int, bytes, Work | None]] = deque()
        self._last = 0
        self._news = asyncio.Event()
        self.readers = 0
        self.seen_at = time.monotonic()

    def say(self, line: bytes, work: Work | None = None) -> None:
        """Queue a line; ``work`` is the one it ends."""
        self._last += 1
        self._lines.append((self._last, line, work))
        self._news.set()

    def confirm(self, number: int) -> list[Work]:
        """Forget the lines up to a number; the work that is over with them."""
        ended = []
        while self._lines and self._lines[0][0] <= number:
            work = self._lines.popleft()[2]
            if work is not None:
                ended.append(work)
        return ended

    async def read(self, wait: float, most: int) -> tuple[int, list[bytes]]:
        """The first ``most`` lines, and the last one's number; (0, []) if none comes within ``wait`` seconds."""
        self.readers += 1
        try:
            async with asyncio.timeout(wait):
                while not self._lines:
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            return 0, []
        finally:
            self.readers -= 1
            self.seen_at = time.monotonic()
        last, lines, size = 0, [], 0
        for number, line, _ in self._lines:
            last = number
            lines.append(line)
            size += len(line)
            if size > MAX_READ or len(lines) == most:
                break
        return last, lines
