"""What access does beside the calls: write the audit log, note when keys were used, clear away what is over."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import structlog

from interlock.core.errors import InterlockError

AUDIT_SECONDS = 0.5
LAST_USED_SECONDS = 10.0
PURGE_SECONDS = 60.0

Chore = Callable[[], Coroutine[Any, Any, None]]


class Upkeep:
    """Does each chore every so many seconds, one after the other, until stopped; a failed one is tried again."""

    def __init__(self, chores: dict[str, tuple[Chore, float]]) -> None:
        self._chores = chores
        self._tasks: list[asyncio.Task[None]] = []
        self._log = structlog.get_logger(__name__)

    def start(self) -> None:
        """Begin. Needs a running loop."""
        self._tasks = [
            asyncio.create_task(self._repeat(name, chore, seconds)) for name, (chore, seconds) in self._chores.items()
        ]

    async def stop(self) -> None:
        """End, and do every chore a last time."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []
        for name, (chore, _) in self._chores.items():
            await self._do(name, chore)

    async def _repeat(self, name: str, chore: Chore, seconds: float) -> None:
        while True:
            await asyncio.sleep(seconds)
            await self._do(name, chore)

    async def _do(self, name: str, chore: Chore) -> None:
        try:
            await chore()
        except InterlockError as error:
            self._log.warning("access.upkeep_failed", chore=name, code=error.code, reason=str(error.__cause__ or error))
