"""Which announced workers tasks can be placed on: those an executor reaches, as long as they live and stay."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import structlog

from interlock.core.principal import LOCAL_TENANT
from interlock.core.worker import Capacity
from interlock.ports.workers import Machines, Reaches, WorkerBooks, WorkerRecord
from interlock.runtime.following import Following, claims, no_machines
from interlock.runtime.placing import Placing

ROUND = 2.0
"""Seconds between two looks at the workers."""

log = structlog.get_logger("workforce")


class Workforce:
    """Tells the placing of this process about workers; each process has its part of each of them."""

    def __init__(
        self,
        books: WorkerBooks,
        placing: Placing,
        reaches: Reaches,
        turn: Callable[[], tuple[int, int]],
        machines: Machines = no_machines,
    ) -> None:
        self._books = books
        self._placing = placing
        self._reaches = reaches
        self._following = Following(books, machines)
        self._turn = turn  # which of how many processes this is
        self._known: dict[str, tuple[str, Capacity]] = {}  # address and share of those that are placed on
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin; the first look is now."""
        self._task = asyncio.create_task(self._run(), name="workforce")

    async def stop(self) -> None:
        """End."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            try:
                await self.look()
            except Exception as error:  # noqa: BLE001 - the database may be away in many ways; the next look asks again
                log.warning("workforce.round_failed", reason=f"{type(error).__name__}: {error}"[:300])
            await asyncio.sleep(ROUND)

    async def look(self) -> None:
        """One look: who is there, who must be emptied, and of whom nothing was heard."""
        # Only the operator's: what others say of machines must not move anybody's tasks.
        found = {record.worker_id: record for record in await self._books.workers(LOCAL_TENANT)}
        alive = {record.worker_id for record in found.values() if self._reaches(record.worker_id, record.address)}
        reached = claims(found.values(), self._reaches)
        alive |= set(await self._following.look(found))
        for worker_id in [worker_id for worker_id in self._known if worker_id not in found]:
            self._lose(worker_id)
        for record in found.values():
            self._follow(record, is_reached=record.worker_id in reached)
        if alive:
            await self._books.see_workers(sorted(alive))
        await self._books.forget_workers()

    def _follow(self, record: WorkerRecord, *, is_reached: bool) -> None:
        """What an executor reaches lives, whether or not it was announced again."""
        if record.is_drained or (record.is_lost and not is_reached):
            self._lose(record.worker_id)
        elif record.drain_at is not None or not is_reached:
            if record.worker_id in self._known:
                self._placing.drain_worker(record.worker_id)
        else:
            self._place_on(record)

    def _place_on(self, record: WorkerRecord) -> None:
        capacity = share_of(record.capacity, *self._turn())
        now = record.address, capacity
        if self._known.get(record.worker_id) != now or not self._placing.takes_tasks(record.worker_id):
            self._placing.set_worker(record.worker_id, capacity, address=record.address, whole=record.capacity)
            self._known[record.worker_id] = now
            log.info("workforce.ready", worker=record.worker_id, address=record.address, cpu=capacity.cpu)

    def _lose(self, worker_id: str) -> None:
        if self._known.pop(worker_id, None) is not None:
            attempts = self._placing.lose_worker(worker_id)
            log.warning("workforce.lost", worker=worker_id, attempts=attempts)


def share_of(capacity: Capacity, index: int, count: int) -> Capacity:
    """The part of the ``index``-th of ``count`` processes: whole cores, one at least, and every ``count``-th device.

    Where there are fewer devices than processes, some have the same one, and what runs there may be too much for it.
    """
    if count <= 1:
        return capacity
    gpus = capacity.gpus[index::count]
    if not gpus and capacity.gpus:
        gpus = (capacity.gpus[index % len(capacity.gpus)],)
    return Capacity(cpu=max(1.0, capacity.cpu // count), memory=capacity.memory // count, gpus=gpus)
