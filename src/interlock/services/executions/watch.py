"""Watch an execution: read its log after a number, then follow it, until its last event.

All readers of one execution in this process share a feed: a hint means one query for all of them, and a fact is
framed once per door. A reader is only a number in the log, so a slow one costs nothing: it falls behind the feed's
window and reads pages of the log on its own until it has caught up.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from uuid import UUID

import structlog

from interlock.core.errors import ErrorKind, InterlockError
from interlock.core.events import TERMINAL
from interlock.core.execution import ENDED
from interlock.core.ids import VersionId
from interlock.core.principal import Principal, Scope
from interlock.core.workflow import Definition, GraphDefinition
from interlock.ports.bus import Bus
from interlock.ports.store import EventRecord, ExecutionRow, Store
from interlock.services.executions.access import unknown_execution, visible

WINDOW = 1_000
"""Events a feed keeps for its readers."""
BATCH = 100
"""Events a reader gets at once."""
POLL_SECONDS = 1.0
"""How long a lost hint can delay an event."""
_PAGE = 500
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

    def __init__(self, execution_id: UUID, store: Store, bus: Bus, feeds: dict[UUID, Feed], after: int) -> None:
        self._execution_id = execution_id
        self._store = store
        self._bus = bus
        self._feeds = feeds
        self._floor = after  # number of the last event before the window
        self._window: list[Fact] = []
        self._readers: dict[Watch, None] = {}
        self._pump: asyncio.Task[None] | None = None
        self._failure: BaseException | None = None
        self.is_complete = False

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
            del self._feeds[self._execution_id]
            if self._pump is not None:
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
        subscription = self._bus.follow(self._execution_id)
        try:
            await self._read()
            while not self.is_complete:
                await subscription.wait(POLL_SECONDS)
                await self._read()
        finally:
            subscription.close()

    def _ended(self, pump: asyncio.Task[None]) -> None:
        """A feed that broke says so to its readers, or they would wait for ever."""
        self._failure = None if pump.cancelled() else pump.exception()
        for reader in self._readers:
            reader.wake()

    async def _read(self) -> None:
        try:
            more = True
            while more and not self.is_complete:
                records = await self._page()
                self._take(records)
                more = len(records) == _PAGE
        except InterlockError as error:
            # The database is away or slow; the readers keep waiting and the next poll tries again.
            _log.warning("watch.read_failed", execution_id=str(self._execution_id), code=error.code)

    async def _page(self) -> list[EventRecord]:
        """The next events, under the claims of one of the readers; each has shown that it may see them all."""
        principal = next(iter(self._readers)).principal
        async with self._store.transaction(principal, read_only=True) as transaction:
            return await transaction.events(self._execution_id, self._floor + len(self._window), _PAGE)

    def _take(self, records: list[EventRecord]) -> None:
        if not records:
            return
        self._window.extend(map(Fact, records))
        self.is_complete = records[-1].type in _LAST
        surplus = len(self._window) - WINDOW
        if surplus > WINDOW // 2:
            del self._window[:surplus]
            self._floor += surplus
        for reader in self._readers:
            reader.wake()


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
        event: asyncio.Event | None = None,
    ) -> None:
        self._feed = feed
        self._store = store
        self._event = event or asyncio.Event()
        self._is_over = False
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
        if self._is_over:
            raise StopAsyncIteration
        facts = self._feed.after(self.seq)
        if facts is None:
            facts = await self._read_page()
        elif not facts and self._feed.is_complete:
            raise StopAsyncIteration  # it had asked for numbers that never came
        if facts:
            self.seq = facts[-1].record.seq
            self._is_over = facts[-1].record.type in _LAST
        return facts

    async def _read_page(self) -> list[Fact]:
        async with self._store.transaction(self.principal, read_only=True) as transaction:
            records = await transaction.events(self.row.execution_id, self.seq, BATCH)
        return [Fact(record) for record in records]

    def wake(self) -> None:
        """Make a waiting ``next`` look again."""
        self._event.set()

    def close(self) -> None:
        """Stop reading. May be called again."""
        self._feed.leave(self)


class WatchExecutions:
    """Open watches. A watch is opened only by who may read the execution, and may be asked to prove it again."""

    def __init__(self, store: Store, bus: Bus) -> None:
        self._store = store
        self._bus = bus
        self._feeds: dict[UUID, Feed] = {}

    @property
    def feeds(self) -> int:
        """How many executions are being followed here."""
        return len(self._feeds)

    async def __call__(
        self, principal: Principal, execution_id: UUID, after: int, event: asyncio.Event | None = None
    ) -> Watch | None:
        """Watch everything behind number ``after``; None if the execution has ended and nothing is left there.

        ``event`` is set whenever there may be something new. Raises DENIED, NOT_FOUND, GONE if events behind
        ``after`` were purged.
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
        version = await self._store.version(principal, VersionId(row.version_id))
        feed = self._feeds.get(execution_id)
        if feed is None:
            floor = min(after, row.last_seq)  # a reader may wait for numbers that are still to come
            feed = self._feeds[execution_id] = Feed(execution_id, self._store, self._bus, self._feeds, floor)
        return Watch(feed, self._store, principal, row, version.definition if version else None, after, event)

    async def prove(self, principal: Principal, execution_id: UUID) -> None:
        """Check again that the caller may watch. Raises DENIED, NOT_FOUND."""
        principal.require(Scope.EXECUTIONS_READ)
        await visible(self._store, principal, execution_id)


def node_names(definition: Definition | None) -> Mapping[str, str]:
    """What the author calls each node, by its id."""
    if isinstance(definition, GraphDefinition):
        return {node.id: node.name or node.id for node in definition.nodes}
    return {}
