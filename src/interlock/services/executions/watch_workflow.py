"""Watch all executions of a workflow or a tenant, live: nothing is replayed, nothing is promised across executions.

An execution is followed from its first hint on, from where it stood when the watch was opened, until it has ended or
been quiet for longer than others. Hints may be lost, so the newest executions are looked at now and then as well.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Iterable
from typing import TypeVar
from uuid import UUID

import structlog

from interlock.core.errors import ErrorKind, InterlockError, not_found
from interlock.core.ids import WorkflowId
from interlock.core.principal import Principal, Scope
from interlock.kit.clock import Clock
from interlock.ports.bus import Bus
from interlock.ports.store import ExecutionFilter, ExecutionRow, Store
from interlock.services.executions.watch import Fact, Watch, WatchExecutions

LOOK_SECONDS = 1.0
"""How soon a new execution is noticed whose hints were lost."""
MAX_FOLLOWED = 1_000
"""Executions followed at once; beyond that the one that was quiet for longest is let go until it moves again."""
_PAGE = 200
_STANDING = 10_000  # living executions whose standing is noted at the start
_REMEMBERED = 50_000

_AWAY = (ErrorKind.UNAVAILABLE, ErrorKind.TIMEOUT)  # what the database says when it may be back later

_Value = TypeVar("_Value")
_log = structlog.get_logger("interlock.watch")


class WorkflowWatch:
    """One reader of many executions: those of a workflow, or of a tenant."""

    def __init__(
        self,
        store: Store,
        watch: WatchExecutions,
        bus: Bus,
        clock: Clock,
        principal: Principal,
        wanted: ExecutionFilter,
    ) -> None:
        self._store = store
        self._watch = watch
        self._clock = clock
        self._principal = principal
        self._wanted = wanted
        self._event = asyncio.Event()
        self._hints = bus.follow_tenant(principal.tenant_id, self._event.set)
        self._followed: OrderedDict[UUID, Watch] = OrderedDict()  # the one that moved last at the end
        self._ready: dict[UUID, None] = {}  # followed ones that may have something
        self._standing: OrderedDict[UUID, int] = OrderedDict()  # the last number shown, or there at the start
        self._others: OrderedDict[UUID, None] = OrderedDict()  # not wanted, or not to be seen
        self._oldest: UUID | None = None  # executions older than this one have no standing
        self._unknown: set[UUID] = set()  # what moved and was not looked up yet
        self._looked = float("-inf")
        self._is_woken = False

    async def open(self) -> None:
        """Take stock: what lives already is shown from here on, what ended is not."""
        living = ExecutionFilter(workflow_id=self._wanted.workflow_id, kind=self._wanted.kind, limit=_STANDING)
        async with self._store.transaction(self._principal, read_only=True) as transaction:
            standing = await transaction.living_seqs(living)
            newest = await transaction.list_executions(self._wanted)
        if len(standing) == _STANDING:
            self._oldest = min(standing)
        self._standing.update(standing)
        self._standing.update({row.execution_id: row.last_seq for row in newest.items})
        self._looked = self._clock.monotonic()

    async def next(self, timeout: float) -> list[tuple[Watch, Fact]]:
        """What happened since the last call; nothing after ``timeout`` seconds or a ``wake``. Never ends by itself."""
        until = self._clock.monotonic() + timeout
        while not self._is_woken:
            self._event.clear()
            await self._notice()
            facts = await self._take()
            now = self._clock.monotonic()
            if facts or now >= until:
                return facts
            await self._pause(min(until, self._looked + LOOK_SECONDS) - now)
        self._is_woken = False
        return []

    def wake(self) -> None:
        """Make a waiting ``next`` return."""
        self._is_woken = True
        self._event.set()

    def close(self) -> None:
        """Stop reading. May be called again."""
        self._hints.close()
        for watch in self._followed.values():
            watch.close()
        self._followed.clear()

    async def _pause(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._event.wait()
        except TimeoutError:
            pass  # time to look for lost hints

    async def _notice(self) -> None:
        """Follow what moved and is not followed yet."""
        self._unknown |= {one for one in self._hints.take() if one not in self._followed and one not in self._others}
        try:
            while self._unknown:
                await self._find(list(self._unknown)[:_PAGE])
            if self._clock.monotonic() - self._looked >= LOOK_SECONDS:
                await self._look()
        except InterlockError as error:
            if error.kind not in _AWAY:
                raise
            _log.warning("watch.look_failed", code=error.code)

    async def _find(self, execution_ids: list[UUID]) -> None:
        async with self._store.transaction(self._principal, read_only=True) as transaction:
            rows = await transaction.executions_among(self._wanted, execution_ids)
        await self._follow(rows)
        self._unknown.difference_update(execution_ids)
        for execution_id in {*execution_ids}.difference(row.execution_id for row in rows):
            _remember(self._others, execution_id, None)

    async def _look(self) -> None:
        """Follow the newest of those whose hints were lost."""
        self._looked = self._clock.monotonic()
        async with self._store.transaction(self._principal, read_only=True) as transaction:
            page = await transaction.list_executions(self._wanted)
        await self._follow(reversed(page.items))

    async def _follow(self, rows: Iterable[ExecutionRow]) -> None:
        for row in rows:
            after = self._stood(row)
            if row.execution_id not in self._followed and row.last_seq > after:
                await self._begin(row, after)
        while len(self._followed) > MAX_FOLLOWED:
            self._leave(next(iter(self._followed)))

    def _stood(self, row: ExecutionRow) -> int:
        """The number behind which an execution is shown."""
        begun_earlier = self._oldest is not None and row.execution_id < self._oldest
        return self._standing.get(row.execution_id, row.last_seq - 1 if begun_earlier else 0)

    async def _begin(self, row: ExecutionRow, after: int) -> None:
        execution_id = row.execution_id
        self._followed[execution_id] = await self._watch.follow(
            self._principal, row, after, lambda: self._is_ready(execution_id)
        )
        self._is_ready(execution_id)

    def _is_ready(self, execution_id: UUID) -> None:
        self._ready[execution_id] = None
        self._event.set()

    def _leave(self, execution_id: UUID) -> None:
        watch = self._followed.pop(execution_id)
        watch.close()
        _remember(self._standing, execution_id, watch.seq)

    async def _take(self) -> list[tuple[Watch, Fact]]:
        found: list[tuple[Watch, Fact]] = []
        ready, self._ready = self._ready, {}
        for execution_id in ready:
            watch = self._followed.get(execution_id)
            if watch is None:
                continue
            try:
                facts = await watch.take()
            except StopAsyncIteration:
                self._leave(execution_id)
                continue
            found.extend((watch, fact) for fact in facts)
            if watch.is_over:
                self._leave(execution_id)
            elif facts:
                self._followed.move_to_end(execution_id)
                self._is_ready(execution_id)  # there may be more
        return found


def _remember(kept: OrderedDict[UUID, _Value], key: UUID, value: _Value) -> None:
    """Keep a value, and let the oldest go if there are too many."""
    kept[key] = value
    kept.move_to_end(key)
    if len(kept) > _REMEMBERED:
        kept.popitem(last=False)


class WatchWorkflows:
    """Open live watches over a workflow's executions."""

    def __init__(self, store: Store, watch: WatchExecutions, bus: Bus, clock: Clock) -> None:
        self._store = store
        self._watch = watch
        self._bus = bus
        self._clock = clock

    async def __call__(self, principal: Principal, workflow_id: UUID) -> WorkflowWatch:
        """Watch everything from now on. Raises DENIED, NOT_FOUND."""
        await self.prove(principal, workflow_id)
        return await self._open(principal, ExecutionFilter(workflow_id=workflow_id, limit=_PAGE))

    async def tenant(self, principal: Principal, kind: str) -> WorkflowWatch:
        """Watch all executions of a kind that the caller may see, from now on. Raises DENIED."""
        principal.require(Scope.EXECUTIONS_READ)
        return await self._open(principal, ExecutionFilter(kind=kind, limit=_PAGE))

    async def _open(self, principal: Principal, wanted: ExecutionFilter) -> WorkflowWatch:
        watch = WorkflowWatch(self._store, self._watch, self._bus, self._clock, principal, wanted)
        try:
            await watch.open()
        except BaseException:
            watch.close()
            raise
        return watch

    async def prove(self, principal: Principal, workflow_id: UUID) -> None:
        """Check that the caller may watch. Raises DENIED, NOT_FOUND."""
        principal.require(Scope.EXECUTIONS_READ)
        if await self._store.head(principal, WorkflowId(workflow_id)) is None:
            raise not_found("NOT_FOUND", f"There is no workflow {workflow_id}")
