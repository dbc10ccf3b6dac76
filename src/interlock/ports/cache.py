"""A place for what can be made again. Losing it costs time only; nothing is decided by what is in it."""

from __future__ import annotations

from typing import Protocol


class Cache(Protocol):
    """Keeps bytes under names for a while. Neither method raises: a cache that is away holds nothing."""

    async def get(self, key: str) -> bytes | None:
        """What was put there and has not run out."""
        ...

    async def put(self, key: str, value: bytes, seconds: float) -> None:
        """Keep a value for so long, or for less if there is no room."""
        ...
