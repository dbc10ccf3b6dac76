"""What buses over several processes share: this process hears at once, the others through an outbox."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from uuid import UUID

import structlog

from interlock.backends.bus.followers import LogFollower, TenantFollower
from interlock.backends.bus.memory import MemoryBus, OnInbox
from interlock.backends.bus.outbox import Outbox
from interlock.ports.bus import LogRow


class SharedBus:
    """A bus whose subclass carries what is in ``_outbox`` to other processes, and sets ``_is_settled`` once it does."""

    def __init__(self) -> None:
        self._local = MemoryBus()
        self._outbox = Outbox()
        self._is_settled = asyncio.Event()  # it listens for the first time, or has failed to
        self._keeper: asyncio.Task[None] | None = None
        self._log = structlog.get_logger(type(self).__module__)

    def log_grew(self, execution_id: UUID, tenant_id: str, rows: Sequence[LogRow] = ()) -> None:
        """Wake whoever follows the execution here at once, and on other processes within some milliseconds."""
        self._local.log_grew(execution_id, tenant_id, rows)
        self._outbox.log_grew(execution_id, tenant_id)

    def inbox_grew(self, execution_id: UUID, owner: int | None) -> None:
        """Tell everybody who asked by ``on_inbox``, here at once and then on other processes."""
        self._local.inbox_grew(execution_id, owner)
        self._outbox.inbox_grew(execution_id, owner)

    def follow(self, execution_id: UUID) -> LogFollower:
        """A subscription from now on; follow first and read then."""
        return self._local.follow(execution_id)

    def follow_tenant(self, tenant_id: str, on_hint: Callable[[], None]) -> TenantFollower:
        """A subscription to all executions of a tenant from now on. ``on_hint`` must not block or raise."""
        return self._local.follow_tenant(tenant_id, on_hint)

    def on_inbox(self, callback: OnInbox) -> None:
        """Be told of ``inbox_grew`` of any process. The callback must not block or raise."""
        self._local.on_inbox(callback)

    def set_peers(self, others: bool) -> None:
        """Whether other processes live; without any, nothing is sent (listening goes on)."""
        self._outbox.set_peers(others)
