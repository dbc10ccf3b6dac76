"""The audit log: written beside the calls it tells of, read by administrators."""

from __future__ import annotations

import asyncio
from collections import deque

import msgspec
import structlog

from interlock.core.audit import AuditEntry, AuditFilter
from interlock.core.errors import ErrorKind, InterlockError
from interlock.core.principal import LOCAL_TENANT, Principal, Scope
from interlock.core.tenant import is_operator
from interlock.kit.clock import Clock
from interlock.ports.audit import AuditTrail
from interlock.ports.store import Page, Store

MAX_WAITING = 20_000
"""Entries kept in memory while the database does not take them; beyond that new ones are counted and lost."""
BATCH = 500
RECORD_SECONDS = 2.0
"""How long a call waits until its entry is stored."""
KEPT_DAYS = 400
PURGED_AT_ONCE = 5_000
STRANGERS_A_SECOND = 50
"""Entries of callers without a tenant that are kept in one second: being refused costs nothing, so they can be many."""
NO_TENANT = ""
"""The tenant of entries whose callers no credential named."""
_REFUSED_ACCESS = frozenset({401, 403, 429})

_Kind = tuple[str, str, str, str, int, str]


class AuditLog:
    """Notes entries at once and writes them together, those of many calls in one statement.

    An entry that was recorded is stored. One that was only noted is written within about half a second, and lost with
    the process before that; until then refusals of access that are alike (caller, address, action, code) are one entry
    with their number. Entries older than ``days`` are cleared away a few at a time.
    """

    def __init__(self, trail: AuditTrail, store: Store, clock: Clock, days: int = KEPT_DAYS) -> None:
        self._trail = trail
        self._store = store
        self._clock = clock
        self._days = days
        self._waiting: deque[AuditEntry] = deque()
        self._refused: dict[_Kind, tuple[AuditEntry, int]] = {}
        self._taken = 0
        self._written = 0
        self._turn = asyncio.Lock()
        self._lost = 0
        self._second = 0
        self._strangers = 0
        self._left_out = 0
        self._log = structlog.get_logger(__name__)

    def note(self, entry: AuditEntry) -> None:
        """Take an entry. Never waits and never raises. Of a flood by callers without a tenant only a part is kept."""
        if entry.status in _REFUSED_ACCESS:
            self._note_refused(entry)
        elif self._has_room(entry):
            self._take(entry)

    def _note_refused(self, entry: AuditEntry) -> None:
        """A caller who does not stop at a refusal is one entry until the next are written."""
        kind = (entry.tenant_id, entry.subject, entry.client, entry.action, entry.status, entry.code)
        known = self._refused.get(kind)
        if known is not None:
            self._refused[kind] = known[0], known[1] + 1
        elif self._has_room(entry):
            self._refused[kind] = entry, 1

    def _has_room(self, entry: AuditEntry) -> bool:
        if not entry.tenant_id and self._is_flood():
            self._left_out += 1
            return False
        if len(self._waiting) + len(self._refused) >= MAX_WAITING:
            self._lost += 1
            return False
        return True

    def _take(self, entry: AuditEntry) -> None:
        self._waiting.append(entry)
        self._taken += 1

    async def record(self, entry: AuditEntry) -> None:
        """Take an entry and wait until it is stored. Never raises.

        If the database does not take it within 2 s it stays noted: what it tells of has happened, and is answered so.
        """
        self.note(entry)
        try:
            async with asyncio.timeout(RECORD_SECONDS):
                await self._write_up_to(self._taken)
        except (InterlockError, TimeoutError) as error:
            self._log.warning(
                "audit.late", reason=str(error) or "the database was too slow", audit_id=str(entry.audit_id)
            )

    async def flush(self) -> None:
        """Write what was noted. Raises what the store raises; then nothing of the batch is lost."""
        refused, self._refused = self._refused, {}
        for entry, times in refused.values():
            self._take(entry if times == 1 else msgspec.structs.replace(entry, times=times))
        await self._write_up_to(self._taken)
        if self._lost:
            self._log.error("audit.lost", entries=self._lost, meaning="the database took no entries for too long")
            self._lost = 0
        if self._left_out:
            self._log.warning("audit.left_out", entries=self._left_out, meaning="too many callers without a tenant")
            self._left_out = 0

    async def purge(self) -> None:
        """Clear some of the entries away that are too old. Raises what the store raises."""
        await self._trail.purge_audit(self._days, PURGED_AT_ONCE)

    async def _write_up_to(self, number: int) -> None:
        """Write entries until as many are written as were taken when ``number`` was asked for.

        One caller writes at a time, all that came meanwhile in one statement: the next ones find their entries written.
        """
        async with self._turn:
            while self._written < number and self._waiting:
                batch = [self._waiting[place] for place in range(min(BATCH, len(self._waiting)))]
                await self._trail.write_audit(batch)
                for _ in batch:
                    self._waiting.popleft()
                self._written += len(batch)

    def _is_flood(self) -> bool:
        second = int(self._clock.monotonic())
        self._strangers = self._strangers + 1 if second == self._second else 1
        self._second = second
        return self._strangers > STRANGERS_A_SECOND

    async def list(self, principal: Principal, wanted: AuditFilter) -> Page:
        """Entries of a tenant, newest first, with those noted so far.

        The operator may ask for any tenant, also a disabled one, and for ``NO_TENANT``, others for their own.
        Raises DENIED.
        """
        principal.require(Scope.ADMIN)
        reader = principal
        if wanted.tenant_id != principal.tenant_id:
            _require_operator(principal)
        if wanted.tenant_id != NO_TENANT:
            reader = msgspec.structs.replace(principal, tenant_id=wanted.tenant_id)  # sees its rows and no others
        await self.flush()
        async with self._store.transaction(reader, read_only=True) as transaction:
            return await transaction.list_audit(wanted)


def _require_operator(principal: Principal) -> None:
    if not is_operator(principal):
        message = f"Only an administrator of the tenant {LOCAL_TENANT} reads the audit log of others"
        raise InterlockError(ErrorKind.DENIED, "AUTHORIZATION_FAILED", message)
