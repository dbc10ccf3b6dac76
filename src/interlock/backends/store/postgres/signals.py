"""Signals into inboxes. Those that come while one is being written go together, in one statement for all."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import Any, NamedTuple
from uuid import UUID

import asyncpg
import msgspec

from interlock.backends.store.postgres.connection import EnginePool
from interlock.backends.store.postgres.queries import load
from interlock.ports.ledger import Sent

MOST = 200
"""Signals in one statement."""
_INBOX = load("inbox")
_REJECTED = (asyncpg.DataError, asyncpg.IntegrityConstraintViolationError)
"""Nothing was written, because of a value: of which signal, each one alone will tell."""


class Posting(msgspec.Struct, frozen=True):
    """A signal as its inbox row has it; ``payload`` is JSON text. ``adopter`` may take an unowned execution."""

    execution_id: UUID
    tenant_id: str
    kind: str
    name: str
    payload: str | None
    dedupe_key: str | None
    sent_by: str
    expected_state: str | None
    trace_id: str
    adopter: int | None


class _Waiting(NamedTuple):
    posting: Posting
    sent: asyncio.Future[Sent | None]


class Signals:
    """Writes inbox rows. A signal waits for no other one that nobody is writing."""

    def __init__(self, pool: EnginePool) -> None:
        self._pool = pool
        self._waiting: deque[_Waiting] = deque()
        self._round: asyncio.Task[None] | None = None
        self._is_busy = False

    async def send(self, posting: Posting) -> Sent | None:
        """Record a signal; None if the execution is not live. A known dedupe key gives the first row again."""
        if self._is_busy:
            waiting = _Waiting(posting, asyncio.get_running_loop().create_future())
            self._waiting.append(waiting)
            return await waiting.sent
        self._is_busy = True
        try:
            return await self._send_alone(posting)
        finally:
            self._go_on()

    async def close(self) -> None:
        """Give up what is under way: its outcome is not known."""
        waiting, self._waiting = self._waiting, deque()
        for found in waiting:
            found.sent.cancel()
        if self._round is not None:
            self._round.cancel()
            await asyncio.gather(self._round, return_exceptions=True)

    def _go_on(self) -> None:
        self._is_busy = bool(self._waiting)
        if self._is_busy:
            self._round = asyncio.create_task(self._send_next())

    async def _send_next(self) -> None:
        batch = self._take()
        try:
            left = await self._send_together(batch) if len(batch) > 1 else batch
            await asyncio.gather(*(self._settle_alone(found) for found in left))
        except BaseException as error:
            for found in batch:
                if not found.sent.done():
                    found.sent.set_exception(error)
            if not isinstance(error, Exception):
                raise
        finally:
            self._go_on()

    def _take(self) -> list[_Waiting]:
        """The next ones, at most one for each execution: the others follow."""
        taken: dict[UUID, _Waiting] = {}
        later: list[_Waiting] = []
        while self._waiting and len(taken) < MOST:
            found = self._waiting.popleft()
            if found.posting.execution_id in taken:
                later.append(found)
            else:
                taken[found.posting.execution_id] = found
        self._waiting.extendleft(reversed(later))
        return list(taken.values())

    async def _send_together(self, batch: Sequence[_Waiting]) -> list[_Waiting]:
        """Write what can be written at once; what is left is locked, not live, or refused."""
        rows = [{"n": n, **msgspec.structs.asdict(found.posting)} for n, found in enumerate(batch)]
        adopter = next((found.posting.adopter for found in batch if found.posting.adopter is not None), None)
        async with self._pool.use() as connection:
            try:
                written = await connection.fetch(_INBOX["signals"], msgspec.json.encode(rows).decode(), adopter)
            except _REJECTED:
                return list(batch)
        for row in written:
            found = batch[row["n"]]
            if not found.sent.done():
                found.sent.set_result(_sent(found.posting.execution_id, row))
        done = {row["n"] for row in written}
        return [found for n, found in enumerate(batch) if n not in done]

    async def _settle_alone(self, waiting: _Waiting) -> None:
        try:
            sent = await self._send_alone(waiting.posting)
        except Exception as error:  # noqa: BLE001 - whatever it is, it belongs to whoever sent this one
            if not waiting.sent.done():
                waiting.sent.set_exception(error)
        else:
            if not waiting.sent.done():
                waiting.sent.set_result(sent)

    async def _send_alone(self, posting: Posting) -> Sent | None:
        async with self._pool.use() as connection:
            try:
                row = await connection.fetchrow(_INBOX["signal"], *msgspec.structs.astuple(posting))
            except asyncpg.UniqueViolationError:
                row = None
            if row is not None:
                return _sent(posting.execution_id, row)
            first = await connection.fetchrow(
                _INBOX["find_signal"], posting.execution_id, posting.kind, posting.dedupe_key
            )
        return _repeat(posting, first) if first is not None else None


def _sent(execution_id: UUID, row: Any) -> Sent:
    return Sent(execution_id, row["inbox_seq"], row["owner"], row["epoch"])


def _repeat(posting: Posting, first: Any) -> Sent:
    """The row that had the dedupe key before, and whether it says the same."""
    told = (posting.name, _value(posting.payload), posting.expected_state)
    is_same = (first["name"], _value(first["payload"]), first["expected_state"]) == told
    return Sent(posting.execution_id, first["inbox_seq"], None, is_duplicate=True, is_same=is_same)


def _value(text: str | None) -> Any:
    return msgspec.json.decode(text) if text is not None else None
