"""The log of tasks in table ``interlock.task_logs``: gathered for a moment, so that a line is not a row."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Sequence
from uuid import UUID

import structlog

from interlock.backends.store.postgres.queries import load
from interlock.backends.store.postgres.webhook_ledger import Use, fetch
from interlock.core.errors import InterlockError
from interlock.ports.node import Attempt
from interlock.ports.task_log import Place, Stream, place_of

MOST = 1_048_576 + 65_536
"""Bytes of one task. The sandbox cuts each attempt at 1 MiB; this is for all of its attempts together."""
MARK = "\n[cut: the task printed more than 1 MiB]\n"
ROW = 61_440
"""Bytes of one row, at most."""
GATHERED = 32_768
"""Bytes that are written at once, however short ago the last ones were."""
FIRST, LONGEST = 0.1, 5.0
"""Seconds for which lines gather: few at first, more and more of a task that goes on, so that it has few rows."""
FORGOTTEN = 60.0
"""Seconds of silence after which an attempt needs no memory here."""

_SQL = load("task_logs")
_NOT_TEXT = re.compile("[\0\ud800-\udfff]")
log = structlog.get_logger("task_log")


class PostgresTaskLog:
    """Satisfies ``ports.task_log.TaskLog``. Used on one event loop."""

    def __init__(self, use: Use) -> None:
        self._use = use
        self._pages: dict[Place, _Page] = {}
        self._shared: dict[tuple[UUID, str], Sequence[Place]] = {}

    def write(self, attempt: Attempt, stream: Stream, text: str) -> None:
        """Keep a text."""
        plain = _NOT_TEXT.sub("\ufffd", text)
        for place in self._places(attempt):
            page = self._pages.get(place)
            if page is None:
                page = self._pages[place] = _Page(self._use, place, self._forget)
            page.add(stream, plain)

    def has_unsettled(self, attempt: Attempt) -> bool:
        """Whether something is not written down yet."""
        return any(page.is_unsettled for page in self._pages_of(attempt))

    async def settle(self, attempt: Attempt) -> None:
        """Write it down now."""
        await asyncio.gather(*(page.settle() for page in self._pages_of(attempt)))

    def share(self, execution_id: UUID, task_id: str, places: Sequence[Place]) -> None:
        """From now on these."""
        if places:
            self._shared[execution_id, task_id] = places
        else:
            self._shared.pop((execution_id, task_id), None)

    async def close(self) -> None:
        """Write down what is left."""
        pages, self._pages = list(self._pages.values()), {}
        await asyncio.gather(*(page.settle() for page in pages))
        for page in pages:
            page.stop()

    def _places(self, attempt: Attempt) -> Sequence[Place]:
        return self._shared.get((attempt.execution_id, attempt.task_id), (place_of(attempt),))

    def _pages_of(self, attempt: Attempt) -> list[_Page]:
        return [self._pages[place] for place in self._places(attempt) if place in self._pages]

    def _forget(self, page: _Page) -> None:
        if self._pages.get(page.place) is page:
            del self._pages[page.place]


class _Page:
    """What one attempt printed and is not written down yet."""

    def __init__(self, use: Use, place: Place, forget: Callable[[_Page], None]) -> None:
        self.place = place
        self._use = use
        self._forget = forget
        self._lines: list[tuple[Stream, str]] = []
        self._size = 0
        self._writes = 0
        self._timer: asyncio.TimerHandle | None = None
        self._is_due = False  # the timer is for lines that wait
        self._turn = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def is_unsettled(self) -> bool:
        return bool(self._lines) or self._turn.locked()

    def add(self, stream: Stream, text: str) -> None:
        """One more text; it goes to the one before, if that is of the same stream."""
        if self._lines and self._lines[-1][0] == stream:
            text = self._lines.pop()[1] + text
        self._lines.append((stream, text))
        self._size = sum(len(each) for _, each in self._lines)
        if self._size >= GATHERED:
            self._write_soon()
        elif not self._is_due:
            self._wait(min(LONGEST, FIRST * (1 + self._writes / 10)), self._write_soon)
            self._is_due = True

    def _wait(self, seconds: float, then: Callable[[], None]) -> None:
        self.stop()
        self._timer = asyncio.get_running_loop().call_later(seconds, then)

    def stop(self) -> None:
        """Wait for nothing."""
        self._is_due = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _write_soon(self) -> None:
        self.stop()
        task = asyncio.get_running_loop().create_task(self.settle())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def settle(self) -> None:
        """Write down what there is; after whatever is being written."""
        async with self._turn:
            lines, self._lines, self._size = self._lines, [], 0
            self.stop()
            if lines:
                self._writes += 1
                await self._write(lines)
        if not self._lines:
            self._wait(FORGOTTEN, lambda: self._forget(self))

    async def _write(self, lines: Sequence[tuple[Stream, str]]) -> None:
        parts = [(stream, part) for stream, text in lines for part in _rows(text)]
        place = self.place
        size = sum(len(part.encode()) for _, part in parts)
        told = [stream for stream, _ in parts], [part for _, part in parts]
        key = place.execution_id, place.tenant_id, place.task_id, place.attempt
        try:
            await fetch(self._use, _SQL["add"], *key, *told, size, MOST, MARK)
        except InterlockError as error:
            log.warning(
                "task_log.lost", execution_id=str(place.execution_id), task_id=place.task_id, size=size, code=error.code
            )


def _rows(text: str) -> list[str]:
    """The text in parts of at most ``ROW`` bytes; a part has at most a quarter as many characters."""
    if len(text.encode()) <= ROW:
        return [text]
    return [text[begin : begin + ROW // 4] for begin in range(0, len(text), ROW // 4)]
