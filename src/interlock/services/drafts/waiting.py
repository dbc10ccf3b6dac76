"""Who waits here for which run: what nobody waits for any more is given up."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from uuid import UUID

import structlog

from interlock.core.errors import InterlockError

GiveUp = Callable[[], Awaitable[object]]

_log = structlog.get_logger("interlock.calls")


class Waiting:
    """Counts those who wait in this process. The last one who leaves too early has the run given up."""

    def __init__(self) -> None:
        self._present: Counter[UUID] = Counter()
        self._leaving: dict[UUID, asyncio.TimerHandle] = {}
        self._giving_up: set[asyncio.Task[None]] = set()

    def join(self, execution_id: UUID) -> None:
        """Somebody waits; a run that was to be given up goes on."""
        self._present[execution_id] += 1
        if (timer := self._leaving.pop(execution_id, None)) is not None:
            timer.cancel()

    def hear(self, execution_id: UUID) -> None:
        """Somebody who waited knows the end."""
        self._present[execution_id] -= 1
        if self._present[execution_id] <= 0:
            del self._present[execution_id]

    def leave(self, execution_id: UUID, give_up: GiveUp, grace: float) -> asyncio.Task[None] | None:
        """Somebody waits no longer; if that was the last one, ``give_up`` is called unless one comes within ``grace``.

        What comes back is the giving up, where that begins at once. It raises nothing: a run that cannot be given up
        now ends by itself, or by its deadline.
        """
        self.hear(execution_id)
        if execution_id in self._present:
            return None
        if grace <= 0:
            return self._begin(execution_id, give_up)
        if (timer := self._leaving.pop(execution_id, None)) is not None:
            timer.cancel()
        loop = asyncio.get_running_loop()
        self._leaving[execution_id] = loop.call_later(grace, self._begin, execution_id, give_up)
        return None

    def _begin(self, execution_id: UUID, give_up: GiveUp) -> asyncio.Task[None]:
        self._leaving.pop(execution_id, None)
        task = asyncio.get_running_loop().create_task(_given_up(execution_id, give_up))
        self._giving_up.add(task)
        task.add_done_callback(self._giving_up.discard)
        return task


async def _given_up(execution_id: UUID, give_up: GiveUp) -> None:
    try:
        await give_up()
    except InterlockError as error:
        _log.warning("calls.not_given_up", execution_id=str(execution_id), code=error.code)
