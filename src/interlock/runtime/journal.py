"""The journal: collects entries and commits them in flushes, each one statement, one after the other.

What comes while one is open waits for the next. An entry takes effect outside only after its commit.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from uuid import UUID

import structlog

from interlock.kit import failpoints
from interlock.kit.clock import Clock
from interlock.ports.ledger import FlushRejected, FlushResult, Ledger, OutcomeUnknown
from interlock.ports.telemetry import Telemetry
from interlock.runtime.batch import lay_out, take
from interlock.runtime.entry import Committed, Entry, EntryRefused, Fenced, OutcomeLost, Withdrawn

MAX_QUEUED = 20_000
"""Entries in front of the journal before starts are refused."""

OVERLAP_FROM = 16
"""Committed entries from which on half of them is released while the next flush is under way."""

failpoints.declare("journal.before_flush", "journal.after_flush", "journal.after_release")
log = structlog.get_logger("journal")


class Journal:
    """Writes entries for one runner, in order for each execution, fairly between tenants."""

    def __init__(
        self,
        ledger: Ledger,
        clock: Clock,
        telemetry: Telemetry,
        on_fenced: Callable[[], None],
        on_woken: Callable[[UUID, int | None], None],
        on_spoiled: Callable[[UUID], None],
    ) -> None:
        self._ledger = ledger
        self._clock = clock
        self._telemetry = telemetry
        self._on_fenced = on_fenced
        self._on_woken = on_woken
        self._on_spoiled = on_spoiled
        self._queue: deque[Entry] = deque()
        self._unreleased: deque[tuple[Entry, Committed]] = deque()
        self._wake = asyncio.Event()
        self._runner_id = 0
        self._flushed = 0
        self._task: asyncio.Task[None] | None = None
        self._idle = asyncio.Event()
        self._idle.set()
        self._open = False
        self.is_connected = True
        self.is_fenced = False

    @property
    def depth(self) -> int:
        """Entries waiting for a flush."""
        return len(self._queue)

    def start(self, runner_id: int) -> None:
        """Begin to write for a newly registered runner."""
        self._runner_id = runner_id
        self._flushed = 0
        self.is_fenced = False
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name="journal")

    async def stop(self) -> None:
        """Write what is queued, at most 5 s long, and end."""
        try:
            async with asyncio.timeout(5.0):
                await self._idle.wait()
        except TimeoutError:
            log.warning("journal.stop_timeout", queued=len(self._queue))
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    def submit(self, entry: Entry) -> None:
        """Queue an entry. It is written at once when nothing else is being written."""
        if self.is_fenced:
            entry.refused(entry, Fenced())
            return
        self._queue.append(entry)
        self._idle.clear()
        self._wake.set()

    def withdraw(self, execution_id: UUID) -> None:
        """Refuse the queued entries of an execution whose entry before them failed."""
        gone = [entry for entry in self._queue if entry.execution_id == execution_id]
        if gone:
            self._queue = deque(entry for entry in self._queue if entry.execution_id != execution_id)
            for entry in gone:
                entry.refused(entry, EntryRefused("an entry before it failed"))

    async def _run(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._queue or self._unreleased:
                try:
                    await self._round()
                except Exception:  # the only writer must not end: giving up the runner is safe whatever happened
                    log.exception("journal.round_failed", runner_id=self._runner_id)
                    self._give_up()
            self._idle.set()

    async def _round(self) -> None:
        """One flush. While the database works on it, the second half of the batch before is released.

        Otherwise all executions would move in lock step: everybody waits for the commit, then the database for
        everybody.
        """
        entries = self._in_time(take(self._queue)) if self._queue else []
        if not entries:
            self._release(len(self._unreleased))
            return
        if not self._unreleased:
            await self._write(entries)
        else:
            writing = asyncio.create_task(self._write(entries))
            try:
                await asyncio.sleep(0)  # it sends the flush now
                self._release(len(self._unreleased))
            finally:
                await writing
        waiting = len(self._unreleased)
        self._release(waiting if waiting < OVERLAP_FROM else waiting // 2)

    def _in_time(self, entries: list[Entry]) -> list[Entry]:
        if all(entry.deadline is None for entry in entries):
            return entries
        now = self._clock.monotonic()
        for entry in entries:
            if entry.deadline is not None and entry.deadline < now:
                entry.refused(entry, Withdrawn("the deadline passed while it was queued"))
        return [entry for entry in entries if entry.deadline is None or entry.deadline >= now]

    async def _write(self, entries: Sequence[Entry]) -> set[UUID]:
        """Commit these entries; on a guilty value halve until it fails alone. Gives the executions that failed."""
        begun = self._clock.monotonic()
        try:
            result = await self._commit(entries)
        except FlushRejected as error:
            if len(entries) == 1:
                log.error("journal.entry_rejected", execution_id=str(entries[0].execution_id), reason=str(error))
                self._refuse(entries, EntryRefused(str(error)))
                return {entries[0].execution_id}
            return await self._halve(entries)
        except Exception:
            self._refuse(entries, OutcomeLost())
            raise
        if result is None:
            return set()
        self._telemetry.flushed(
            rows=sum(len(entry.rows) for entry in entries),
            entries=len(entries),
            seconds=self._clock.monotonic() - begun,
        )
        self._committed(entries, result)
        return set()

    async def _halve(self, entries: Sequence[Entry]) -> set[UUID]:
        middle = len(entries) // 2
        failed = await self._write(entries[:middle])
        rest = [entry for entry in entries[middle:] if entry.execution_id not in failed]
        self._refuse(
            [entry for entry in entries[middle:] if entry.execution_id in failed],
            EntryRefused("an entry before it failed"),
        )
        return failed | (await self._write(rest) if rest else set())

    async def _commit(self, entries: Sequence[Entry]) -> FlushResult | None:
        """One flush, until its outcome is known. None if the runner was fenced; the entries are refused then.

        The process may have become another runner meanwhile: a flush belongs to the runner that began it, and what
        it brings is for nobody then, not even if it was committed.
        """
        runner_id, flush = self._runner_id, lay_out(entries, self._flushed + 1)
        failpoints.hit("journal.before_flush")
        was_unknown = False
        while True:
            try:
                result = await self._ledger.flush(runner_id, flush)
            except OutcomeUnknown as error:
                log.warning("journal.outcome_unknown", flush=flush.number, entries=len(entries), reason=str(error))
                self.is_connected = False
                was_unknown = True
                await self._reconnect(runner_id)
                if not self._is(runner_id):
                    break
                continue
            failpoints.hit("journal.after_flush")
            is_again = not result.alive and await self._was_committed(runner_id, flush.number)
            if not (result.alive or is_again):
                log.error("journal.fenced", runner_id=runner_id, entries=len(entries))
                self._telemetry.fenced()
                break
            was_unknown = True
            if not self._is(runner_id):
                break
            self._flushed = flush.number
            return await self._recheck(runner_id, entries) if is_again else result
        self._refuse(entries, OutcomeLost() if was_unknown else Fenced())
        if self._is(runner_id):
            self._give_up()
        return None

    def _is(self, runner_id: int) -> bool:
        """Whether this is still the journal of that runner."""
        return self._runner_id == runner_id and not self.is_fenced

    async def _was_committed(self, runner_id: int, number: int) -> bool:
        """After a flush that did nothing: whether that is because it had been done already."""
        while True:
            try:
                last = await self._ledger.last_flush(runner_id)
                return last is not None and last >= number
            except (OSError, RuntimeError, TimeoutError) as error:
                log.warning("journal.unreachable", reason=str(error))
                await self._reconnect(runner_id)
                if not self._is(runner_id):
                    return False

    async def _reconnect(self, runner_id: int) -> None:
        delay = 0.05
        while self._is(runner_id):
            try:
                await self._ledger.reopen_journal()
            except Exception as error:  # noqa: BLE001 - whatever the driver raises, it is tried again
                log.warning("journal.reconnecting", delay=delay, reason=str(error))
                await asyncio.sleep(delay)
                delay = min(1.0, delay * 2)
            else:
                self.is_connected = True
                return

    async def _recheck(self, runner_id: int, entries: Sequence[Entry]) -> FlushResult:
        starts = [start["execution_id"] for entry in entries for start in entry.starts]
        parks = [entry.execution_id for entry in entries if entry.park is not None]
        lost, parked = await self._ledger.recheck(runner_id, starts, parks)
        told = tuple((notice["execution_id"], None) for entry in entries for notice in entry.notices)
        return FlushResult(alive=True, lost=lost, parked=parked, woken=told)

    def _committed(self, entries: Sequence[Entry], result: FlushResult) -> None:
        for entry in entries:
            if entry.execution_id in result.foreign:
                log.error("journal.foreign_execution", execution_id=str(entry.execution_id))
                entry.refused(entry, EntryRefused("the execution is owned by another runner"))
                continue
            is_lost = entry.execution_id in result.lost
            parked = entry.park is not None and entry.execution_id in result.parked
            self._unreleased.append((entry, Committed(is_lost=is_lost, parked=parked)))
        for execution_id, owner in result.woken:
            self._on_woken(execution_id, owner)

    def _release(self, count: int) -> None:
        """Let the oldest committed entries take effect. One that cannot harms only its own execution."""
        for _ in range(min(count, len(self._unreleased))):
            entry, committed = self._unreleased.popleft()
            try:
                entry.released(entry, committed)
            except Exception:
                log.exception("journal.release_failed", execution_id=str(entry.execution_id))
                entry.refused(entry, OutcomeLost())
                self._on_spoiled(entry.execution_id)
        if count:
            failpoints.hit("journal.after_release")

    def fence(self) -> None:
        """The runner was reaped: what is queued will not be, what is committed has no owner here any more.

        An open flush finds out by itself.
        """
        self.is_fenced = True
        queued, self._queue = list(self._queue), deque()
        committed, self._unreleased = [entry for entry, _ in self._unreleased], deque()
        self._refuse(committed, OutcomeLost())
        self._refuse(queued, Fenced())

    def _give_up(self) -> None:
        self.fence()
        self._on_fenced()

    def _refuse(self, entries: Sequence[Entry], error: Exception) -> None:
        for entry in entries:
            entry.refused(entry, error)
