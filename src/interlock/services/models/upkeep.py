"""What the model gateway does beside the calls: leases, holds of dead processes, answers that were kept long enough."""

from __future__ import annotations

import asyncio
import contextlib

import structlog

from interlock.core.errors import InterlockError
from interlock.ports.models import Books
from interlock.services.models.holds import Holds
from interlock.services.models.once import AnswerOnce
from interlock.services.models.purse import LEASE_SECONDS

ROUND_SECONDS = LEASE_SECONDS / 3
PURGE_AT_ONCE = 1_000
_log = structlog.get_logger("interlock.models")


class Upkeep:
    """Goes round every ten seconds from ``start`` to ``stop``, on the loop that uses the gateway."""

    def __init__(self, books: Books, holds: Holds, once: AnswerOnce) -> None:
        self._books = books
        self._holds = holds
        self._once = once
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin."""
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def stop(self) -> None:
        """End; write what is left of the ledger, and return what was not spent."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        await self._holds.stop()

    async def go_round(self) -> None:
        """Do everything once. Raises UNAVAILABLE."""
        await self._holds.renew()
        await self._once.renew()
        await self._books.sweep()
        await self._books.purge(PURGE_AT_ONCE)

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(ROUND_SECONDS)
            try:
                await self.go_round()
            except InterlockError as error:
                _log.warning("models.upkeep_failed", reason=str(error))
