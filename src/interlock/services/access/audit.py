"""The audit log: written beside the calls it tells of, read by administrators."""

from __future__ import annotations

import asyncio
from collections import deque

import structlog

from interlock.core.audit import AuditEntry, AuditFilter
from interlock.core.principal import Principal, Scope
from interlock.ports.access import AccessStore
from interlock.ports.store import Page, Store

MAX_WAITING = 20_000
"""Entries kept in memory while the database does not take them; beyond that new ones are counted and lost."""
BATCH = 500


class AuditLog:
    """Notes entries at once and writes them together, within about half a second.

    Entries that are noted and not yet written are lost with the process, and nothing else is; ``flush`` writes them.
    """

    def __init__(self, access: AccessStore, store: Store) -> None:
        self._access = access
        self._store = store
        self._waiting: deque[AuditEntry] = deque()
        self._turn = asyncio.Lock()
        self._lost = 0
        self._log = structlog.get_logger(__name__)

    def note(self, entry: AuditEntry) -> None:
        """Take an entry. Never waits and never raises."""
        if len(self._waiting) >= MAX_WAITING:
            self._lost += 1
        else:
            self._waiting.append(entry)

    async def flush(self) -> None:
        """Write what was noted. Raises what the store raises; then nothing of the batch is lost."""
        async with self._turn:
            while self._waiting:
                batch = [self._waiting[number] for number in range(min(BATCH, len(self._waiting)))]
                await self._access.write_audit(batch)
                for _ in batch:
                    self._waiting.popleft()
        if self._lost:
            self._log.error("audit.lost", entries=self._lost, meaning="the database took no entries for too long")
            self._lost = 0

    async def list(self, principal: Principal, wanted: AuditFilter) -> Page:
        """Entries of the caller's tenant, newest first, with those noted so far. Raises DENIED."""
        principal.require(Scope.ADMIN)
        await self.flush()
        async with self._store.transaction(principal, read_only=True) as transaction:
            return await transaction.list_audit(wanted)
