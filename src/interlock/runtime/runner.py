"""The runner: owns executions, decides their commands, and acts only on what was committed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

import structlog

from interlock.core.commands import Advance, AttemptLost, Command, Signal, TaskPlaced, TaskReported
from interlock.core.engine.decide import decide
from interlock.core.engine.turn import Turn
from interlock.core.events import TaskCompleted, TaskFailed, TaskStarted
from interlock.core.execution import ENDED, Phase, Status
from interlock.kit import failpoints
from interlock.kit.clock import Clock
from interlock.kit.ids import Ids
from interlock.ports.blobs import Blobs
from interlock.ports.bus import Bus
from interlock.ports.executor import Executor, Result
from interlock.ports.telemetry import Telemetry
from interlock.runtime.attempts import Attempts
from interlock.runtime.children import Children
from interlock.runtime.entry import Committed, Entry
from interlock.runtime.heartbeats import Heartbeats
from interlock.runtime.journal import Journal
from interlock.runtime.outcome import outcome_of
from interlock.runtime.owned import Owned
from interlock.runtime.parked import Parked
from interlock.runtime.placing import Placing
from interlock.runtime.record import Recording, record, record_reason
from interlock.runtime.storing import Storing
from interlock.runtime.timers import Timers

STAYS_OWNED = timedelta(seconds=5)
"""An execution whose next timer is nearer than this is not parked."""
AT_REST = ENDED | {Status.WAITING, Status.PAUSED}
"""Statuses in which nothing moves without somebody or some time."""

failpoints.declare("runner.before_result", "runner.after_result")
log = structlog.get_logger("runner")


class Runner:
    """Everything one process owns. All methods run on its event loop and never block."""

    def __init__(
        self,
        *,
        journal: Journal,
        blobs: Blobs,
        bus: Bus,
        executors: Mapping[str, Executor],
        placing: Placing,
        clock: Clock,
        ids: Ids,
        telemetry: Telemetry,
    ) -> None:
        self._journal = journal
        self._bus = bus
        self._clock = clock
        self._ids = ids
        self._telemetry = telemetry
        self.owned: dict[UUID, Owned] = {}
        self.tenant_counts: dict[str, int] = {}
        self.children = Children(bus)
        self.parked = Parked()
        self.answers: dict[tuple[UUID, int], asyncio.Future[dict[str, Any]]] = {}
        self.may_release: Callable[[], bool] = lambda: True
        self.take_over: Callable[[UUID], object] = lambda execution_id: None
        self.read_inbox: Callable[[Owned], None] = lambda owned: None
        self.freed: Callable[[], None] = lambda: None
        self._heartbeats = Heartbeats(self.apply)
        self.timers = Timers(clock, apply=self.apply, spoil=self.spoil)
        self._storing = Storing(journal, blobs)
        self.attempts = Attempts(executors, self._heartbeats, telemetry, self.report)
        self.placing = placing
        placing.placed, placing.lost, placing.told = self._placed, self._lose, self._tell_reason

    # Owning ------------------------------------------------------------------------------------------------

    def keep(self, owned: Owned) -> None:
        """Begin to own an execution; what was kept of it from before is worth nothing any more."""
        self.parked.drop(owned.execution.execution_id)
        self.owned[owned.execution.execution_id] = owned
        self.tenant_counts[owned.tenant_id] = self.tenant_counts.get(owned.tenant_id, 0) + 1

    def forget(self, owned: Owned, *, is_committed: bool = False) -> None:
        """Stop to own an execution: its timer and its attempts end here. ``is_committed``: memory is not ahead."""
        if self.owned.pop(owned.execution.execution_id, None) is None:
            return
        owned.is_forgotten = True
        self.children.forget(owned.execution.execution_id)
        left = self.tenant_counts[owned.tenant_id] - 1
        if left:
            self.tenant_counts[owned.tenant_id] = left
        else:
            del self.tenant_counts[owned.tenant_id]
        owned.stop_timer()
        self.attempts.cancel_all(owned)
        if owned.execution.program.has_places:
            self.placing.leave(owned)
        owned.wake_waiters(is_committed=is_committed)
        self.freed()

    def forget_all(self) -> None:
        """After being fenced: nothing here is ours any more."""
        for owned in list(self.owned.values()):
            self.forget(owned)

    def spoil(self, execution_id: UUID) -> None:
        """A turn of it broke, so memory may differ from the log: forget it; the poll of owned ones reads it anew."""
        owned = self.owned.get(execution_id)
        if owned is not None:
            self.forget(owned)
            self._journal.withdraw(execution_id)

    def resume(self, owned: Owned, signals: Sequence[Signal]) -> None:
        """Go on with an execution just read back: attempts that were running are lost with their runner,
        unless their executor has them report here.

        Signals that came meanwhile are folded first: after a cancellation nothing begins any more.
        """
        self._resume(owned, signals)
        if not owned.is_parking:  # a park holds only if nothing has come since
            self.read_inbox(owned)
        self._rest_or_wait(owned)

    def continue_parked(self, owned: Owned, signals: Sequence[Signal]) -> None:
        """Go on with an execution that was parked or queued here, by all signals that have come since."""
        self._resume(owned, signals)
        self._rest_or_wait(owned)

    def _resume(self, owned: Owned, signals: Sequence[Signal]) -> None:
        self.keep(owned)
        tasks = owned.execution.tasks
        running = [(task.task_id, task.attempt) for task in tasks.values() if task.phase is Phase.RUNNING]
        # Before the signals: an executor ends what is cancelled, or too late, only if it knows of it.
        attached = {found for found in running if self.attempts.attach(owned, *found)}
        for signal in signals:
            self.fold_signal(owned, signal)
        for task_id, attempt in running:
            if (task_id, attempt) not in attached:
                self.apply(owned, AttemptLost(task_id=task_id, attempt=attempt))
            elif owned.execution.runs(task_id, attempt):
                self.placing.hold(owned, task_id)
        self.apply(owned, Advance())

    def _rest_or_wait(self, owned: Owned) -> None:
        if owned.execution.execution_id in self.owned and not owned.is_parking:
            self._park_or_wait(owned)

    # Deciding ----------------------------------------------------------------------------------------------

    def report(self, execution_id: UUID, command: Result) -> None:
        """A result from an executor; one for an execution that is not here any more is dropped."""
        owned = self.owned.get(execution_id)
        if owned is None:
            return
        try:
            failpoints.hit("runner.before_result")
            if not owned.execution.runs(command.task_id, command.attempt):
                pass  # of an attempt that is over: what another one has stays with it
            elif isinstance(command, TaskReported):
                self.attempts.beat(owned, command.task_id, command.attempt)
            else:
                self.attempts.settle(owned, command.task_id)
                if owned.execution.program.has_places:
                    self.placing.release(owned, command.task_id)
            self.apply(owned, command)
            failpoints.hit("runner.after_result")
        except Exception:
            log.exception("runner.report_failed", execution_id=str(execution_id), command=type(command).__name__)
            self.spoil(execution_id)

    def apply(self, owned: Owned, command: Command) -> None:
        """Decide a command and send what it causes to the journal."""
        turn = self._decide(owned, command)
        if turn.lost and isinstance(command, AttemptLost):
            owned.lost[command.task_id] = turn.lost
        if turn.events:
            self._submit(owned, self._record(owned, turn))
        elif owned.execution.program.has_places:
            self.placing.seek(owned)

    def _placed(self, execution_id: UUID, command: TaskPlaced) -> None:
        """There is a place for an attempt: it begins, or gives the place back if nobody wants it any more."""
        owned = self.owned.get(execution_id)
        if owned is None:
            return
        try:
            owned.lost.pop(command.task_id, None)
            self.apply(owned, command)
        except Exception:
            log.exception("runner.placing_failed", execution_id=str(execution_id), task_id=command.task_id)
            self.spoil(execution_id)

    def _lose(self, execution_id: UUID, command: AttemptLost) -> None:
        """The worker of an attempt is gone."""
        owned = self.owned.get(execution_id)
        if owned is not None:
            self.attempts.cancel(owned, command.task_id)
            self.report(execution_id, command)

    def _tell_reason(self, owned: Owned) -> None:
        """Write down why the execution does not move."""
        recording = record_reason(owned, self._clock.now(), self._released, self._refused)
        if recording is not None:
            self.send(owned, recording)

    def fold_signal(self, owned: Owned, signal: Signal) -> None:
        """Decide one inbox row; its outcome is committed with the events it caused."""
        if signal.inbox_seq <= owned.folded or owned.execution.ended is not None:
            return  # known, or too late: the inbox itself says so once the end is committed
        owned.folded = signal.inbox_seq
        owned.trace_id = signal.trace_id or owned.trace_id
        self.children.ended(owned, signal)
        first = owned.execution.seq + 1
        turn = self._decide(owned, signal)
        recording = self._record(owned, turn)
        recording.entry.outcomes.append(
            {
                "execution_id": owned.execution.execution_id,
                "inbox_seq": signal.inbox_seq,
                "outcome": outcome_of(turn, first),
            }
        )
        self._submit(owned, recording)

    def _decide(self, owned: Owned, command: Command) -> Turn:
        heads = self.children.heads(owned.execution.execution_id)
        return decide(owned.execution, command, self._clock.now(), self._ids, heads)

    def _record(self, owned: Owned, turn: Turn) -> Recording:
        recording = record(owned, turn, turn.now, self._released, self._refused)
        if owned.children:
            self.children.leave(recording.entry, owned)
        for child in turn.children:
            self.children.add(recording, owned, child, turn.now)
        return recording

    def _submit(self, owned: Owned, recording: Recording) -> None:
        self._plan_park(owned, recording.entry)
        self.send(owned, recording)

    def _plan_park(self, owned: Owned, entry: Entry) -> None:
        """Let the execution go with this entry if nothing here will move it soon."""
        if self.rests_long(owned):
            entry.park = {
                "execution_id": owned.execution.execution_id,
                "wake_at": owned.execution.next_wake(),
                "folded": owned.folded,
            }
            owned.is_parking = True

    def rests_long(self, owned: Owned) -> bool:
        """Whether nothing here will move the execution within the next seconds."""
        execution = owned.execution
        if execution.ended is not None or execution.running or execution.status not in AT_REST:
            return False
        wake_at = execution.next_wake()
        return wake_at is None or wake_at - self._clock.now() > STAYS_OWNED

    def tell_if_at_rest(self, owned: Owned, entry: Entry) -> None:
        """Wake whoever waits for the execution to rest, if it does as of this committed entry."""
        if entry.status in AT_REST and not owned.is_between_attempts:
            owned.wake_waiters(is_committed=True)

    def settle(self, owned: Owned) -> None:
        """An execution that ended or rests with its very first entry is never owned; whoever waits is told.

        If it was claimed and read back before its commit was known here, it goes on there.
        """
        if owned.execution.execution_id in self.owned:
            owned.wake_waiters(is_committed=False)
            return
        if owned.execution.ended is not None:
            self._count_end(owned)
        else:
            self.parked.keep(owned, self._clock.monotonic())
        self.children.forget(owned.execution.execution_id)
        owned.wake_waiters(is_committed=True)

    def _park_or_wait(self, owned: Owned) -> None:
        """An execution that was claimed for nothing goes back at once."""
        entry = Entry(owned.execution.execution_id, owned.tenant_id, self._released, self._refused)
        entry.status = owned.execution.status
        self._plan_park(owned, entry)
        if entry.park is not None:
            self._journal.submit(entry)
        else:
            self.timers.set(owned)

    def send(self, owned: Owned, recording: Recording) -> None:
        """Hand an entry to the journal, in the order of its execution, once its blobs are durable."""
        owned.size += recording.entry.size + sum(map(len, recording.blobs))
        if owned.backlog is not None:
            owned.backlog.append(recording)
        elif recording.blobs:
            self._storing.begin(owned, recording)
        else:
            self._journal.submit(recording.entry)

    # After the commit --------------------------------------------------------------------------------------

    def _released(self, entry: Entry, committed: Committed) -> None:
        owned = self.owned.get(entry.execution_id)
        self._answer(entry)
        if entry.rows:
            self._bus.log_grew(entry.execution_id, entry.tenant_id, entry.own_rows())
        if entry.starts:
            self.children.announce(entry)
        if owned is None:
            return
        owned.committed(entry)
        if not self.may_release():
            log.error("runner.lease_doubtful", execution_id=str(entry.execution_id))
            self.forget(owned)
            return
        self.act(owned, entry)
        if len(owned.attempts) > owned.execution.running:
            self.attempts.cancel_stale(owned)
        if owned.execution.ended is not None and entry.status in ENDED:
            self._end(owned)
        elif entry.park is not None:
            self._parked(owned, committed.parked)
        else:
            self.tell_if_at_rest(owned, entry)

    def act(self, owned: Owned, entry: Entry) -> None:
        """Start the attempts and timers that committed events call for."""
        for event in entry.turn_events:
            kind = type(event)
            if kind is TaskStarted:
                self.attempts.start(owned, event)  # type: ignore[arg-type]  # kind says so
            elif kind is TaskCompleted or kind is TaskFailed:
                self.attempts.count(owned, event)  # type: ignore[arg-type]
        if (owned.execution.timers or owned.execution.deadlines or owned.execution.deadline_at) and not entry.park:
            self.timers.set(owned)
        if owned.execution.program.has_places:
            self.placing.seek(owned)

    def _end(self, owned: Owned) -> None:
        self._count_end(owned)
        self.forget(owned, is_committed=True)

    def _count_end(self, owned: Owned) -> None:
        execution = owned.execution
        begun, ended = execution.started_at, execution.ended_at
        seconds = (ended - begun).total_seconds() if begun is not None and ended is not None else 0.0
        has_places = execution.program.has_places
        self._telemetry.execution_ended(owned.kind, str(execution.ended), seconds, has_places=has_places)

    @property
    def graphs_with_places(self) -> int:
        """How many owned executions have tasks that need a place on a worker."""
        return sum(owned.execution.program.has_places for owned in self.owned.values())

    def _parked(self, owned: Owned, held: bool) -> None:
        owned.is_parking = False
        if held:
            self.forget(owned, is_committed=True)
            if owned.hinted:  # a signal may have adopted it meanwhile
                self.take_over(owned.execution.execution_id)
            else:
                self.parked.keep(owned, self._clock.monotonic())
            return
        self.read_inbox(owned)  # a signal came between: fold it first
        self.timers.set(owned)

    def _refused(self, entry: Entry, error: Exception) -> None:
        """What memory holds beyond the log is worthless: forget it; the log is read anew."""
        owned = self.owned.get(entry.execution_id)
        for outcome in entry.outcomes:
            waiter = self.answers.pop((entry.execution_id, outcome["inbox_seq"]), None)
            if waiter is not None and not waiter.done():
                waiter.set_exception(error)
        if owned is not None:
            self.forget(owned)
            self._journal.withdraw(entry.execution_id)

    def _answer(self, entry: Entry) -> None:
        for outcome in entry.outcomes:
            waiter = self.answers.pop((entry.execution_id, outcome["inbox_seq"]), None)
            if waiter is not None and not waiter.done():
                waiter.set_result(outcome["outcome"])
