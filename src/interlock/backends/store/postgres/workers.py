"""The part of the ledger that keeps announced workers."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import msgspec

from interlock.backends.store.postgres.queries import load
from interlock.core.worker import Capacity
from interlock.ports.workers import WorkerRecord

_SQL = load("workers")


class WorkerQueries:
    """Satisfies ``ports.workers.WorkerBooks``, as ``interlock_engine``."""

    async def _rows(self, statement: str, *arguments: Any) -> list[Any]:
        raise NotImplementedError

    async def announce_worker(
        self,
        worker_id: str,
        tenant_id: str,
        address: str,
        capacity: Capacity,
        at_most: int,
        *,
        is_refresh: bool = False,
    ) -> WorkerRecord | None:
        told = worker_id, tenant_id, address, msgspec.json.encode(capacity).decode(), at_most, is_refresh
        return _first(await self._rows(_SQL["announce"], *told))

    async def drain_worker(self, worker_id: str, tenant_id: str | None, grace: float) -> WorkerRecord | None:
        return _first(await self._rows(_SQL["drain"], worker_id, tenant_id, timedelta(seconds=grace)))

    async def workers(self, tenant_id: str | None) -> list[WorkerRecord]:
        return [_record(row) for row in await self._rows(_SQL["workers"], tenant_id)]

    async def follow_worker(self, worker_id: str, address: str, capacity: Capacity) -> None:
        await self._rows(_SQL["follow"], worker_id, address, msgspec.json.encode(capacity).decode())

    async def see_workers(self, worker_ids: Sequence[str]) -> None:
        await self._rows(_SQL["see"], list(worker_ids))

    async def forget_workers(self) -> None:
        await self._rows(_SQL["forget"])


def _first(rows: list[Any]) -> WorkerRecord | None:
    return _record(rows[0]) if rows else None


def _record(row: Any) -> WorkerRecord:
    return WorkerRecord(**{**row, "capacity": msgspec.json.decode(row["capacity"], type=Capacity)})
