"""The books of model calls in Postgres: budgets, the slices that processes hold, and the ledger."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import msgspec

from interlock.backends.store.postgres.connection import EnginePool
from interlock.backends.store.postgres.queries import load
from interlock.backends.store.postgres.session import Session, explained
from interlock.ports.models import Answer, Budget, CallRow, Claim, Place

_SQL = load("budgets")
_PLACE = ("tenant_id", "effect_key", "claim_id")


class PostgresBooks:
    """Satisfies ``ports/models.Books`` over the serving URL, as the engine's role: one statement for each question."""

    def __init__(self, url: str, *, connections: int = 2) -> None:
        self._pool = EnginePool(url, connections)

    async def open(self) -> None:
        """Connect. Raises UNAVAILABLE if the database is away."""
        with explained():
            await self._pool.open()

    async def close(self) -> None:
        """Close the connections."""
        await self._pool.close()

    async def budgets_of(self, tenant_id: str, holder: str) -> tuple[Budget, ...]:
        """The budget of the holder, then that of its tenant, where there are such."""
        async with self._session() as session:
            return tuple(Budget(**dict(row)) for row in await session.rows(_SQL["budgets_of"], tenant_id, holder))

    async def set_budget(self, budget: Budget) -> Budget:
        """Set the cap; a budget that is there keeps its id and what was spent."""
        async with self._session() as session:
            row = await session.row(_SQL["set_budget"], budget.budget_id, budget.tenant_id, budget.holder, budget.cap)
        return Budget(**dict(row or {}))

    async def remove_budget(self, tenant_id: str, holder: str) -> bool:
        """Whether there was such a budget. Its row stays for what is under way."""
        async with self._session() as session:
            return bool(await session.value(_SQL["remove_budget"], tenant_id, holder))

    async def list_budgets(self, tenant_id: str) -> list[Budget]:
        """All budgets of a tenant."""
        async with self._session() as session:
            return [Budget(**dict(row)) for row in await session.rows(_SQL["list_budgets"], tenant_id)]

    async def starter_of(self, tenant_id: str, execution_id: UUID) -> str | None:
        """Who started an execution."""
        async with self._session() as session:
            subject: str | None = await session.value(_SQL["starter_of"], tenant_id, execution_id)
        return subject

    async def recall(self, tenant_id: str, effect_key: str) -> bytes | None:
        """The answer that is kept."""
        async with self._session() as session:
            answer = await session.value(_SQL["recall"], tenant_id, effect_key)
        return None if answer is None else bytes(answer)

    async def claim(self, place: Place, digest: str, lease: float) -> Claim:
        """Take a place, or see who has it."""
        values = (place.tenant_id, place.effect_key, digest, place.claim_id, lease)
        async with self._session() as session:
            row = None
            while row is None:
                row = await session.row(_SQL["claim"], *values)
        return Claim(**dict(row))

    async def renew_claims(self, claim_ids: Sequence[UUID], lease: float) -> None:
        """Make claims last that have no answer yet."""
        async with self._session() as session:
            await session.run(_SQL["renew_claims"], list(claim_ids), lease)

    async def release(self, place: Place) -> None:
        """Empty a claimed place that has no answer."""
        async with self._session() as session:
            await session.run(_SQL["release"], place.tenant_id, place.effect_key, place.claim_id)

    async def purge(self, limit: int) -> int:
        """Forget answers that were kept long enough."""
        async with self._session() as session:
            return len(await session.rows(_SQL["purge"], limit))

    async def take_slice(self, budget_id: UUID, slice_id: UUID, least: int, lease: float) -> int:
        """What was granted, 0 if less than ``least`` is left."""
        async with self._session() as session:
            return int(await session.value(_SQL["take_slice"], budget_id, slice_id, least, lease) or 0)

    async def write(self, rows: Sequence[CallRow], answers: Sequence[Answer] = ()) -> None:
        """Enter and settle calls, and keep answers, in one statement and so in one commit."""
        kept = [[getattr(one.place, column) for one in answers] for column in _PLACE]
        kept += [[one.body for one in answers], [one.place.seconds for one in answers]]
        calls = msgspec.json.encode(rows).decode()  # one argument costs this process a fraction of an array a column
        async with self._session() as session:
            await session.run(_SQL["write"], calls, *kept)

    async def renew(self, slice_ids: Sequence[UUID], lease: float) -> set[UUID]:
        """Those of the slices that are still there, with a new lease."""
        async with self._session() as session:
            rows = await session.rows(_SQL["renew"], list(slice_ids), lease)
        return {UUID(int=row["slice_id"].int) for row in rows}

    async def give_back(self, slice_ids: Sequence[UUID]) -> None:
        """End the leases now, and return what is left."""
        async with self._session() as session:
            await session.run(_SQL["expire"], list(slice_ids))
            await session.value(_SQL["sweep"])

    async def sweep(self) -> int:
        """End the leases that ran out."""
        async with self._session() as session:
            return int(await session.value(_SQL["sweep"]))

    @asynccontextmanager
    async def _session(self) -> AsyncIterator[Session]:
        connection: Any
        with explained():
            async with self._pool.use() as connection:
                yield Session(connection)
