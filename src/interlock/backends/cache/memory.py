"""A cache in this process."""

from __future__ import annotations

from collections import OrderedDict

from interlock.kit.clock import Clock

MAX_BYTES = 32 * 1_048_576
"""Of all values together; what was not asked for longest goes first."""


class MemoryCache:
    """Satisfies ``ports/cache.Cache``. A value of more than a quarter of ``max_bytes`` is not kept."""

    def __init__(self, clock: Clock, max_bytes: int = MAX_BYTES) -> None:
        self._clock = clock
        self._max_bytes = max_bytes
        self._size = 0
        self._kept: OrderedDict[str, tuple[bytes, float]] = OrderedDict()

    async def get(self, key: str) -> bytes | None:
        """What is there, if its time is not over."""
        found = self._kept.get(key)
        if found is None:
            return None
        if found[1] <= self._clock.monotonic():
            self._drop(key)
            return None
        self._kept.move_to_end(key)
        return found[0]

    async def put(self, key: str, value: bytes, seconds: float) -> None:
        """Keep a value, and drop what there is no more room for."""
        if key in self._kept:
            self._drop(key)
        if len(value) > self._max_bytes // 4:
            return
        self._kept[key] = (value, self._clock.monotonic() + seconds)
        self._size += len(value)
        while self._size > self._max_bytes:
            self._drop(next(iter(self._kept)))

    def _drop(self, key: str) -> None:
        value, _ = self._kept.pop(key)
        self._size -= len(value)
