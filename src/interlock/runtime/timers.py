"""Timers of owned executions, on the monotonic clock of the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from uuid import UUID

import structlog

from interlock.core.commands import Advance
from interlock.kit import failpoints
from interlock.kit.clock import Clock
from interlock.runtime.owned import Owned

LOOK_AGAIN = 0.2
"""Seconds until the next look at something due that only the database can decide."""

failpoints.declare("runner.timer")
log = structlog.get_logger("timers")


class Timers:
    """One timer per execution, for the earliest thing that is due without anybody calling."""

    def __init__(self, clock: Clock, *, apply: Callable[[Owned, Advance], None], spoil: Callable[[UUID], None]) -> None:
        self._clock = clock
        self._apply = apply
        self._spoil = spoil
        self.expire: Callable[[Owned, UUID], None] = lambda owned, approval_id: None

    def set(self, owned: Owned) -> None:
        """(Re)start the timer of an execution; none if nothing is due by itself."""
        owned.stop_timer()
        wake_at = owned.execution.next_wake()
        if wake_at is not None:
            self._call_in(owned, max(0.0, (wake_at - self._clock.now()).total_seconds()))

    def _call_in(self, owned: Owned, seconds: float) -> None:
        owned.timer = asyncio.get_running_loop().call_later(seconds, self._on_timer, owned)

    def _on_timer(self, owned: Owned) -> None:
        owned.timer = None
        if owned.is_forgotten or owned.execution.ended is not None:
            return
        try:
            self._wake(owned)
        except Exception:
            log.exception("timers.failed", execution_id=str(owned.execution.execution_id))
            self._spoil(owned.execution.execution_id)

    def _wake(self, owned: Owned) -> None:
        failpoints.hit("runner.timer")
        now = self._clock.now()
        for task in list(owned.execution.tasks.values()):
            if task.waits_for == "approval" and task.wake_at is not None and task.wake_at <= now and task.approval_id:
                self.expire(owned, task.approval_id)
        before = owned.execution.seq
        self._apply(owned, Advance())
        wake_at = owned.execution.next_wake()
        if owned.execution.seq == before and not owned.is_parking and wake_at is not None:
            self._call_in(owned, max(LOOK_AGAIN, (wake_at - now).total_seconds()))
