"""Watch an execution: read its log after a number, then follow it, until it has ended.

The last event is that of the end, or a callback that came too late and was written behind it.

All readers of one execution in this process share a feed: what is committed here comes to it without reading, any
other hint means one query for all of them, and a fact is framed once per door. A reader is only a number in the log,
so a slow one costs nothing: it falls behind the feed's window and reads pages of the log on its own until it has
caught up.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from uuid import UUID

import msgspec
import structlog

from interlock.core.errors import ErrorKind, InterlockError
from interlock.core.events import TERMINAL
from interlock.core.execution import ENDED
from interlock.core.ids import VersionId
from interlock.core.principal import Principal, Scope
from interlock.core.workflow import Definition, GraphDefinition
from interlock.ports.bus import Bus, LogRow
from interlock.ports.store import EventRecord, ExecutionRow, Store
from interlock.services.executions.access import unknown_execution, visible
from interlock.services.executions.polling import Polling

WINDOW = 1_000
"""Events a feed keeps for its readers."""
BATCH = 100
"""Events a reader gets at once, and a feed reads at once: what is read in one go holds up everybody else."""
_TAIL = 2 * BATCH  # how much of the past a feed begins with
_LONG = 3_600.0  # seconds; hints come, and polling looks for those that were lost
_LAST = frozenset(kind.type for kind in TERMINAL)

_log = structlog.get_logger("interlock.watch")


class Fact:
    """A stored event on its way to readers. ``frames`` holds what doors made of it, by the door's word."""

    __slots__ = ("frames", "record")

    def __init__(self, record: EventRecord) -> None:
        self.record = record
        self.frames: dict[str, bytes] = {}


class Feed:
    """The newest events of one execution, kept current while anybody reads."""

    def __init__(
        self, execution_id: UUID, store: Store, bus: Bus, polling: Polling, after: int, *, has_ended: bool
    ) -> None:
        self.execution_id = execution_id
        self._store = store
        self._subscription = bus.follow(execution_id)
        self._polling = polling
        self._floor = after  # number of the last event before the window
        self._window: list[Fact] = []
        self._readers: dict[Watch, None] = {}
        self._pump: asyncio.Task[None] | None = None
        self._failure: BaseException | None = None
        self._has_ended = has_ended
        self._is_reading = False
        self.is_complete = False
        polling.add(self)

    @property
    def principal(self) -> Principal:
        """Whose claims the log is read under: any reader's, for each has shown that it may see all of it."""
        return next(iter(self._readers)).principal

    @property
    def last(self) -> int:
        """The number of the newest event that was taken in."""
        return self._floor + len(self._window)

    def look(self) -> None:
        """Read the log: there is more."""
        self._subscription.hint()

    def join(self, reader: Watch) -> None:
        """Serve a reader from now on."""
        self._readers[reader] = None
        if self._pump is None:
            self._pump = asyncio.create_task(self._follow())
            self._pump.add_done_callback(self._ended)

    def leave(self, reader: Watch) -> None:
        """Forget a reader; with the last one the feed ends. A reader may leave again."""
        if reader not in self._readers:
            return
        del self._readers[reader]
        if not self._readers:
            self._polling.remove(self)
            self._subscription.close()
            if self._pump is not None and not self._is_reading:
                self._pump.cancel()

    def after(self, seq: int) -> list[Fact] | None:
        """The next facts behind ``seq``; None if the window begins later. Raises what ended the feed, if it broke."""
        if self._failure is not None:
            raise self._failure
        if seq < self._floor:
            return None
        begin = seq - self._floor
        return self._window[begin : begin + BATCH]

    async def _follow(self) -> None:
        await self._read()
        while self._readers and not self.is_complete:
            await self._subscription.wait(_LONG)
            given = self._subscription.given()
            if given is None or not self._take_given(given):
                await self._read()

    def _ended(self, pump: asyncio.Task[None]) -> None:
        """A feed that broke says so to its readers, or they would wait for ever."""
        self._failure = None if pump.cancelled() else pump.exception()
        for reader in self._readers:
            reader.wake()

    async def _read(self) -> None:
        """Read what is new, page by page, as long as anybody wants it.

        A page is never broken off: that would cost its database connection, and everybody else the time for a new one.
        """
        self._is_reading = True
        try:
            more = True
            while more and self._readers:
                records = await self._page()
                self._take(records)
                more = len(records) == BATCH
            if not more:
                self._complete()
        except InterlockError as error:
            # The database is away or slow; the readers keep waiting and polling finds what is missing.
            _log.warning("watch.read_failed", execution_id=str(self.execution_id), code=error.code)
        finally:
            self._is_reading = False

    async def _page(self) -> list[EventRecord]:
        async with self._store.transaction(self.principal, read_only=True) as transaction:
            return await transaction.events(self.execution_id, self.last, BATCH)

    def _take_given(self, rows: Sequence[LogRow]) -> bool:
        """Take in events that were committed here; False if some before them are missing."""
        new = [row for row in rows if row[1] > self.last]
        if [row[1] for row in new] != list(range(self.last + 1, self.last + 1 + len(new))):
            return False
        self._take([_record(row) for row in new])
        self._complete()
        return True

    def _take(self, records: list[EventRecord]) -> None:
        if not records:
            return
        self._window.extend(map(Fact, records))
        self._has_ended = self._has_ended or any(record.type in _LAST for record in records)
        surplus = len(self._window) - WINDOW
        if surplus > WINDOW // 2:
            del self._window[:surplus]
            self._floor += surplus
        for reader in self._readers:
            reader.wake()

    def _complete(self) -> None:
        """What there is was read; of an execution that has ended nothing more is waited for."""
        if self._has_ended:
            self.is_complete = True
            for reader in self._readers:
                reader.wake()

    def is_read(self, seq: int) -> bool:
        """Whether nothing will come behind number ``seq`` any more."""
        return self.is_complete and seq >= self.last


class Watch:
    """One reader. ``seq`` is the number of the last event it got."""

    def __init__(
        self,
        feed: Feed,
        store: Store,
        principal: Principal,
        row: ExecutionRow,
        definition: Definition | None,
        after: int,
        on_wake: Callable[[], None] | None = None,
    ) -> None:
        self._feed = feed
        self._store = store
        self._event = asyncio.Event()
        self._on_wake = on_wake or self._event.set
        self.is_over = False
        self.principal = principal
        self.row = row
        self.names = node_names(definition)
        self.seq = after
        feed.join(self)

    async def next(self, timeout: float) -> list[Fact]:
        """The next facts, in order and without gaps; none after ``timeout`` seconds or a ``wake``.

        Raises StopAsyncIteration behind the last event of the execution.
        """
        self._event.clear()
        facts = await self.take()
        if facts:
            return facts
        try:
            async with asyncio.timeout(timeout):
                await self._event.wait()
        except TimeoutError:
            return []
        return await self.take()

    async def take(self) -> list[Fact]:
        """What is there without waiting for more. Raises StopAsyncIteration behind the last event."""
        if self.is_over:
            raise StopAsyncIteration
        facts = self._feed.after(self.seq)
        if facts is None:
            facts = await self._read_page()
        elif not facts and self._feed.is_complete:
            raise StopAsyncIteration  # it had asked for numbers that never came
        if facts:
            self.seq = facts[-1].record.seq
            self.is_over = self._feed.is_read(self.seq)
        return facts

    async def _read_page(self) -> list[Fact]:
        async with self._store.transaction(self.principal, read_only=True) as transaction:
            records = await transaction.events(self.row.execution_id, self.seq, BATCH)
        return [Fact(record) for record in records]

    def wake(self) -> None:
        """Make a waiting ``next`` look again; or call ``on_wake``, for those that ``take``."""
        self._on_wake()

    def close(self) -> None:
        """Stop reading. May be called again."""
        self._feed.leave(self)


class WatchExecutions:
    """Open watches. A watch is opened only by who may read the execution, and may be asked to prove it again."""

    def __init__(self, store: Store, bus: Bus) -> None:
        self._store = store
        self._bus = bus
        self._polling = Polling(store)

    @property
    def feeds(self) -> int:
        """How many executions are being followed here."""
        return len(self._polling)

    async def __call__(self, principal: Principal, execution_id: UUID, after: int) -> Watch | None:
        """Watch everything behind number ``after``; None if the execution has ended and nothing is left there.

        Raises DENIED, NOT_FOUND, GONE if events behind ``after`` were purged.
        """
        principal.require(Scope.EXECUTIONS_READ)
        async with self._store.transaction(principal, read_only=True) as transaction:
            row = await transaction.execution(execution_id)
            if row is None:
                raise unknown_execution(execution_id)
            first = await transaction.events(execution_id, after, 1)
        if first and first[0].seq != after + 1:
            message = f"Events up to {first[0].seq - 1} were purged; begin again after that number"
            raise InterlockError(ErrorKind.GONE, "HISTORY_PURGED", message, details={"first": first[0].seq})
        if not first and row.status in ENDED:
            return None
        return await self.follow(principal, row, after)

    async def follow(
        self, principal: Principal, row: ExecutionRow, after: int, on_wake: Callable[[], None] | None = None
    ) -> Watch:
        """Watch an execution whose row the caller was just shown, with something behind ``after`` or to come.

        ``on_wake`` is called whenever there may be something to ``take``.
        """
        version = await self._store.version(principal, VersionId(row.version_id))
        feed = self._polling.find(row.execution_id)
        if not isinstance(feed, Feed):
            # A reader may wait for numbers that are still to come, or read a long past, which it does on its own.
            floor = max(min(after, row.last_seq), row.last_seq - _TAIL)
            has_ended = row.status in ENDED
            feed = Feed(row.execution_id, self._store, self._bus, self._polling, floor, has_ended=has_ended)
        return Watch(feed, self._store, principal, row, version.definition if version else None, after, on_wake)

    async def prove(self, principal: Principal, execution_id: UUID) -> None:
        """Check again that the caller may watch. Raises DENIED, NOT_FOUND."""
        principal.require(Scope.EXECUTIONS_READ)
        await visible(self._store, principal, execution_id)


def node_names(definition: Definition | None) -> Mapping[str, str]:
    """What the author calls each node, by its id."""
    if isinstance(definition, GraphDefinition):
        return {node.id: node.name or node.id for node in definition.nodes}
    return {}


def _record(row: LogRow) -> EventRecord:
    """An event as reading the log would give it."""
    _, seq, kind, data, text, at, trace_id = row
    refs = None if text is None else msgspec.json.decode(text)
    return EventRecord(seq=seq, type=kind, data=data, refs=refs, at=at, trace_id=trace_id)
