"""Makes one call for all attempts of a batch, and passes everything else on as it is."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from uuid import UUID

from interlock.backends.executor.batching.batch import Batch, Key, Member, alone, call_for, key_of, lose, pass_on, share
from interlock.core.commands import AttemptLost, TaskReported, TaskSucceeded
from interlock.ports.executor import Attaching, Executor, Report, Result
from interlock.ports.node import Attempt
from interlock.ports.task_log import TaskLog, place_of

GATHERING = 1.0
"""Seconds from a batch's first attempt until it goes without those that have not come, as theirs ended meanwhile."""


class BatchingExecutor:
    """Satisfies ``ports/executor.Executor`` over another one.

    Attempts whose placement names a batch are gathered until all of it have come; then the function is called once,
    with the list of their arguments, and must return as many results in their order. If that call fails or its
    process dies, the members run once more one after the other, so that a bad one fails alone and no more is used than
    the one place that they share.
    """

    def __init__(self, inner: Executor, task_log: TaskLog | None = None) -> None:
        self._inner = inner
        self._task_log = task_log
        self.name = inner.name
        self._batches: dict[Key, Batch] = {}
        self._batch_of: dict[Key, Batch] = {}
        self._timers: dict[Key, asyncio.TimerHandle] = {}

    async def start(self) -> None:
        await self._inner.start()

    def submit(self, attempt: Attempt, report: Report) -> None:
        """Run an attempt, with the others of its batch if it is of one."""
        key = key_of(attempt)
        if key is None:
            self._inner.submit(attempt, report)
            return
        member = Member(attempt, report)
        batch = self._join(key, member)
        if batch.is_whole:
            self._call(batch)
        elif batch.key not in self._timers:
            self._timers[batch.key] = asyncio.get_running_loop().call_later(GATHERING, self._call, batch)

    def cancel(self, execution_id: UUID, task_id: str) -> None:
        """End an attempt. The call of a batch goes on for its other members, and ends with the last of them."""
        key = (execution_id, task_id)
        batch = self._batch_of.get(key)
        if batch is None:
            self._inner.cancel(execution_id, task_id)
            return
        self._part(batch, batch.members[key])
        batch.size -= 1
        if batch.alone is not None:
            if batch.alone == key:
                self._inner.cancel(execution_id, task_id)
                self._call_next(batch)
        elif not batch.members and (batch.is_called or batch.size == 0):
            self._drop(batch)
            self._inner.cancel(*batch.key)
            self._share_log(batch.key, ())
        elif not batch.is_called and batch.is_whole:
            self._call(batch)

    def attach(self, execution_id: UUID, task_id: str, attempt: int, report: Report) -> bool:
        """As the other executor promises. A call that several attempts shared is not found by any of them."""
        return isinstance(self._inner, Attaching) and self._inner.attach(execution_id, task_id, attempt, report)

    async def stop(self, grace: float) -> None:
        """Cancel everything; return within ``grace`` seconds."""
        for batch in list(self._batches.values()):
            self._drop(batch)
        await self._inner.stop(grace)

    def _join(self, key: Key, member: Member) -> Batch:
        """The batch that the member is in now; one that comes after its batch has gone is a batch by itself."""
        batch = self._batches.get(key)
        if batch is not None and batch.is_called:
            key = (member.key[0], f"batch of {member.key[1]}")
            batch = None
        if batch is None:
            placement = member.attempt.placement
            size = placement.batch_size if placement is not None and key == key_of(member.attempt) else 1
            batch = self._batches[key] = Batch(key, size)
        batch.members[member.key] = member
        self._batch_of[member.key] = batch
        return batch

    def _call(self, batch: Batch) -> None:
        self._stop_timer(batch)
        if not batch.members:
            self._drop(batch)
            return
        batch.is_called = True
        members = list(batch.members.values())
        self._share_log(batch.key, [member.attempt for member in members])
        self._inner.submit(
            call_for(batch.key, members), lambda execution_id, result: self._hear(batch, members, result)
        )

    def _hear(self, batch: Batch, called: list[Member], result: Result) -> None:
        """Tell the members that are still there; ``called`` are all whose arguments the call got."""
        if isinstance(result, TaskReported):
            for member in list(batch.members.values()):
                member.hear(pass_on(member, result))
            return
        self._share_log(batch.key, ())
        if isinstance(result, TaskSucceeded):
            self._end(batch, zip(called, share(called, result), strict=True))
        elif isinstance(result, AttemptLost) and not result.crashed:
            self._end(batch, [(member, lose(member, result)) for member in called])
        else:
            self._call_next(batch)

    def _end(self, batch: Batch, results: Iterable[tuple[Member, Result]]) -> None:
        for member, its in results:
            if self._part(batch, member):
                member.hear(its)
        self._drop(batch)

    def _call_next(self, batch: Batch) -> None:
        """Call for the next of the members that run by themselves."""
        member = next(iter(batch.members.values()), None)
        if member is None:
            self._drop(batch)
            return
        batch.alone = member.key
        self._inner.submit(alone(member.attempt), lambda _, result: self._hear_alone(batch, member, result))

    def _hear_alone(self, batch: Batch, member: Member, result: Result) -> None:
        if isinstance(result, TaskReported):
            member.hear(result)
        elif self._part(batch, member):
            member.hear(result)
            self._call_next(batch)

    def _part(self, batch: Batch, member: Member) -> bool:
        """From now on it is not of the batch. Whether it was: a member hears its end once, and none once cancelled."""
        self._batch_of.pop(member.key, None)
        return batch.members.pop(member.key, None) is not None

    def _share_log(self, key: Key, attempts: Sequence[Attempt]) -> None:
        """What the call prints is nobody's alone: the first member of each execution has it in its log."""
        if self._task_log is not None:
            firsts = {attempt.execution_id: attempt for attempt in reversed(attempts)}
            self._task_log.share(*key, [place_of(attempt) for attempt in firsts.values()])

    def _drop(self, batch: Batch) -> None:
        self._stop_timer(batch)
        self._batches.pop(batch.key, None)
        for key in batch.members:
            self._batch_of.pop(key, None)
        batch.members.clear()

    def _stop_timer(self, batch: Batch) -> None:
        timer = self._timers.pop(batch.key, None)
        if timer is not None:
            timer.cancel()
