"""Rows for the ledger, written in batches: one write at a time, and what comes meanwhile goes with the next."""

from __future__ import annotations

import asyncio
import contextlib
from uuid import UUID

import structlog

from interlock.core.errors import InterlockError, unavailable
from interlock.ports.models import Answer, Books, CallRow

_MAX_WAITING = 20_000
_RETRY_SECONDS = 0.5
_LINGER_SECONDS = 0.005
"""What is not urgent is written so much later, and then often with what comes next."""
_log = structlog.get_logger("interlock.models")


class LedgerWriter:
    """Writes every row in the end: what the database does not take is kept and tried again."""

    def __init__(self, books: Books) -> None:
        self._books = books
        self._waiting: dict[UUID, CallRow] = {}
        self._answers: dict[tuple[str, str], Answer] = {}
        self._round: asyncio.Future[bool] | None = None
        self._task: asyncio.Task[None] | None = None
        self._has_urgent = asyncio.Event()
        self._urgent = 0

    def require_room(self) -> None:
        """Raise UNAVAILABLE if so much is waiting that no more calls should begin."""
        if len(self._waiting) >= _MAX_WAITING:
            raise unavailable("The ledger of model calls cannot be written now; try again", retry_after=5.0)

    def add(self, row: CallRow, answer: Answer | None = None, *, is_urgent: bool = False) -> asyncio.Future[bool]:
        """Have a row written soon, or now if it ``is_urgent``, in one commit with the answer that was paid for.

        It replaces one of the same call that is still waiting. What comes back tells when the write it goes with is
        over, and whether it was done.
        """
        self._waiting[row.call_id] = row
        if is_urgent or answer is not None:
            self._urgent += 1
            self._has_urgent.set()
        if answer is not None:
            self._answers.setdefault((answer.place.tenant_id, answer.place.effect_key), answer)
        if self._round is None:
            self._round = asyncio.get_running_loop().create_future()
        current = self._round
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._run())
        return current

    @property
    def coming(self) -> asyncio.Future[bool] | None:
        """The write that rows go with which are waiting now, those too that could not be written."""
        return self._round

    async def flush(self) -> None:
        """Wait until everything that was added is written. Raises UNAVAILABLE if it cannot be."""
        while self._round is not None or (self._task is not None and not self._task.done()):
            self._has_urgent.set()
            current = self._round
            if current is not None and not await asyncio.shield(current):
                raise unavailable("The ledger of model calls cannot be written now; try again")
            if current is None and self._task is not None:
                await asyncio.wait({self._task})

    async def _run(self) -> None:
        while self._waiting:
            await self._linger()
            rows, self._waiting = self._waiting, {}
            answers, self._answers = self._answers, {}
            current, self._round = self._round, None
            is_written = await self._write(rows, answers)
            if current is not None:
                current.set_result(is_written)
            if not is_written:
                self._waiting = {**rows, **self._waiting}
                self._answers = {**self._answers, **answers}
                self._round = self._round or asyncio.get_running_loop().create_future()
                await asyncio.sleep(_RETRY_SECONDS)

    async def _linger(self) -> None:
        if not self._has_urgent.is_set():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_LINGER_SECONDS):
                    await self._has_urgent.wait()
        if self._urgent > 1 and not self._answers:
            await asyncio.sleep(0)  # what begins in this turn of the loop shares the write; more would wait idly
        self._urgent = 0
        self._has_urgent.clear()

    async def _write(self, rows: dict[UUID, CallRow], answers: dict[tuple[str, str], Answer]) -> bool:
        try:
            await self._books.write(list(rows.values()), list(answers.values()))
        except InterlockError as error:
            _log.warning("models.ledger_not_written", rows=len(rows), reason=str(error.__cause__ or error))
            return False
        except Exception:  # noqa: BLE001 - logged with its traceback; the rows stay, and the calls after them too
            _log.exception("models.ledger_failed", rows=len(rows))
            return False
        return True
