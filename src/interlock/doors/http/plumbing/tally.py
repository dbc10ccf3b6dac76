"""One log line a second for many refusals of one sort: a line for each would cost more than the refusal."""

from __future__ import annotations

import asyncio
from collections import Counter

from interlock.doors.http.plumbing.access_log import Lines

SECONDS = 1.0
_MOST = 1_000

Sort = tuple[str, str, int, str, str | None]


class Tally:
    """Counts refusals, and writes a line ``request.refused`` for each sort of them a second after its first."""

    def __init__(self, lines: Lines, *, is_on: bool) -> None:
        self._lines = lines
        self._is_on = is_on
        self._counts: Counter[Sort] = Counter()

    def note(self, method: str, route: str, status: int, code: str, asker: str | None) -> None:
        """One more. ``asker`` is a tenant, or the address of whoever has none. What are too many sorts are one."""
        if not self._is_on:
            return
        if not self._counts:
            asyncio.get_running_loop().call_later(SECONDS, self._write)
        sort = method, route, status, code, asker
        if sort not in self._counts and len(self._counts) >= _MOST:
            sort = method, "", status, code, None
        self._counts[sort] += 1

    def _write(self) -> None:
        counts, self._counts = self._counts, Counter()
        for (method, route, status, code, asker), count in counts.items():
            self._lines.info(
                "request.refused",
                method=method,
                route=route or None,
                status=status,
                code=code,
                asker=asker,
                count=count,
                seconds=SECONDS,
            )
