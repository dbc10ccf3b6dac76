"""Signals into inboxes. Those that come while one is being written go together, in one statement for all."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Coroutine, Sequence
from typing import Any, NamedTuple
from uuid import UUID

import asyncpg
import msgspec

from interlock.backends.store.postgres.connection import EnginePool
from interlock.backends.store.postgres.queries import load
from interlock.core.errors import unavailable
from interlock.ports.ledger import Sent

MOST = 200
"""Signals in one statement."""
AT_ONCE = 2
"""Statements under way; what comes meanwhile goes with the next."""
MOST_WAITING = 20_000
"""Signals that wait to be written before more are refused."""
SECONDS = 5.0
"""Time for a statement, with the wait for a connection."""
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

    def settle(self, sent: Sent | None) -> None:
        if not self.sent.done():  # its caller may have left
            self.sent.set_result(sent)

    def fail(self, error: BaseException) -> None:
        if self.sent.done():
            return
        if isinstance(error, asyncio.CancelledError):
            self.sent.cancel()
        else:
            self.sent.set_exception(error)


class Signals:
    """Writes inbox rows, few statements at a time. A signal that has to wait for a lock keeps no other one waiting."""

    def __init__(self, pool: EnginePool) -> None:
        self._pool = pool
        self._waiting: deque[_Waiting] = deque()
        self._rounds: set[asyncio.Task[None]] = set()
        self._alone: set[asyncio.Task[None]] = set()

    async def send(self, posting: Posting) -> Sent | None:
        """Record a signal; None if the execution is not live. A known dedupe key gives the first row again.

        Raises UNAVAILABLE if too many wait, TimeoutError if the database does not answer within ``SECONDS``.
        """
        if len(self._waiting) + len(self._alone) >= MOST_WAITING:
            raise unavailable("Too many signals wait to be written; try again in a second", code="QUEUE_FULL")
        waiting = _Waiting(posting, asyncio.get_running_loop().create_future())
        self._waiting.append(waiting)
        if len(self._rounds) < AT_ONCE:
            self._begin(self._rounds, self._run())
        return await waiting.sent

    async def close(self) -> None:
        """Give up what is under way: its outcome is not known."""
        waiting, self._waiting = self._waiting, deque()
        for found in waiting:
            found.sent.cancel()
        tasks = [*self._rounds, *self._alone]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _begin(self, tasks: set[asyncio.Task[None]], work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    async def _run(self) -> None:
        while self._waiting:
            batch = self._take()
            try:
                async with asyncio.timeout(SECONDS):
                    left = await self._send_together(batch)
            except BaseException as error:
                for found in batch:
                    found.fail(error)
                if not isinstance(error, Exception):
                    raise
            else:
                for found in left:
                    self._begin(self._alone, self._settle_alone(found))

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
        """Write what can be written at once; what is left is locked, not live, known or refused."""
        rows = [{"n": n, **msgspec.structs.asdict(found.posting)} for n, found in enumerate(batch)]
        adopter = next((found.posting.adopter for found in batch if found.posting.adopter is not None), None)
        async with self._pool.use() as connection:
            try:
                written = await connection.fetch(_INBOX["signals"], msgspec.json.encode(rows).decode(), adopter)
            except _REJECTED:
                return list(batch)
        for row in written:
            batch[row["n"]].settle(_sent(batch[row["n"]].posting.execution_id, row))
        done = {row["n"] for row in written}
        return [found for n, found in enumerate(batch) if n not in done]

    async def _settle_alone(self, waiting: _Waiting) -> None:
        try:
            async with asyncio.timeout(SECONDS):
                waiting.settle(await self._send_alone(waiting.posting))
        except BaseException as error:
            waiting.fail(error)
            if not isinstance(error, Exception):
                raise

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
