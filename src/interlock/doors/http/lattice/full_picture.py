"""What only the full profile tells beside events: what tasks print, and what those wait for that could begin.

Neither is an event, so these frames have no ``seq``.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence

import msgspec

from interlock.core.errors import ErrorKind, InterlockError
from interlock.doors.http.lattice.frames import Frame, Telling
from interlock.kit.instants import rfc3339
from interlock.services.bundle import Services
from interlock.services.executions.watch import Fact, Watch
from interlock.services.nouns import LogLine

_PAGE = 50
_ANY = 2**31
_AGAIN = 1.0
"""Seconds until a database that was away is asked again."""
_AWAY = (ErrorKind.UNAVAILABLE, ErrorKind.TIMEOUT)
_ENDS = frozenset({"task.completed", "task.failed"})
_LAST = frozenset({"execution.succeeded", "execution.failed", "execution.cancelled"})


class FullPicture:
    """For one reader. A reader that begins in the middle of a task gets that task's text from its beginning."""

    def __init__(self, services: Services, watch: Watch, telling: Telling) -> None:
        self._services = services
        self._watch = watch
        self._telling = telling
        self._live: set[str] = set()  # tasks that began and have not ended
        self._read: dict[str, int] = {}  # task id -> the number of its last line
        self._waits: dict[str, str] = {}  # task id -> what it was last said to wait for
        self._printed: set[str] = set()  # of the tasks that end now those with lines
        self._is_stale = True
        self.is_over = False  # nothing is told behind the end of a run

    async def begin(self, facts: Sequence[Fact]) -> None:
        """Take note of the next facts, before they are sent."""
        ends = set()
        for fact in facts:
            self._is_stale = True
            kind = fact.record.type
            self.is_over = self.is_over or kind in _LAST
            if kind == "task.started":
                self._live.add(_end_of(fact).task_id)
            elif kind in _ENDS:
                ends.add(_end_of(fact).task_id)
                self._live.discard(_end_of(fact).task_id)
        self._printed = ends
        if ends:
            page = await self._page(list(ends), self._after(ends))
            if len(page) < _PAGE:  # all there is, which mostly is nothing
                self._printed = {line.task_id for line in page}

    async def lines_before(self, fact: Fact) -> AsyncIterator[LogLine]:
        """What the attempt printed that ends with this fact, one of those that were begun with.

        Before the end of a run it is what those tasks printed that ended with it.
        """
        if fact.record.type in _LAST:
            async for line in self.lines_now():
                yield line
            return
        if fact.record.type not in _ENDS or (end := _end_of(fact)).task_id not in self._printed:
            return
        async for line in self._lines([end.task_id], end.attempt):
            yield line

    async def lines_now(self) -> AsyncIterator[LogLine]:
        """What tasks have printed that still run."""
        async for line in self._lines(list(self._live)):
            yield line

    async def waiting(self) -> list[Frame]:
        """Which tasks wait for what, as far as that was not said before."""
        if not self._is_stale:
            return []
        row = self._watch.row
        try:
            tasks = await self._services.list_tasks(self._watch.principal, row.execution_id)
        except InterlockError as error:
            if error.kind not in _AWAY:
                raise
            return []  # the next look asks again
        self._is_stale = False
        waits = {task.task_id: task.waiting_reason for task in tasks if task.status == "ready" and task.waiting_reason}
        new = {task_id: reason for task_id, reason in waits.items() if self._waits.get(task_id) != reason}
        self._waits = waits
        at = rfc3339(row.updated_at)
        return [
            Frame(
                type="task_waiting",
                data={**self._telling.ids, "task_id": task_id, "reason": reason},
                trace_id=row.trace_id,
                timestamp=at,
            )
            for task_id, reason in new.items()
        ]

    def frame_of(self, line: LogLine) -> Frame:
        """A text as a frame."""
        told = {"task_id": line.task_id, "attempt": line.attempt, "stream": line.stream, "text": line.content}
        return Frame(
            type="task_log",
            data={**self._telling.ids, **told, "number": line.number},
            trace_id=self._watch.row.trace_id,
            timestamp=rfc3339(line.at),
        )

    async def _lines(self, tasks: Sequence[str], attempt: int = _ANY) -> AsyncIterator[LogLine]:
        """What these printed and was not read yet, in order, page by page; nothing of attempts behind this one."""
        after, is_more = self._after(tasks), bool(tasks)
        while is_more:
            page = await self._page(tasks, after)
            for line in page:
                if line.attempt > attempt:
                    return
                after = line.number
                if line.number > self._read.get(line.task_id, 0):
                    self._read[line.task_id] = line.number
                    yield line
            is_more = len(page) == _PAGE

    def _after(self, tasks: Iterable[str]) -> int:
        return min((self._read.get(task_id, 0) for task_id in tasks), default=0)

    async def _page(self, tasks: Sequence[str], after: int) -> list[LogLine]:
        execution_id = self._watch.row.execution_id
        while True:
            try:
                return await self._services.read_task_log(self._watch.principal, execution_id, after, _PAGE, tasks)
            except InterlockError as error:
                if error.kind not in _AWAY:
                    raise
            await asyncio.sleep(_AGAIN)  # a database that is away ends no stream


class _End(msgspec.Struct):
    """Of an event of a task what is read here; a result is that of the newest attempt."""

    task_id: str
    attempt: int = _ANY


_read_end = msgspec.json.Decoder(_End).decode


def _end_of(fact: Fact) -> _End:
    return _read_end(fact.record.data)
