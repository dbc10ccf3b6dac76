"""Hints that there is something new. None is needed: whoever waits for one also polls."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Protocol, TypeAlias
from uuid import UUID

LogRow: TypeAlias = tuple[UUID, int, str, str, str | None, datetime, str]
"""A committed event: execution, number, type, data as JSON, references as JSON, time, trace id."""


class LogSubscription(Protocol):
    """Someone who follows one execution."""

    async def wait(self, timeout: float) -> bool:
        """True as soon as there was a hint since the last call; False after ``timeout`` seconds."""
        ...

    def given(self) -> list[LogRow] | None:
        """The committed events that came along with all hints since the last call; None if some came without."""
        ...

    def hint(self) -> None:
        """Make ``wait`` return, as any other hint would."""
        ...

    def close(self) -> None: ...


class TenantSubscription(Protocol):
    """Someone who follows all executions of one tenant; ``on_hint`` was given when it was opened."""

    def take(self) -> set[UUID]:
        """Executions whose log grew since the last call."""
        ...

    def close(self) -> None: ...


class Bus(Protocol):
    """Hints between the parts of one process and between processes."""

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    def log_grew(self, execution_id: UUID, tenant_id: str, rows: Sequence[LogRow] = ()) -> None:
        """Committed events follow: wakes subscriptions here and, coalesced, on other processes.

        ``rows`` may be those events, in order; they spare followers in this process the reading.
        """
        ...

    def inbox_grew(self, execution_id: UUID, owner: int | None) -> None:
        """A signal waits for the owner; without one, something can be claimed."""
        ...

    def follow(self, execution_id: UUID) -> LogSubscription: ...

    def follow_tenant(self, tenant_id: str, on_hint: Callable[[], None]) -> TenantSubscription:
        """``on_hint`` is called whenever ``take`` has something; it must not block or raise."""
        ...

    def on_inbox(self, callback: Callable[[UUID, int | None], None]) -> None:
        """Be told of ``inbox_grew`` of any process."""
        ...

    def set_peers(self, others: bool) -> None:
        """Whether other processes live; without any, nothing leaves this one."""
        ...
