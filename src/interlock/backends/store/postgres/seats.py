"""Open streams of all processes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from datetime import timedelta
from uuid import UUID

from interlock.backends.store.postgres.queries import load
from interlock.backends.store.postgres.session import Session
from interlock.core.stream_seats import NONE_WANTED, Elsewhere, Granted, SeatClaim, SeatHolder, grant

_SQL = load("seats")


class SeatQueries(ABC):
    """The part of the access store that counts open streams."""

    @abstractmethod
    def _session(self) -> AbstractAsyncContextManager[Session]:
        """A transaction as the role of access, which ends with the block."""

    async def hold_seats(self, process: UUID, claims: Sequence[SeatClaim], lease: timedelta) -> list[Granted]:
        """Note what the process holds, and give each claim what is free of what it wants."""
        async with self._session() as session:
            granted = await self._granted(session, process, [claim for claim in claims if claim.wanted])
            answers = [granted.get(claim.holder, NONE_WANTED) for claim in claims]
            held = [(claim.holder, claim.held + given.seats) for claim, given in zip(claims, answers, strict=True)]
            kept = [(*holder, number) for holder, number in held if number]
            left = [holder for holder, number in held if not number]
            if kept:
                await session.run(_SQL["hold"], *map(list, zip(*kept, strict=True)), process, lease)
            if left:
                await session.run(_SQL["leave"], *map(list, zip(*left, strict=True)), process)
        return answers

    async def forget_dead_seats(self) -> None:
        """Delete what processes held that are gone."""
        async with self._session() as session:
            await session.run(_SQL["forget_dead"])

    async def _granted(self, session: Session, process: UUID, claims: Sequence[SeatClaim]) -> dict[SeatHolder, Granted]:
        if not claims:
            return {}
        await session.run(_SQL["take_turns"], sorted({claim.holder.tenant_id for claim in claims}))
        tenants, subjects = [[claim.holder[place] for claim in claims] for place in (0, 1)]
        rows = await session.rows(_SQL["held_elsewhere"], tenants, subjects, process)
        elsewhere = {
            SeatHolder(row["tenant_id"], row["subject"]): Elsewhere(row["of_subject"], row["of_tenant"]) for row in rows
        }
        return grant(claims, elsewhere)
