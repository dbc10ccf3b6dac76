"""Signs of life of long attempts: one that falls silent for longer than its node allows has failed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from interlock.core.commands import TaskErred
from interlock.core.events import Failure
from interlock.runtime.owned import Owned


class Heartbeats:
    """Watches attempts of nodes with a ``heartbeat``; every progress report is a beat."""

    def __init__(self, fail: Callable[[Owned, TaskErred], None]) -> None:
        self._fail = fail

    def expect(self, owned: Owned, task_id: str, attempt: int, seconds: float) -> None:
        """The attempt must report within ``seconds`` from now on."""
        self.settle(owned, task_id)
        loop = asyncio.get_running_loop()
        owned.heartbeats[task_id] = loop.call_later(seconds, self._silent, owned, task_id, attempt, seconds)

    def settle(self, owned: Owned, task_id: str) -> None:
        """The attempt is over, or reported."""
        if owned.heartbeats:
            watch = owned.heartbeats.pop(task_id, None)
            if watch is not None:
                watch.cancel()

    def _silent(self, owned: Owned, task_id: str, attempt: int, seconds: float) -> None:
        owned.heartbeats.pop(task_id, None)
        if owned.is_forgotten:
            return
        message = f"The attempt gave no sign of life for {seconds:g} seconds"
        error = Failure(code="HEARTBEAT_LOST", message=message, retryable=True)
        self._fail(owned, TaskErred(task_id=task_id, attempt=attempt, error=error))
