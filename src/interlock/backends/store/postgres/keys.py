"""API keys under one caller's claims, and the rows of keys as the core knows them."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

import asyncpg

from interlock.backends.store.postgres.counting import total
from interlock.backends.store.postgres.queries import load
from interlock.backends.store.postgres.session import Session
from interlock.core.api_key import ApiKey, KeyFilter
from interlock.core.errors import conflict
from interlock.core.principal import Tier
from interlock.ports.store import Page

_SQL = load("keys")


class KeyQueries:
    """The part of a transaction that is about API keys. None of it sees a digest."""

    _session: Session

    async def list_keys(self, wanted: KeyFilter) -> Page:
        """Keys of the tenant, newest first, and how many there are in all."""
        values = (wanted.name, wanted.is_good)
        rows = await self._session.rows(_SQL["list_keys"], *values, wanted.limit, wanted.offset)

        async def count() -> int:
            return int(await self._session.value(_SQL["count_keys"], *values))

        return Page([key_of(row) for row in rows], await total(wanted.offset, wanted.limit, len(rows), count))

    async def find_own_key(self, reference: str) -> ApiKey | None:
        """The tenant's key with this id or public id."""
        row = await self._session.row(_SQL["find_own_key"], reference)
        return None if row is None else key_of(row)

    async def add_key(self, key: ApiKey) -> None:
        """Keep a new key. Raises CONFLICT for an id that exists, DENIED for another's."""
        await self._session.run(
            _SQL["add_key"],
            key.key_id,
            key.public_id,
            key.tenant_id,
            key.client_name,
            key.scopes,
            key.tier,
            key.signing,
            key.digest,
            key.last4,
            key.allowed_tools,
            key.allowed_models,
            key.created_at,
            key.created_by,
            key.expires_at,
            key.payer,
        )

    async def replace_key(self, key_id: UUID, replaced_by: UUID, expires_at: datetime) -> None:
        """Name the key's successor and its end. Raises CONFLICT if it has a successor already."""
        if await self._session.value(_SQL["replace_key"], key_id, replaced_by, expires_at) is None:
            raise conflict("STATE_CONFLICT", "This key was rotated at the same moment; rotate the newest")

    async def revoke_key(self, key_id: UUID, at: datetime) -> None:
        """End a key; one that has ended stays as it is."""
        await self._session.run(_SQL["revoke_key"], key_id, at)


def key_of(row: asyncpg.Record) -> ApiKey:
    """A key from its row, with its digest if the row has it."""
    fields = {
        **dict(row),
        "scopes": tuple(row["scopes"]),
        "tier": Tier(row["tier"]),
        "allowed_tools": _names(row["allowed_tools"]),
        "allowed_models": _names(row["allowed_models"]),
    }
    return ApiKey(**fields)


def _names(found: list[str] | None) -> tuple[str, ...] | None:
    return None if found is None else tuple(found)
