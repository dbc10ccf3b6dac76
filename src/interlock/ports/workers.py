"""Machines that were announced, whom they belong to, and which of them tasks can really run on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Protocol

import msgspec

from interlock.core.placing.over_ask import Policy
from interlock.core.resources import Resources
from interlock.core.worker import Capacity, Machine

LOCAL_WORKER = "local-1"
"""The machine of the server itself."""

NOBODY = ""
"""The tenant of workers that nobody announced; the tenant of the installation itself looks after them."""

NOTHING = Capacity(cpu=0.0, memory=0.0)

Reaches = Callable[[str, str], str]
"""The machine on which an executor of this process runs the tasks of the worker of that id, at that address, now.

Empty: none. Never waits.
"""

Machines = Callable[[], tuple[str, Sequence[Machine]]]
"""The machines that an executor of this process has now, and the id of the server's own among them."""


class WorkerRecord(msgspec.Struct, frozen=True, kw_only=True):
    """An announced worker as it is written down. ``is_lost``: there was no sign of life for too long."""

    worker_id: str
    tenant_id: str
    address: str
    capacity: Capacity
    drain_at: datetime | None  # when its tasks are run elsewhere; None: it is not to be emptied
    last_seen_at: datetime
    is_drained: bool
    is_lost: bool

    @property
    def is_own(self) -> bool:
        """Whether it is the machine of a server, which has another name there."""
        return self.tenant_id == NOBODY and self.capacity == NOTHING


class WorkerBooks(Protocol):
    """Announced workers of all processes. Raises UNAVAILABLE or OSError if the database does not answer."""

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
        """Write it down, or that it still lives. None if it is another tenant's, or the tenant has ``at_most``.

        One that is being emptied takes tasks again, unless this ``is_refresh``.
        """
        ...

    async def drain_worker(self, worker_id: str, tenant_id: str | None, grace: float) -> WorkerRecord | None:
        """Give it nothing new, and its tasks to others after ``grace`` seconds. None if the tenant has no such one.

        ``tenant_id`` None: it may be anybody's.
        """
        ...

    async def workers(self, tenant_id: str | None) -> list[WorkerRecord]:
        """Those of a tenant, or all of them, by id; with those of the installation's tenant also nobody's."""
        ...

    async def follow_worker(self, worker_id: str, address: str, capacity: Capacity) -> None:
        """Write down a worker that nobody announced, or what it has now; one that somebody announced stays as it is.

        The installation's own tenant takes it over by announcing it.
        """
        ...

    async def see_workers(self, worker_ids: Sequence[str]) -> None:
        """They gave a sign of life."""
        ...

    async def forget_workers(self) -> None:
        """Delete those of which nothing was heard for a day."""
        ...


class Places(Protocol):
    """What of the workers is set aside in this process."""

    def capacity_of(self, worker_id: str) -> Capacity | None:
        """What tasks of this process share there; None if none can be placed on it."""
        ...

    def standing_of(self, worker_id: str) -> tuple[Resources, int]:
        """What of that is free, and how many tasks run there."""
        ...

    def takes_tasks(self, worker_id: str) -> bool:
        """Whether it gets new tasks."""
        ...

    def has_worker_for(self, resources: Resources, over_ask: Policy | None) -> bool:
        """Whether any worker that is known now could ever give this to a task of a graph with this rule."""
        ...
