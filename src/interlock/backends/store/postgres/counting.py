"""Totals of pages, which must not cost more than the page."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

COUNTED = 10_000
"""Totals are exact up to here; a larger one is told as this."""


async def total(offset: int, limit: int, found: int, count: Callable[[], Awaitable[int]]) -> int:
    """How many items there are in all; ``count`` is asked only if the page itself does not tell."""
    if found < limit and (found > 0 or offset == 0):
        return offset + found
    return await count()
