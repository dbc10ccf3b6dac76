"""Answers that may be given again to the same caller, if it says so: exactly the same request, and not too long ago."""

from __future__ import annotations

import hashlib
import struct

from interlock.core.principal import Principal
from interlock.kit.clock import Clock
from interlock.ports.cache import Cache
from interlock.ports.telemetry import ModelTelemetry

NAME = "models"
"""Of this cache, in metrics."""
_MADE_AT = struct.Struct("<d")


class CachedAnswers:
    """Nothing is found for another tenant or another caller. ``most_seconds`` bounds the age of all that is given.

    Without a ``cache`` nothing is ever found.
    """

    def __init__(
        self, cache: Cache | None, clock: Clock, most_seconds: float, telemetry: ModelTelemetry | None = None
    ) -> None:
        self._cache = cache
        self._clock = clock
        self._most_seconds = most_seconds
        self._telemetry = telemetry

    async def find(self, principal: Principal, asked: bytes, seconds: float) -> bytes | None:
        """What was answered at most so many seconds ago. ``asked`` is the request as it came, with its operation."""
        if self._cache is None:
            return None
        found = await self._cache.get(_key(principal, asked))
        is_hit = found is not None and self._age(found) <= min(seconds, self._most_seconds)
        if self._telemetry is not None:
            self._telemetry.cache_asked(NAME, is_hit)
        return found[_MADE_AT.size :] if found is not None and is_hit else None

    async def keep(self, principal: Principal, asked: bytes, answer: bytes) -> None:
        """Keep a whole answer."""
        if self._cache is not None:
            value = _MADE_AT.pack(self._clock.now().timestamp()) + answer
            await self._cache.put(_key(principal, asked), value, self._most_seconds)

    def _age(self, value: bytes) -> float:
        made_at: float = _MADE_AT.unpack_from(value)[0]
        return self._clock.now().timestamp() - made_at


def _key(principal: Principal, asked: bytes) -> str:
    """Begins with the tenant; the caller is told apart by key and by person, and what was asked by its digest."""
    caller = hashlib.sha256(f"{principal.kind}\0{principal.key_id}\0{principal.subject}\0".encode())
    caller.update(asked)
    return f"{principal.tenant_id}:{NAME}:{caller.hexdigest()}"
