"""Hints on their way to other processes: gathered until somebody sends them, and nothing while there are none."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from uuid import UUID

from interlock.backends.bus.hints import LOOK, InboxGrew, LogGrew, pack
from interlock.backends.bus.memory import topic_of

GATHER_SECONDS = 0.005
"""Hints of this long leave together; the first one after a rest leaves at once."""


class Outbox:
    """What this process has to tell the others. Hints gathered twice leave once."""

    def __init__(self) -> None:
        self._has_peers = False
        self._must_look = False
        self._logs: set[LogGrew] = set()
        self._inboxes: set[InboxGrew] = set()
        self._due = asyncio.Event()
        self._sent = float("-inf")

    def log_grew(self, execution_id: UUID, tenant_id: str) -> None:
        if self._has_peers:
            self._logs.add(LogGrew(execution_id, topic_of(tenant_id)))
            self._due.set()

    def inbox_grew(self, execution_id: UUID, owner: int | None) -> None:
        if self._has_peers:
            self._inboxes.add(InboxGrew(execution_id, owner))
            self._due.set()

    def set_peers(self, others: bool) -> None:
        """Whether anybody is there. Who came just now is asked to look: nothing was said before."""
        if others and not self._has_peers:
            self._must_look = True
            self._due.set()
        self._has_peers = others
        if not others:
            self.forget()

    def forget(self) -> None:
        """Drop everything: it is old news."""
        self._must_look = False
        self._logs, self._inboxes = set(), set()
        self._due.clear()

    def look(self) -> None:
        """Ask the others to look for themselves: what was to be said to them is lost."""
        self._must_look = self._has_peers
        if self._has_peers:
            self._due.set()

    def nudge(self) -> None:
        """Make ``texts`` return."""
        self._due.set()

    async def texts(self, timeout: float) -> list[str]:
        """What is to be sent now, as soon as there is something. Raises TimeoutError after so many seconds."""
        async with asyncio.timeout(timeout):
            await self._due.wait()
        loop = asyncio.get_running_loop()
        if loop.time() - self._sent < GATHER_SECONDS:
            await asyncio.sleep(GATHER_SECONDS)
        self._sent = loop.time()
        texts = list(self._pack())
        self.forget()
        return texts

    def _pack(self) -> Iterator[str]:
        if self._must_look:
            yield LOOK
        yield from pack(self._logs, self._inboxes)
