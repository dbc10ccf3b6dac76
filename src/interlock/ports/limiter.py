"""Counts requests in windows, for one process or for many."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol

from interlock.core.limits import Standing, Verdict, Window

LimiterState = Literal["not_configured", "connected", "unavailable"]
"""How the shared store behind a limiter is; ``not_configured`` where there is none."""


class Limiter(Protocol):
    """Whoever is ``caller``: the text is compared and never shown. Nothing here ever admits without a bound."""

    async def start(self) -> None:
        """Begin; a store that is away delays nothing."""
        ...

    async def stop(self) -> None: ...

    @property
    def state(self) -> LimiterState: ...

    async def take(self, caller: str, windows: Sequence[Window]) -> Verdict:
        """Count one request in all windows, or in none if one of them is full. At least one window."""
        ...

    async def give_back(self, caller: str, verdict: Verdict) -> None:
        """Let an admitted request count no longer."""
        ...

    async def look(self, caller: str, windows: Sequence[Window]) -> tuple[Standing, ...]:
        """Where the caller stands, without counting anything."""
        ...
