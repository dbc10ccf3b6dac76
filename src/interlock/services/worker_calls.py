"""What can be asked of the machines that tasks run on."""

from __future__ import annotations

from typing import Protocol

import msgspec

from interlock.core.principal import Principal
from interlock.core.worker import Capacity, Worker


class WorkerAnnounced(msgspec.Struct, frozen=True, kw_only=True):
    """A machine as it tells of itself."""

    worker_id: str
    address: str
    capacity: Capacity


class WorkerCalls(Protocol):
    """All need the scope ``workers:write``."""

    async def connect(self, principal: Principal, announced: WorkerAnnounced) -> Worker:
        """Take a machine in, or refresh what is known of it. Raises DENIED, RULE."""
        ...

    async def disconnect(self, principal: Principal, worker_id: str, grace: float) -> Worker:
        """Give it no new tasks; what runs may go on for ``grace`` seconds. Raises DENIED, NOT_FOUND."""
        ...

    async def list(self, principal: Principal) -> list[Worker]:
        """All that are known. Raises DENIED."""
        ...
