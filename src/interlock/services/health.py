"""Can this process serve? Dependencies are asked at most every two seconds, however many probes come."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import msgspec

from interlock.core.errors import InterlockError
from interlock.kit.clock import Clock
from interlock.ports.blobs import BlobStore
from interlock.ports.engine import Engine
from interlock.ports.executor import ExecutorState
from interlock.ports.store import Store

CHECK_SECONDS = 1.0
REUSE_SECONDS = 2.0
BLOBS_SECONDS = 30.0


class Health(msgspec.Struct, frozen=True):
    """``checks`` by name; all must hold for new work to be sent here.

    ``blobs`` says where large values are kept, or ``unavailable`` while that takes none. ``executor`` is the state of
    what runs tasks with resources.
    """

    checks: Mapping[str, bool]
    blobs: str
    executor: str = "ready"

    @property
    def is_ready(self) -> bool:
        return all(self.checks.values())


class CheckHealth:
    """Ask the stores and the engine how they are. Never raises, never takes longer than a second."""

    def __init__(
        self,
        store: Store,
        engine: Engine,
        blobs: BlobStore,
        clock: Clock,
        executor_state: ExecutorState = lambda: "ready",
    ) -> None:
        self._executor_state = executor_state
        self._store = store
        self._engine = engine
        self._clock = clock
        self._asked_at = float("-inf")
        self._is_writable = False
        self._asking: asyncio.Task[None] | None = None
        self._blobs = WatchBlobs(blobs, clock)

    async def __call__(self) -> Health:
        """How things stood at most two seconds ago."""
        if self._clock.monotonic() - self._asked_at >= REUSE_SECONDS:
            if self._asking is None:
                self._asking = asyncio.create_task(self._ask())
            await asyncio.shield(self._asking)
        checks = {"database": self._is_writable, **self._engine.is_ready()}
        return Health(checks, self._blobs.look(), self._executor_state())

    async def _ask(self) -> None:
        try:
            async with asyncio.timeout(CHECK_SECONDS):
                self._is_writable = await self._store.is_writable()
        except TimeoutError:
            self._is_writable = False
        finally:
            self._asked_at = self._clock.monotonic()
            self._asking = None


class WatchBlobs:
    """Tries the store of large values, at most every half minute and while nobody waits for it."""

    def __init__(self, blobs: BlobStore, clock: Clock) -> None:
        self._blobs = blobs
        self._clock = clock
        self._tried_at = float("-inf")
        self._is_well = True
        self._trying: asyncio.Task[None] | None = None

    def look(self) -> str:
        """How it was when it was last tried."""
        if self._trying is None and self._clock.monotonic() - self._tried_at >= BLOBS_SECONDS:
            self._trying = asyncio.create_task(self._try())
        return self._blobs.kind if self._is_well else "unavailable"

    async def _try(self) -> None:
        try:
            await self._blobs.check()
            self._is_well = True
        except InterlockError:
            self._is_well = False
        finally:
            self._tried_at = self._clock.monotonic()
            self._trying = None
