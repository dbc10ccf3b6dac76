"""Announcing a worker: once when it comes, and again to say that it still lives."""

from __future__ import annotations

import math

import msgspec

from interlock.core.errors import ErrorKind, InterlockError, conflict, rule_broken
from interlock.core.principal import Principal, Scope
from interlock.core.worker import Capacity, Worker
from interlock.kit.clock import Clock
from interlock.ports.workers import LOCAL_WORKER, WorkerBooks
from interlock.services.workers.view import ViewWorkers

MAX_WORKERS = 1_000
MAX_DEVICES = 64
MAX_NAME = 128
MAX_AMOUNT = 1e9


class WorkerAnnounced(msgspec.Struct, frozen=True, kw_only=True):
    """What a machine says of itself. ``is_refresh``: only that it still lives, which ends nobody's wish to empty it."""

    worker_id: str
    address: str
    capacity: Capacity
    is_refresh: bool = False


class ConnectWorkers:
    """Writes announced workers down. Tasks run there only if an executor reaches them; until then they are pending.

    Workers are everybody's, so tasks are placed on those of the operator only: what another tenant announces would
    be believed at the cost of all others, and stays pending.
    """

    def __init__(self, books: WorkerBooks, view: ViewWorkers, clock: Clock) -> None:
        self._books = books
        self._view = view
        self._clock = clock

    async def connect(self, principal: Principal, announced: WorkerAnnounced) -> Worker:
        """The worker as it stands now; one that was to be emptied stays so only by a refresh. Needs ``workers:write``.

        Raises DENIED, RULE for what no machine has, CONFLICT for another tenant's, LIMITED beyond 1,000 of a tenant.
        """
        principal.require(Scope.WORKERS_WRITE)
        if announced.worker_id == LOCAL_WORKER:
            return self._view.local(self._clock.now())
        _check(announced)
        tenant_id, capacity = principal.tenant_id, announced.capacity
        record = await self._books.announce_worker(
            announced.worker_id,
            tenant_id,
            announced.address,
            capacity,
            MAX_WORKERS,
            is_refresh=announced.is_refresh,
        )
        if record is None:
            raise await self._refusal(announced.worker_id)
        return self._view.announced(record)

    async def _refusal(self, worker_id: str) -> InterlockError:
        if any(record.worker_id == worker_id for record in await self._books.workers(None)):
            return conflict("WORKER_TAKEN", f"There is a worker {worker_id} already; choose another id")
        message = f"You have {MAX_WORKERS} workers; those that are gone are forgotten after a day"
        return InterlockError(ErrorKind.LIMITED, "TOO_MANY_WORKERS", message, details={"limit": MAX_WORKERS})


def _check(announced: WorkerAnnounced) -> None:
    for name, text, least in (("worker_id", announced.worker_id, 1), ("address", announced.address, 0)):
        if not least <= len(text) <= MAX_NAME or not text.isprintable():
            message = f"{name} must have {least} to {MAX_NAME} printable characters"
            raise rule_broken("VALIDATION_ERROR", message, field=name)
    gpus = announced.capacity.gpus
    if len(gpus) > MAX_DEVICES or len({gpu.number for gpu in gpus}) < len(gpus):
        message = f"A worker has at most {MAX_DEVICES} devices, each with a number of its own"
        raise rule_broken("VALIDATION_ERROR", message, field="gpus")
    amounts = [announced.capacity.cpu, announced.capacity.memory, *(gpu.memory for gpu in gpus)]
    wrong = [amount for amount in amounts if not math.isfinite(amount) or not 0 <= amount <= MAX_AMOUNT]
    if wrong:
        message = f"{wrong[0]:g} is no capacity; write cores and MiB as numbers from 0 to {MAX_AMOUNT:.0f}"
        raise rule_broken("VALIDATION_ERROR", message, field="capacity")
