"""What refers to blobs and to users' code, in all tenants."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from interlock.backends.store.postgres.queries import load
from interlock.backends.store.postgres.webhook_ledger import Use, fetch
from interlock.ports.sweeping import CodePlace

_SQL = load("sweeping")


class PostgresReferences:
    """Satisfies ``ports.sweeping.References`` as ``interlock_engine``."""

    def __init__(self, use: Use) -> None:
        self._use = use

    async def unreferenced(self, digests: Sequence[str]) -> set[str]:
        """Those that no event, execution, signal or artifact refers to."""
        return {row["sha256"] for row in await fetch(self._use, _SQL["unreferenced"], list(digests))}

    async def drop_code(self, after: CodePlace, limit: int, age: timedelta) -> tuple[CodePlace, int] | None:
        """Remove code that no draft, no version and no execution names."""
        rows = await fetch(self._use, _SQL["drop_code"], after.tenant_id, after.digest, limit, age)
        return (CodePlace(rows[0]["tenant_id"], rows[0]["digest"]), rows[0]["gone"]) if rows else None
