"""Hints that there is something new. None is needed: whoever waits for one also polls."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol
from uuid import UUID


class Subscription(Protocol):
    """Someone who follows one execution."""

    async def wait(self, timeout: float) -> bool:
        """True as soon as there was a hint since the last call; False after ``timeout`` seconds."""
        ...

    def close(self) -> None: ...


class Bus(Protocol):
    """Hints between the parts of one process and between processes."""

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    def log_grew(self, execution_id: UUID) -> None:
        """Committed events follow: wakes subscriptions here and, coalesced, on other processes."""
        ...

    def inbox_grew(self, execution_id: UUID, owner: int | None) -> None:
        """A signal waits for the owner; without one, something can be claimed."""
        ...

    def follow(self, execution_id: UUID) -> Subscription: ...

    def on_inbox(self, callback: Callable[[UUID, int | None], None]) -> None:
        """Be told of ``inbox_grew`` of any process."""
        ...

    def set_peers(self, others: bool) -> None:
        """Whether other processes live; without any, nothing leaves this one."""
        ...
