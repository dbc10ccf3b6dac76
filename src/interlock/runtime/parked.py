"""Executions this process let go last, so that one that moves again need not be read back."""

from __future__ import annotations

from collections import OrderedDict
from uuid import UUID

from interlock.runtime.owned import Owned

MOST = 2_000
MOST_BYTES = 16 * 1024 * 1024
LARGEST = 256 * 1024
"""Bytes of the log of the largest execution that is kept."""


class Parked:
    """The executions parked last, as their logs tell them; the oldest give way.

    Only an owner writes to a log, and each change of the owner raises the epoch. So what is kept is what a reader of
    the log would find, as long as the epoch says that nobody else has owned the execution since.
    """

    def __init__(self) -> None:
        self._kept: OrderedDict[UUID, Owned] = OrderedDict()
        self._bytes = 0

    def keep(self, owned: Owned) -> None:
        """Keep an execution that was just parked, if it is small and all of it is committed."""
        execution = owned.execution
        is_whole = owned.committed_seq == execution.seq
        if owned.size > LARGEST or not is_whole or execution.running or execution.program.children():
            return
        self.take(execution.execution_id, 0)
        self._kept[execution.execution_id] = owned
        self._bytes += owned.size
        while len(self._kept) > MOST or self._bytes > MOST_BYTES:
            self._bytes -= self._kept.popitem(last=False)[1].size

    def take(self, execution_id: UUID, epoch: int) -> Owned | None:
        """What is kept of an execution that this process has adopted with ``epoch``; None if others owned it since."""
        owned = self._kept.pop(execution_id, None)
        if owned is None:
            return None
        self._bytes -= owned.size
        if epoch != owned.epoch + 1:
            return None
        owned.adopt(epoch)
        return owned
