"""What a host keeps of each server that talks to it: the lines it has not confirmed."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from itertools import islice
from uuid import UUID

from interlock.backends.executor.ray.road import Lines, RoadEnd

Key = tuple[UUID, str]
"""Execution and task."""
MAX_READ = 16 * 1_048_576
"""Bytes after which ``read`` leaves the rest for the next one."""
MAX_SENT = 1_000
"""Lines that are sent together on a road."""
_MOMENT = 5.0
"""Seconds: more than pass between two calls of a server that is there."""


class Work:
    """An attempt on a host. ``ending`` is its last line once it is over; ``teller`` is who hears of it."""

    __slots__ = ("attempt", "ending", "key", "teller")

    def __init__(self, key: Key, attempt: int, teller: Session) -> None:
        self.key = key
        self.attempt = attempt
        self.teller = teller
        self.ending = b""


class Session:
    """Lines for one server, numbered from 1, kept until they are confirmed.

    They are sent on its road if there is one, gathered for ``gather()`` seconds, and else are there to be ``read``.
    """

    def __init__(self, gather: Callable[[], float]) -> None:
        self._gather = gather
        self._lines: deque[tuple[int, bytes, Work | None]] = deque()
        self._last = 0
        self._news = asyncio.Event()
        self._road: RoadEnd | None = None
        self._sent = 0
        self._is_sending = False
        self.readers = 0
        self.seen_at = time.monotonic()

    @property
    def is_heard(self) -> bool:
        """Whether its server is there at this moment."""
        return self._road is not None or self.readers > 0

    @property
    def is_near(self) -> bool:
        """Whether its server is there, or was a moment ago."""
        return self.is_heard or time.monotonic() - self.seen_at < _MOMENT

    def say(self, line: bytes, work: Work | None = None) -> int:
        """Queue a line; ``work`` is the one it ends. Its number."""
        self._last += 1
        self._lines.append((self._last, line, work))
        if self._road is None:
            self._news.set()
        else:
            self._send_soon()
        return self._last

    def has_arrived(self, number: int) -> bool:
        """Whether a line is confirmed; one that is not will be told once more by itself."""
        return not self._lines or self._lines[0][0] > number

    def open_road(self, road: RoadEnd) -> None:
        """Send lines there from now on, what was not confirmed once more."""
        if self._road is not None:
            self._road.close()
        self._road = road
        self._sent = self._lines[0][0] - 1 if self._lines else self._last
        road.on_room = self._send_soon
        self._send_soon()

    def close_road(self, road: RoadEnd) -> None:
        """Lines are there to be read again."""
        if self._road is road:
            self._road = None
            self.seen_at = time.monotonic()
            self._news.set()

    def end_road(self) -> None:
        """The session is over."""
        if self._road is not None:
            self._road.close()

    def _send_soon(self) -> None:
        if not self._is_sending:
            self._is_sending = True
            loop = asyncio.get_running_loop()
            wait = self._gather()
            if wait:
                loop.call_later(wait, self._send)
            else:
                loop.call_soon(self._send)

    def _send(self) -> None:
        """Send the lines that were not yet, as long as there is room."""
        self._is_sending = False
        while self._road is not None and not self._road.is_full and self._sent < self._last:
            last, lines = self._next(self._sent, MAX_SENT)
            self._sent = last
            self._road.say(Lines(last, lines))

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
                while not self._lines or self._road is not None:
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            return 0, []
        finally:
            self.readers -= 1
            self.seen_at = time.monotonic()
        return self._next(0, most)

    def _next(self, after: int, most: int) -> tuple[int, list[bytes]]:
        """The lines after a number, and the last one's; there is one at least."""
        last, lines, size = 0, [], 0
        for number, line, _ in islice(self._lines, max(0, after + 1 - self._lines[0][0]), None):
            last = number
            lines.append(line)
            size += len(line)
            if size > MAX_READ or len(lines) == most:
                break
        return last, lines
