"""Looking for events whose hint was lost: one query a second for all that a principal follows here."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from typing import Protocol
from uuid import UUID

import structlog

from interlock.core.errors import InterlockError
from interlock.core.principal import Principal
from interlock.ports.store import Store

POLL_SECONDS = 1.0
"""How long a lost hint can delay an event."""
_AT_ONCE = 1_000

_log = structlog.get_logger("interlock.watch")


class Polled(Protocol):
    """What is kept current."""

    execution_id: UUID

    @property
    def principal(self) -> Principal:
        """Under whose claims to ask."""
        ...

    @property
    def last(self) -> int:
        """The newest event it knows of."""
        ...

    def look(self) -> None:
        """There is more."""
        ...


class Polling:
    """All that is followed in this process, by execution. A task asks for news while there is any of it."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._followed: dict[UUID, Polled] = {}
        self._task: asyncio.Task[None] | None = None

    def __len__(self) -> int:
        return len(self._followed)

    def find(self, execution_id: UUID) -> Polled | None:
        """Who follows an execution."""
        return self._followed.get(execution_id)

    def add(self, polled: Polled) -> None:
        """Ask for its execution from now on."""
        self._followed[polled.execution_id] = polled
        if self._task is None:
            self._task = asyncio.create_task(self._poll(), name="watch-polling")

    def remove(self, polled: Polled) -> None:
        """Ask no more; with the last one the task ends."""
        if self._followed.get(polled.execution_id) is polled:
            del self._followed[polled.execution_id]
        if not self._followed and self._task is not None:
            self._task.cancel()
            self._task = None

    async def _poll(self) -> None:
        while True:
            await asyncio.sleep(POLL_SECONDS)
            for principal, some in _by_principal(self._followed.values()).items():
                for begin in range(0, len(some), _AT_ONCE):
                    await self._ask(principal, some[begin : begin + _AT_ONCE])

    async def _ask(self, principal: Principal, some: Sequence[Polled]) -> None:
        try:
            async with self._store.transaction(principal, read_only=True) as transaction:
                found = await transaction.last_seqs([one.execution_id for one in some])
        except InterlockError as error:  # the database is away or slow; the next turn tries again
            _log.warning("watch.poll_failed", code=error.code)
            return
        for one in some:
            if found.get(one.execution_id, 0) > one.last:
                one.look()


def _by_principal(followed: Iterable[Polled]) -> dict[Principal, list[Polled]]:
    groups: dict[Principal, list[Polled]] = {}
    for one in followed:
        groups.setdefault(one.principal, []).append(one)
    return groups
