"""A worker as it stands now: what was announced, and what an executor and the placing of this process know of it."""

from __future__ import annotations

from datetime import datetime

from interlock.core.resources import Resources
from interlock.core.tenant import is_operators
from interlock.core.worker import Capacity, State, Worker
from interlock.ports.workers import LOCAL_WORKER, NOBODY, Places, Reaches, WorkerRecord

_NOTHING = Resources(cpu=0.0)


class ViewWorkers:
    """``reaches`` says which announced workers tasks can really run on; None: on none of them."""

    def __init__(self, places: Places, reaches: Reaches | None) -> None:
        self._places = places
        self._reaches = reaches

    def local(self, now: datetime) -> Worker:
        """The machine of the server itself; pending while its executor could run nothing there."""
        free, running = self._places.standing_of(LOCAL_WORKER)
        state: State = "ready" if self._places.takes_tasks(LOCAL_WORKER) else "pending"
        return Worker(
            worker_id=LOCAL_WORKER,
            address="",
            state=state,
            capacity=self._places.capacity_of(LOCAL_WORKER) or Capacity(cpu=0.0, memory=0.0),
            free=free if state == "ready" else _NOTHING,
            running=running,
            last_seen_at=now,
        )

    def announced(self, record: WorkerRecord) -> Worker:
        """One that somebody announced."""
        free, running = self._places.standing_of(record.worker_id)
        state = self._state(record)
        return Worker(
            worker_id=record.worker_id,
            address=record.address,
            state=state,
            capacity=record.capacity,
            free=free if state == "ready" else _NOTHING,
            running=running,
            last_seen_at=record.last_seen_at,
        )

    def _state(self, record: WorkerRecord) -> State:
        is_reached = (
            self._reaches is not None
            and (record.tenant_id == NOBODY or is_operators(record.tenant_id))
            and bool(self._reaches(record.worker_id, record.address))
        )
        if record.is_lost and not is_reached:
            return "lost"
        if record.drain_at is not None:
            return "draining"
        return "ready" if is_reached else "pending"
