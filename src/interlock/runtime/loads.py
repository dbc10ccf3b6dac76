"""Logs that are wanted at the same time are read by one query."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TypeAlias
from uuid import UUID

import structlog

from interlock.ports.ledger import Ledger, Loaded

TOGETHER = 50
"""Executions that one query reads."""
AT_ONCE = 2
"""Queries under way; more would keep others from the ledger's connections."""

SECONDS = 35.0
"""So long a query may take; a connection may have gone silent."""

Asked: TypeAlias = tuple[UUID, "asyncio.Future[Loaded | None]"]
log = structlog.get_logger("loads")


class Loads:
    """Reads executions back in the order in which they are asked for."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._asked: deque[Asked] = deque()
        self._under_way: set[asyncio.Task[None]] = set()
        self._is_due = False

    async def get(self, execution_id: UUID) -> Loaded | None:
        """An execution that has not ended, with all its events; None if it has, or never was."""
        answer: asyncio.Future[Loaded | None] = asyncio.get_running_loop().create_future()
        self._asked.append((execution_id, answer))
        self._begin_soon()
        return await answer

    def _begin_soon(self) -> None:
        """Whoever asks within this turn of the loop is read together."""
        if not self._is_due:
            self._is_due = True
            asyncio.get_running_loop().call_soon(self._begin)

    def _begin(self) -> None:
        self._is_due = False
        while self._asked and len(self._under_way) < AT_ONCE:
            asked = [self._asked.popleft() for _ in range(min(TOGETHER, len(self._asked)))]
            reading = asyncio.create_task(self._read(asked))
            self._under_way.add(reading)
            reading.add_done_callback(self._over)

    def _over(self, reading: asyncio.Task[None]) -> None:
        self._under_way.discard(reading)
        self._begin()

    async def _read(self, asked: list[Asked]) -> None:
        """Answer each. What cannot be read spoils nothing for the others: then each is read alone."""
        try:
            async with asyncio.timeout(SECONDS):
                found = await self._ledger.load([execution_id for execution_id, _ in asked])
        except (OSError, TimeoutError) as error:  # the database is away: the poll of what is owned asks again
            for _, answer in asked:
                _fail(answer, error)
            return
        except Exception as error:  # noqa: BLE001 - whoever asked is told
            if len(asked) == 1:
                _fail(asked[0][1], error)
                return
            log.warning("loads.read_alone", executions=len(asked), reason=f"{type(error).__name__}: {error}"[:300])
            for one in asked:
                await self._read([one])
            return
        by_id = {loaded.execution_id: loaded for loaded in found}
        for execution_id, answer in asked:
            if not answer.done():
                answer.set_result(by_id.get(execution_id))


def _fail(answer: asyncio.Future[Loaded | None], error: Exception) -> None:
    if not answer.done():
        answer.set_exception(error)
