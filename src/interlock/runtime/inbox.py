"""Reading inboxes: fold what others sent, in order, whoever noticed it first."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from uuid import UUID

import structlog

from interlock.core.commands import Signal
from interlock.ports.blobs import Blobs
from interlock.ports.ledger import Ledger
from interlock.runtime.owned import Owned
from interlock.runtime.payloads import read_signals
from interlock.runtime.runner import Runner

log = structlog.get_logger("inbox")


class Inboxes:
    """Folds inbox rows into owned executions; each execution is read by one reader at a time."""

    def __init__(self, ledger: Ledger, blobs: Blobs, runner: Runner) -> None:
        self._ledger = ledger
        self._blobs = blobs
        self._runner = runner
        self._readers: set[asyncio.Task[None]] = set()

    def read(self, owned: Owned) -> None:
        """Fold what is new, soon. Called again meanwhile, it looks once more afterwards."""
        if owned.is_folding or owned.is_parking:
            owned.hinted = True
            return
        owned.is_folding = True
        task = asyncio.create_task(self._read(owned))
        self._readers.add(task)
        task.add_done_callback(self._readers.discard)

    def hint(self, execution_id: UUID) -> bool:
        """Something may have come for an execution; False if it is not owned here."""
        owned = self._runner.owned.get(execution_id)
        if owned is None:
            return False
        self.read(owned)
        return True

    def deliver(self, owned: Owned, signal: Signal) -> None:
        """Fold a signal that was just recorded, at once if it is the next one."""
        if owned.is_folding or owned.is_parking or signal.inbox_seq != owned.folded + 1:
            self.read(owned)
        else:
            self._fold(owned, signal.inbox_seq, [signal])

    async def _read(self, owned: Owned) -> None:
        execution_id = owned.execution.execution_id
        try:
            while self._runner.owned.get(execution_id) is owned:
                owned.hinted = False
                found = await self._ledger.open_inbox(execution_id, owned.folded)
                if found is None:
                    return
                last_seq, rows = found
                signals = await read_signals(rows, owned.tenant_id, self._blobs)
                if self._runner.owned.get(execution_id) is not owned:
                    return
                if owned.is_parking:  # it may be another's by now; what came is read if the park does not hold
                    owned.hinted = True
                    return
                self._fold(owned, last_seq, signals)
                if not owned.hinted or owned.is_parking:
                    return
        except Exception:
            log.exception("inbox.read_failed", execution_id=str(execution_id))
        finally:
            owned.is_folding = False

    def _fold(self, owned: Owned, last_seq: int, signals: Sequence[Signal]) -> None:
        try:
            for signal in signals:
                self._runner.fold_signal(owned, signal)
        except Exception:
            log.exception("inbox.fold_failed", execution_id=str(owned.execution.execution_id))
            self._runner.spoil(owned.execution.execution_id)
        owned.folded = max(owned.folded, last_seq)  # a row dropped as a duplicate leaves only its number
