"""Watch all executions of a workflow, live: nothing is replayed, and nothing is promised across executions."""

from __future__ import annotations

import asyncio
from uuid import UUID

import structlog

from interlock.core.errors import InterlockError, not_found
from interlock.core.execution import ENDED
from interlock.core.ids import WorkflowId
from interlock.core.principal import Principal, Scope
from interlock.kit.clock import Clock
from interlock.ports.store import ExecutionFilter, ExecutionRow, Store
from interlock.services.executions.watch import Fact, Watch, WatchExecutions

LOOK_SECONDS = 1.0
"""How soon a new execution is noticed."""
MAX_FOLLOWED = 200
"""Executions followed at once; more than that are not shown until others end."""

_log = structlog.get_logger("interlock.watch")


class WorkflowWatch:
    """One reader of many executions: those of a workflow, or of a tenant."""

    def __init__(
        self, store: Store, watch: WatchExecutions, clock: Clock, principal: Principal, wanted: ExecutionFilter
    ) -> None:
        self._store = store
        self._watch = watch
        self._clock = clock
        self._principal = principal
        self._wanted = wanted
        self._event = asyncio.Event()
        self._followed: dict[UUID, Watch] = {}
        self._seen: dict[UUID, None] = {}
        self._looked = float("-inf")
        self._is_woken = False

    async def next(self, timeout: float) -> list[tuple[Watch, Fact]]:
        """What happened since the last call; nothing after ``timeout`` seconds or a ``wake``. Never ends by itself."""
        until = self._clock.monotonic() + timeout
        while not self._is_woken:
            if self._clock.monotonic() - self._looked >= LOOK_SECONDS:
                await self._look()
            facts = await self._take()
            left = until - self._clock.monotonic()
            if facts or left <= 0:
                return facts
            await self._pause(min(left, LOOK_SECONDS))
        self._is_woken = False
        return []

    def wake(self) -> None:
        """Make a waiting ``next`` return."""
        self._is_woken = True
        self._event.set()

    def close(self) -> None:
        """Stop reading. May be called again."""
        for watch in self._followed.values():
            watch.close()
        self._followed.clear()

    async def _pause(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._event.wait()
        except TimeoutError:
            pass  # time to look for new executions

    async def _take(self) -> list[tuple[Watch, Fact]]:
        self._event.clear()
        found: list[tuple[Watch, Fact]] = []
        for execution_id, watch in list(self._followed.items()):
            try:
                found.extend((watch, fact) for fact in await watch.take())
            except StopAsyncIteration:
                watch.close()
                del self._followed[execution_id]
        return found

    async def open(self) -> None:
        """Take stock: what runs already is followed from here on, what ended is not shown."""
        for row in await self._newest():
            self._seen[row.execution_id] = None
            if row.status not in ENDED:
                await self._follow(row, row.last_seq)

    async def _look(self) -> None:
        """Follow what began since the last look, from its first event."""
        self._looked = self._clock.monotonic()
        for row in await self._newest():
            if row.execution_id not in self._seen and len(self._followed) < MAX_FOLLOWED:
                self._seen[row.execution_id] = None
                await self._follow(row, 0)
        while len(self._seen) > 10 * MAX_FOLLOWED:
            del self._seen[next(iter(self._seen))]

    async def _newest(self) -> list[ExecutionRow]:
        """The newest of the executions that are watched, in the order they began."""
        async with self._store.transaction(self._principal, read_only=True) as transaction:
            page = await transaction.list_executions(self._wanted)
        return list(reversed(page.items))

    async def _follow(self, row: ExecutionRow, after: int) -> None:
        try:
            watch = await self._watch(self._principal, row.execution_id, after, self._event)
        except InterlockError as error:
            # Purged, or no longer visible, since the page was read: it is simply not shown.
            _log.info("watch.not_followed", execution_id=str(row.execution_id), code=error.code)
            return
        if watch is not None:
            self._followed[row.execution_id] = watch


class WatchWorkflows:
    """Open live watches over a workflow's executions."""

    def __init__(self, store: Store, watch: WatchExecutions, clock: Clock) -> None:
        self._store = store
        self._watch = watch
        self._clock = clock

    async def __call__(self, principal: Principal, workflow_id: UUID) -> WorkflowWatch:
        """Watch everything from now on. Raises DENIED, NOT_FOUND."""
        await self.prove(principal, workflow_id)
        return await self._open(principal, ExecutionFilter(workflow_id=workflow_id, limit=MAX_FOLLOWED))

    async def tenant(self, principal: Principal, kind: str) -> WorkflowWatch:
        """Watch all executions of a kind that the caller may see, from now on. Raises DENIED."""
        principal.require(Scope.EXECUTIONS_READ)
        return await self._open(principal, ExecutionFilter(kind=kind, limit=MAX_FOLLOWED))

    async def _open(self, principal: Principal, wanted: ExecutionFilter) -> WorkflowWatch:
        watch = WorkflowWatch(self._store, self._watch, self._clock, principal, wanted)
        await watch.open()
        return watch

    async def prove(self, principal: Principal, workflow_id: UUID) -> None:
        """Check that the caller may watch. Raises DENIED, NOT_FOUND."""
        principal.require(Scope.EXECUTIONS_READ)
        if await self._store.head(principal, WorkflowId(workflow_id)) is None:
            raise not_found("NOT_FOUND", f"There is no workflow {workflow_id}")
