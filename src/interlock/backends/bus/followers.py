"""Who is told: followers of one execution's log, and of all executions of a tenant."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from uuid import UUID

from interlock.ports.bus import LogRow

MAX_GIVEN = 1_000
"""Events kept for a follower that does not come for them; it reads the log then."""


class LogFollower:
    """Someone who follows one execution; one task at a time waits on it. ``forget`` is called when it is closed."""

    def __init__(self, forget: Callable[[LogFollower], None]) -> None:
        self._forget = forget
        self._is_hinted = False
        self._given: list[LogRow] | None = []
        self._waiter: asyncio.Future[None] | None = None

    async def wait(self, timeout: float) -> bool:
        """True as soon as there was a hint since the last call; False after ``timeout`` seconds or once closed."""
        if not self._is_hinted and timeout > 0:
            loop = asyncio.get_running_loop()
            self._waiter = loop.create_future()
            timer = loop.call_later(timeout, self._wake)
            try:
                await self._waiter
            finally:
                timer.cancel()
                self._waiter = None
        is_hinted, self._is_hinted = self._is_hinted, False
        return is_hinted

    def given(self) -> list[LogRow] | None:
        """The committed events that came along with all hints since the last call; None if some came without."""
        given, self._given = self._given, []
        return given

    def close(self) -> None:
        """No more hints; who waits is let go. May be called again."""
        self._forget(self)
        self._wake()

    def hint(self, rows: Sequence[LogRow] = ()) -> None:
        """There is something new: exactly ``rows``, or what is to be read."""
        if self._given is not None:
            if rows and len(self._given) < MAX_GIVEN:
                self._given.extend(rows)
            else:
                self._given = None
        self._is_hinted = True
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


class TenantFollower:
    """Someone who follows all executions of a tenant; ``on_hint`` is called whenever one of them grew."""

    def __init__(self, forget: Callable[[TenantFollower], None], on_hint: Callable[[], None]) -> None:
        self._forget = forget
        self._on_hint = on_hint
        self._grown: set[UUID] = set()

    def take(self) -> set[UUID]:
        """Executions whose log grew since the last call."""
        grown, self._grown = self._grown, set()
        return grown

    def close(self) -> None:
        """No more hints. May be called again."""
        self._forget(self)

    def hint(self, execution_id: UUID) -> None:
        """The log of this execution grew."""
        self._grown.add(execution_id)
        self._on_hint()
