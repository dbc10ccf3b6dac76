"""A cache that processes share through Redis."""

from __future__ import annotations

import redis.asyncio as redis
import structlog
from redis.exceptions import RedisError

WAIT_SECONDS = 0.25
"""A Redis that takes longer is not worth the wait."""
MAX_BYTES = 8 * 1_048_576
"""Of one value; a larger one is not kept."""

_PREFIX = "interlock:cache:"
_log = structlog.get_logger("interlock.cache")


class RedisCache:
    """Satisfies ``ports/cache.Cache``; while Redis is away it holds nothing, and says so in the log."""

    def __init__(self, url: str) -> None:
        self._redis = redis.Redis.from_url(url, socket_timeout=WAIT_SECONDS, socket_connect_timeout=WAIT_SECONDS)

    async def close(self) -> None:
        """Close the connections."""
        await self._redis.aclose()

    async def get(self, key: str) -> bytes | None:
        """What is there."""
        try:
            found = await self._redis.get(_PREFIX + key)
        except (RedisError, OSError, TimeoutError) as error:
            _log.warning("cache.unavailable", reason=type(error).__name__)
            return None
        return found if isinstance(found, bytes) else None

    async def put(self, key: str, value: bytes, seconds: float) -> None:
        """Keep a value."""
        if len(value) > MAX_BYTES:
            return
        try:
            await self._redis.set(_PREFIX + key, value, px=max(1, round(seconds * 1000)))
        except (RedisError, OSError, TimeoutError) as error:
            _log.warning("cache.unavailable", reason=type(error).__name__)
