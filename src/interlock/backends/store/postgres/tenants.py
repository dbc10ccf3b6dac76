"""Tenants, for those who look after all of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager

from interlock.backends.store.postgres.counting import COUNTED
from interlock.backends.store.postgres.queries import load
from interlock.backends.store.postgres.session import Session
from interlock.core.tenant import Tenant, TenantFilter
from interlock.ports.store import Page

_SQL = load("tenants")


class TenantQueries(ABC):
    """The part of the access store that is about tenants: it works for all of them."""

    @abstractmethod
    def _session(self) -> AbstractAsyncContextManager[Session]:
        """A transaction as the role of access, which ends with the block."""

    async def refresh_tenants(self, seen: Sequence[str]) -> frozenset[str]:
        """Note tenants that callers came from; those that are disabled."""
        async with self._session() as session:
            if seen:
                await session.run(_SQL["note_tenants"], list(seen))
            return frozenset(row["tenant_id"] for row in await session.rows(_SQL["disabled_tenants"]))

    async def list_tenants(self, wanted: TenantFilter) -> Page:
        """Tenants by name, and how many there are, exact up to 10,000."""
        values = (wanted.only, wanted.prefix, wanted.is_disabled)
        async with self._session() as session:
            rows = await session.rows(_SQL["list_tenants"], *values, wanted.after, wanted.limit)
            total = int(await session.value(_SQL["count_tenants"], *values, COUNTED))
        return Page([Tenant(**row) for row in rows], total)

    async def find_tenant(self, tenant_id: str) -> Tenant | None:
        """A tenant with what it has."""
        async with self._session() as session:
            row = await session.row(_SQL["find_tenant"], tenant_id)
        return None if row is None else Tenant(**row)

    async def add_tenant(self, tenant_id: str, title: str) -> bool:
        """Whether the tenant is new."""
        async with self._session() as session:
            return await session.value(_SQL["add_tenant"], tenant_id, title) is not None

    async def change_tenant(self, tenant_id: str, *, title: str | None, disabled: bool | None) -> bool:
        """Whether there is such a tenant, which is as wanted now."""
        async with self._session() as session:
            return await session.value(_SQL["change_tenant"], tenant_id, title, disabled) is not None
