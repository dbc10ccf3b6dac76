"""Taking a worker away: it gets nothing new, and what still runs after a while is run elsewhere."""

from __future__ import annotations

from interlock.core.errors import not_found, rule_broken
from interlock.core.principal import Principal, Scope
from interlock.core.tenant import is_operator
from interlock.core.worker import Worker
from interlock.ports.workers import LOCAL_WORKER, WorkerBooks
from interlock.services.workers.view import ViewWorkers

GRACE_SECONDS = 30.0
MAX_GRACE = 86_400.0


class DisconnectWorkers:
    """Empties workers. A tenant takes its own away; the operator takes any."""

    def __init__(self, books: WorkerBooks, view: ViewWorkers) -> None:
        self._books = books
        self._view = view

    async def disconnect(self, principal: Principal, worker_id: str, grace: float = GRACE_SECONDS) -> Worker:
        """The worker, draining; its tasks may run on for ``grace`` seconds. Needs ``workers:write``.

        Raises DENIED, NOT_FOUND also for another tenant's, RULE for the server's own machine and an unfit ``grace``.
        """
        principal.require(Scope.WORKERS_WRITE)
        if worker_id == LOCAL_WORKER:
            message = f"{LOCAL_WORKER} is the server's own machine; stop the server to take it away"
            raise rule_broken("WORKER_IS_LOCAL", message, field="worker_id")
        if not 0 <= grace <= MAX_GRACE:
            message = f"The grace must be from 0 to {MAX_GRACE:.0f} seconds, not {grace:g}"
            raise rule_broken("VALIDATION_ERROR", message, field="grace")
        tenant_id = None if is_operator(principal) else principal.tenant_id
        record = await self._books.drain_worker(worker_id, tenant_id, grace)
        if record is None:
            raise not_found("NOT_FOUND", f"Worker {worker_id[:128]} not found")
        return self._view.announced(record)
