"""The part of the ledger that counts: what there is, and how often nodes ran."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from interlock.backends.store.postgres.queries import load
from interlock.ports.ledger import NodeTotal

_SQL = load("totals")


class TotalsQueries:
    """Totals of the whole deployment, as ``interlock_engine``."""

    async def _rows(self, statement: str, *arguments: Any) -> list[Any]:
        raise NotImplementedError

    async def totals(self) -> dict[str, int]:
        return dict((await self._rows(_SQL["totals"]))[0])

    async def add_node_totals(self, totals: Sequence[NodeTotal]) -> None:
        columns = zip(*(total.row() for total in totals), strict=True)
        await self._rows(_SQL["add_node_totals"], *map(list, columns))

    async def node_totals(self, tenant_id: str | None, shared: Collection[str]) -> list[NodeTotal]:
        rows = await self._rows(_SQL["node_totals"], tenant_id, list(shared))
        return [NodeTotal(tenant_id or "", *row) for row in rows]
