"""Executions this process knows and does not own: one that moves again, or whose turn comes, need not be read back."""

from __future__ import annotations

from collections import OrderedDict
from uuid import UUID

from interlock.core.execution import Status
from interlock.runtime.owned import Owned

MOST = 10_000
"""As many as may be queued of one tenant; each takes about 5 KB beside its log."""
MOST_BYTES = 16 * 1024 * 1024
"""Of their logs."""
LARGEST = 256 * 1024
"""Bytes of the log of the largest execution that is kept."""
OLD_SECONDS = 60.0
"""Whatever was kept for longer than that gives way also to one that is queued: others may have claimed it long ago."""


class Parked:
    """The executions parked last and those queued first, as their logs tell them.

    The oldest gives way to the next one that is parked. One that is queued takes only the room that is free, or taken
    by what is old: who came first is the first to be claimed.

    Only an owner writes to a log, and each change of the owner raises the epoch. So what is kept is what a reader of
    the log would find, as long as the epoch says that nobody else has owned the execution since.
    """

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._kept: OrderedDict[UUID, tuple[Owned, float]] = OrderedDict()
        self._bytes = 0

    def keep(self, owned: Owned, now: float) -> None:
        """Keep an execution that was just parked or queued, if it is small and all of it is committed.

        ``now`` is monotonic seconds.
        """
        execution = owned.execution
        self.drop(execution.execution_id)
        is_whole = owned.committed_seq == execution.seq
        if owned.size > LARGEST or not is_whole or execution.running or execution.program.children():
            return
        if execution.status is Status.QUEUED and not self._has_room(owned.size, now):
            return
        self._kept[execution.execution_id] = owned, now
        self._bytes += owned.size
        while self._is_full(0):
            self._drop_oldest()

    def _has_room(self, size: int, now: float) -> bool:
        """Whether so many bytes more find room, once what is old is gone."""
        while self._is_full(size) and self._kept and now - next(iter(self._kept.values()))[1] > OLD_SECONDS:
            self._drop_oldest()
        return not self._is_full(size)

    def _drop_oldest(self) -> None:
        self._bytes -= self._kept.popitem(last=False)[1][0].size

    def _is_full(self, size: int) -> bool:
        """Whether there is too much, or too little room for so many bytes more."""
        return len(self._kept) + (size > 0) > self._most or self._bytes + size > MOST_BYTES

    def drop(self, execution_id: UUID) -> Owned | None:
        """Keep it no longer; what was kept of it."""
        kept = self._kept.pop(execution_id, None)
        if kept is None:
            return None
        self._bytes -= kept[0].size
        return kept[0]

    def take(self, execution_id: UUID, epoch: int) -> Owned | None:
        """What is kept of an execution that this process has adopted with ``epoch``; None if others owned it since."""
        owned = self.drop(execution_id)
        if owned is None or epoch != owned.epoch + 1:
            return None
        owned.adopt(epoch)
        return owned
