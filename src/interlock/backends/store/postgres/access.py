"""What decides about access, over Postgres: as ``interlock_access``, for all tenants, on a few tables."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from uuid import UUID

import msgspec

from interlock.backends.store.postgres.answers import AnswerQueries
from interlock.backends.store.postgres.audit_writer import AuditWriter
from interlock.backends.store.postgres.connections import Connections
from interlock.backends.store.postgres.keys import key_of
from interlock.backends.store.postgres.queries import load
from interlock.backends.store.postgres.seats import SeatQueries
from interlock.backends.store.postgres.session import Session
from interlock.backends.store.postgres.tenants import TenantQueries
from interlock.core.api_key import ApiKey
from interlock.core.audit import AuditEntry
from interlock.core.principal import Principal
from interlock.ports.access import Ticket

_SQL = load("access")
_ANSWERS = load("answers")
_FRAME = load("session")
_ANSWERS_AT_ONCE = 2_000


class PostgresAccess(TenantQueries, AnswerQueries, SeatQueries):
    """Satisfies ``ports.access.AccessStore`` over the serving URL. ``cached_statements`` is 0 behind a pooler."""

    def __init__(self, url: str, *, connections: int = 4, cached_statements: int = 100) -> None:
        self._connections = Connections(url, connections, cached_statements)
        self._audit = AuditWriter(url)

    async def open(self) -> None:
        """Take up work; nothing is connected yet."""
        self._connections.open()

    async def close(self) -> None:
        """Close all connections."""
        await self._audit.close()
        await self._connections.close()

    async def find_key(self, public_id: str) -> ApiKey | None:
        """The key with its digest, whether or not it is still good."""
        async with self._session() as session:
            row = await session.row(_SQL["find_key"], public_id)
        return None if row is None else key_of(row)

    async def touch_keys(self, used: Mapping[UUID, datetime]) -> None:
        """Note when keys were used last; an older time than the one noted changes nothing."""
        async with self._session() as session:
            await session.run(_SQL["touch_keys"], list(used), list(used.values()))

    async def add_ticket(self, digest: bytes, ticket: Ticket, at_most: int) -> bool:
        """Whether the ticket is kept now, under the hash of its text: its tenant had fewer than ``at_most``."""
        principal = msgspec.json.encode(ticket.principal).decode()
        async with self._session() as session:
            is_kept: bool | None = await session.value(
                _SQL["add_ticket"],
                digest,
                ticket.principal.tenant_id,
                principal,
                ticket.resource,
                ticket.expires_at,
                ticket.ends_at,
                ticket.credential,
                at_most,
            )
        return is_kept is not None

    async def take_ticket(self, digest: bytes) -> Ticket | None:
        """The ticket, exactly once over all processes."""
        async with self._session() as session:
            row = await session.row(_SQL["take_ticket"], digest)
        if row is None:
            return None
        principal = msgspec.json.decode(row["principal"], type=Principal)
        return Ticket(principal, row["resource"], row["expires_at"], row["ends_at"], row["credential"])

    async def use_nonce(self, key_id: UUID, tenant_id: str, nonce: str, until: datetime) -> bool:
        """Whether the key uses this nonce for the first time."""
        async with self._session() as session:
            return await session.value(_SQL["use_nonce"], key_id, nonce, tenant_id, until) is not None

    async def ensure_tenant(self, tenant_id: str, at_most: int) -> bool:
        """Whether the tenant exists now. Two processes together make no more than ``at_most``."""
        async with self._session() as session:
            if await session.value(_SQL["has_tenant"], tenant_id):
                return True
            await session.run(_SQL["take_turn_for_tenants"])
            if await session.value(_SQL["has_tenant"], tenant_id):
                return True
            return await session.value(_SQL["ensure_tenant"], tenant_id, at_most) is not None

    async def write_audit(self, entries: Sequence[AuditEntry]) -> None:
        """Append to the audit log, all or nothing."""
        await self._audit.write(_SQL["write_audit"], msgspec.json.encode(entries).decode())

    async def purge_audit(self, days: int, at_most: int) -> int:
        """Delete entries that are older; how many it were."""
        async with self._session() as session:
            return int(await session.value(_SQL["purge_audit"], days, at_most))

    async def purge(self) -> None:
        """Delete tickets, nonces, kept answers and keys that are over, the answers a few at a time."""
        async with self._session() as session:
            await session.run(_SQL["purge_keys"])
            await session.run(_SQL["purge_tickets"])
            await session.run(_SQL["purge_nonces"])
        purged = _ANSWERS_AT_ONCE
        while purged >= _ANSWERS_AT_ONCE:
            async with self._session() as session:
                purged = int(await session.value(_ANSWERS["purge"], _ANSWERS_AT_ONCE))

    @asynccontextmanager
    async def _session(self) -> AsyncIterator[Session]:
        async with self._connections.use() as connection:
            session = Session(connection)
            await session.run(_SQL["begin"])
            yield session
            await session.commit(_FRAME["commit"])
