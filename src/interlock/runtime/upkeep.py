"""What must be done now and then so that the store stays in shape: partitions ahead, expired keys away."""

from __future__ import annotations

import asyncio

import structlog

from interlock.ports.ledger import Ledger

HOUR = 3600.0
WEEKS_AHEAD = 4
PURGE_AT_ONCE = 1_000
PURGES = 1_000

log = structlog.get_logger("upkeep")


class Upkeep:
    """Hourly chores; any number of processes may do them at once."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin; the first round is now."""
        self._task = asyncio.create_task(self._run(), name="upkeep")

    async def stop(self) -> None:
        """End."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            try:
                await self._ledger.ensure_partitions(WEEKS_AHEAD)
                for _ in range(PURGES):
                    if await self._ledger.purge_keys(PURGE_AT_ONCE) < PURGE_AT_ONCE:
                        break
            except Exception as error:  # noqa: BLE001 - chores are tried again; the database may be away
                log.warning("upkeep.failed", reason=f"{type(error).__name__}: {error}"[:300])
            await asyncio.sleep(HOUR)
