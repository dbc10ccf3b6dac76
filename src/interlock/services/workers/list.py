"""The workers there are."""

from __future__ import annotations

from interlock.core.principal import Principal, Scope
from interlock.core.tenant import is_operator
from interlock.core.worker import Worker
from interlock.kit.clock import Clock
from interlock.ports.workers import WorkerBooks
from interlock.services.workers.view import ViewWorkers


class ListWorkers:
    """The server's own machine and those that were announced. What is free and running is of the process asked."""

    def __init__(self, books: WorkerBooks, view: ViewWorkers, clock: Clock) -> None:
        self._books = books
        self._view = view
        self._clock = clock

    async def list(self, principal: Principal) -> list[Worker]:
        """Those of the caller's tenant, for the operator all. Needs ``workers:write``; raises DENIED."""
        principal.require(Scope.WORKERS_WRITE)
        tenant_id = None if is_operator(principal) else principal.tenant_id
        found = await self._books.workers(tenant_id)
        announced = [self._view.announced(record) for record in found if not record.is_own]
        return [self._view.local(self._clock.now()), *announced]
