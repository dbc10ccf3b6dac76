"""Can this process serve? Dependencies are asked at most every two seconds, however many probes come."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import msgspec

from interlock.kit.clock import Clock
from interlock.ports.engine import Engine
from interlock.ports.store import Store

CHECK_SECONDS = 1.0
REUSE_SECONDS = 2.0


class Health(msgspec.Struct, frozen=True):
    """``checks`` by name; all must hold for new work to be sent here."""

    checks: Mapping[str, bool]

    @property
    def is_ready(self) -> bool:
        return all(self.checks.values())


class CheckHealth:
    """Ask the store and the engine how they are. Never raises, never takes longer than a second."""

    def __init__(self, store: Store, engine: Engine, clock: Clock) -> None:
        self._store = store
        self._engine = engine
        self._clock = clock
        self._asked_at = float("-inf")
        self._is_writable = False
        self._asking: asyncio.Task[None] | None = None

    async def __call__(self) -> Health:
        """How things stood at most two seconds ago."""
        if self._clock.monotonic() - self._asked_at >= REUSE_SECONDS:
            if self._asking is None:
                self._asking = asyncio.create_task(self._ask())
            await asyncio.shield(self._asking)
        return Health({"database": self._is_writable, **self._engine.is_ready()})

    async def _ask(self) -> None:
        try:
            async with asyncio.timeout(CHECK_SECONDS):
                self._is_writable = await self._store.is_writable()
        except TimeoutError:
            self._is_writable = False
        finally:
            self._asked_at = self._clock.monotonic()
            self._asking = None
