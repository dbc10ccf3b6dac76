"""Approvals under one caller's claims."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from interlock.backends.store.postgres.counting import COUNTED, total
from interlock.backends.store.postgres.queries import load
from interlock.backends.store.postgres.read_back import approval_of
from interlock.backends.store.postgres.session import Session
from interlock.core.approval import Approval
from interlock.ports.store import Page

_SQL = load("approvals")
_FRAME = load("session")


class ApprovalQueries:
    """The part of a transaction that is about approvals. Read only: deciding goes through the engine."""

    _session: Session

    async def approval(self, approval_id: UUID) -> Approval | None:
        """An approval, or None."""
        row = await self._session.row(_SQL["approval"], approval_id)
        return None if row is None else approval_of(row)

    async def list_approvals(
        self, *, status: str | None, execution_ids: Sequence[UUID] | None, limit: int, offset: int
    ) -> Page:
        """Approvals, of all executions or of these, newest first. The total is exact up to 10,000 and stays there."""
        wanted = (status, execution_ids)
        await self._session.run(_FRAME["plan_by_values"])
        rows = await self._session.rows(_SQL["list_approvals"], *wanted, limit, offset)

        async def count() -> int:
            return int(await self._session.value(_SQL["count_approvals"], *wanted, COUNTED))

        return Page([approval_of(row) for row in rows], await total(offset, limit, len(rows), count))
