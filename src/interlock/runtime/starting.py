"""Starting executions: owned here from the first event if there is room, else committed as queued."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from datetime import UTC, datetime, timedelta
from typing import Any

from interlock.core.engine.decide import start
from interlock.core.errors import ErrorKind, InterlockError, unavailable
from interlock.core.events import ExecutionStarted
from interlock.core.execution import Execution, WaitingReason
from interlock.core.ids import ExecutionId
from interlock.kit import failpoints
from interlock.kit.clock import Clock
from interlock.kit.ids import Ids
from interlock.ports.bus import Bus
from interlock.ports.engine import Standing, StartExecution, WorkflowChanged
from interlock.ports.ledger import Ledger, StoredKey
from interlock.ports.telemetry import Telemetry
from interlock.runtime.entry import Committed, Entry, OutcomeLost
from interlock.runtime.faults import guarded
from interlock.runtime.journal import MAX_QUEUED, Journal
from interlock.runtime.owned import Owned
from interlock.runtime.programs import Programs
from interlock.runtime.reading import Reading
from interlock.runtime.record import Recording, record, start_row
from interlock.runtime.room import Room
from interlock.runtime.runner import Runner
from interlock.runtime.standing import standing_of

COMMIT_DEADLINE = 10.0
"""Seconds a caller waits for its start to be committed."""
KEY_LIFETIME = timedelta(hours=24)
NAMES = frozenset({"session"})
"""Scopes of keys that are names: what they stand for is found by them as long as it is kept."""
_FOR_EVER = datetime(9999, 1, 1, tzinfo=UTC)

failpoints.declare("starting.before_commit", "starting.after_commit")


class Started:
    """A committed start: how it stood with its first entry, and how to learn of its rest.

    ``first`` is the earlier request of the same key; then nothing was started. ``rest`` comes true when the
    execution rests, false when this process lost it; None if it is not owned here or nobody waits.
    """

    __slots__ = ("first", "owned", "rest", "standing")

    def __init__(
        self,
        owned: Owned,
        standing: Standing,
        *,
        first: StoredKey | None = None,
        rest: asyncio.Future[bool] | None = None,
    ) -> None:
        self.owned = owned
        self.standing = standing
        self.first = first
        self.rest = rest


class Starting:
    """Turns a request into a committed execution."""

    def __init__(
        self,
        *,
        ledger: Ledger,
        journal: Journal,
        runner: Runner,
        reading: Reading,
        room: Room,
        programs: Programs,
        bus: Bus,
        clock: Clock,
        ids: Ids,
        telemetry: Telemetry,
    ) -> None:
        self._ledger = ledger
        self._journal = journal
        self._runner = runner
        self._reading = reading
        self._room = room
        self._programs = programs
        self._bus = bus
        self._clock = clock
        self._ids = ids
        self._telemetry = telemetry
        self.is_draining = False

    async def start(self, request: StartExecution) -> Started:
        """Commit the start, or find the request that had its key. Raises WorkflowChanged."""
        self._admit()
        owned = self._new(request)
        if owned.execution.program.has_places:
            refusal = self._runner.placing.refusal(request.tenant_id, owned.execution.program)
            if refusal is not None:
                raise refusal
        if owned.execution.program.children():
            await self._reading.find_children(owned)
        done: asyncio.Future[Committed] = asyncio.get_running_loop().create_future()
        rest: asyncio.Future[bool] | None = None
        is_owned = self._room.fits(request.tenant_id)
        reason = None if is_owned else self._room.queue(request.tenant_id)
        recording = self._record(request, owned, reason, done)
        standing = standing_of(owned)
        if is_owned and request.wait > 0:
            rest = asyncio.get_running_loop().create_future()
            owned.rest_waiters.append(rest)
        with self._coming(owned) if is_owned else nullcontext():
            failpoints.hit("starting.before_commit")
            self._runner.send(owned, recording)
            committed = await self._committed(done)
            failpoints.hit("starting.after_commit")
        if committed.is_lost:
            return Started(owned, standing, first=await self._first(request))
        self._telemetry.execution_started(owned.kind)
        if not is_owned:
            self._bus.inbox_grew(owned.execution.execution_id, None)
        return Started(owned, standing, rest=rest)

    @contextmanager
    def _coming(self, owned: Owned) -> Iterator[None]:
        """Keep room for it until it is committed."""
        with self._room.coming(owned.tenant_id), self._runner.placing.coming(owned):
            yield

    def refusal(self, tenant_id: str) -> InterlockError | None:
        """What a start of this tenant would be told now because its queue is full."""
        return self._room.refusal(tenant_id)

    def _admit(self) -> None:
        if self.is_draining:
            raise unavailable("The server is stopping; send the request to another one or try again", retry_after=5)
        if self._journal.depth >= MAX_QUEUED:
            raise InterlockError(
                ErrorKind.UNAVAILABLE,
                "QUEUE_FULL",
                f"{self._journal.depth} entries wait to be written; try again in a second",
                details={"queue_name": "journal", "current_size": self._journal.depth, "capacity": MAX_QUEUED},
                retryable=True,
                retry_after=1.0,
            )

    def _new(self, request: StartExecution) -> Owned:
        program = self._programs.compile(request.version_id, request.definition)
        execution_id = ExecutionId(self._ids.new())
        return Owned(
            Execution(execution_id, program),
            tenant_id=request.tenant_id,
            user_id=request.user_id,
            visibility=request.visibility,
            workflow_id=request.workflow_id,
            number=request.number,
            root_id=execution_id,
            trace_id=request.trace_id,
            priority=request.priority,
        )

    def _record(
        self, request: StartExecution, owned: Owned, reason: WaitingReason | None, done: asyncio.Future[Committed]
    ) -> Recording:
        """The first entry. ``reason`` says why it is queued; None if it is owned here."""
        now, is_owned = self._clock.now(), reason is None
        event = ExecutionStarted(
            workflow_id=request.workflow_id,
            version_id=request.version_id,
            kind=owned.kind,
            input=request.input,
            mode=request.mode,
            started_by=request.started_by or request.user_id,
            start_at=request.start_at,
            inherited_from=request.inherited_from,
            blackboard=request.blackboard,
            idle_after=request.idle_after,
            calling=request.calling,
            deadline_at=_deadline_at(request, owned, now),
        )
        heads = self._runner.children.heads(owned.execution.execution_id)
        turn = start(owned.execution, event, now, self._ids, advance=is_owned, workflows=heads)
        rests = is_owned and self._runner.rests_long(owned)  # asked once: the clock goes on
        keeps = is_owned and not rests
        recording = record(owned, turn, now, self._on_commit(owned, keeps, done), _on_refusal(done))
        recording.entry.deadline = self._clock.monotonic() + COMMIT_DEADLINE
        recording.entry.change = None
        row = start_row(
            recording,
            owned,
            event,
            now,
            is_owned=keeps,
            metadata=request.metadata,
            wake_at=owned.execution.next_wake() if rests else None if is_owned else now,
        )
        if not is_owned:
            row["waiting_reason"] = owned.recorded_reason = reason
        recording.entry.starts.append(row | _conditions(request, now))
        for child in turn.children:
            self._runner.children.add(recording, owned, child, now)
        return recording

    def _on_commit(self, owned: Owned, keeps: bool, done: asyncio.Future[Committed]) -> Any:
        def released(entry: Entry, committed: Committed) -> None:
            if not committed.is_lost:
                self._bus.log_grew(entry.execution_id, entry.tenant_id, entry.own_rows())
                self._runner.children.announce(entry)
                owned.committed(entry)
                is_here = entry.execution_id in self._runner.owned  # read back before this was known
                if keeps and self._runner.may_release() and not is_here:
                    self._runner.keep(owned)
                    self._runner.act(owned, entry)
                    self._runner.tell_if_at_rest(owned, entry)
                else:
                    self._runner.settle(owned)
            if not done.done():
                done.set_result(committed)

        return released

    async def _committed(self, done: asyncio.Future[Committed]) -> Committed:
        try:
            async with asyncio.timeout(COMMIT_DEADLINE):
                return await done
        except TimeoutError:
            raise unavailable(
                "The outcome of the start is unknown; retry with the same Idempotency-Key", code="OUTCOME_UNKNOWN"
            ) from None

    async def _first(self, request: StartExecution) -> StoredKey:
        """The row that won the key; it may belong to a start of another process that is just being committed."""
        if request.key is None:
            raise WorkflowChanged
        stored = await guarded(self._ledger.find_key(request.tenant_id, request.key.scope, request.key.key))
        if stored is None:
            raise WorkflowChanged
        if stored.digest != request.key.digest:
            raise InterlockError(
                ErrorKind.MISMATCH,
                "IDEMPOTENCY_MISMATCH",
                "This Idempotency-Key was used with another body; use a new key for a new request",
                details={"execution_id": str(stored.execution_id)},
            )
        return stored


def _on_refusal(done: asyncio.Future[Committed]) -> Any:
    def refused(entry: Entry, error: Exception) -> None:
        if not done.done():
            done.set_exception(_refusal(error))

    return refused


def _refusal(error: Exception) -> InterlockError:
    if isinstance(error, OutcomeLost):
        return unavailable(
            "The outcome of the start is unknown; retry with the same Idempotency-Key", code="OUTCOME_UNKNOWN"
        )
    if isinstance(error, InterlockError):
        return error
    return unavailable(f"The start was not recorded ({type(error).__name__}); try again")


def _deadline_at(request: StartExecution, owned: Owned, now: datetime) -> datetime | None:
    """The nearer of what the caller and what the definition allow."""
    allowed = [seconds for seconds in (request.deadline, owned.execution.program.execution_timeout()) if seconds]
    return now + timedelta(seconds=min(allowed)) if allowed else None


def _conditions(request: StartExecution, now: datetime) -> dict[str, Any]:
    """What must hold in the commit, or the start is lost."""
    if request.key is None:
        return {"needs_head": request.needs_head}
    return {
        "needs_head": request.needs_head,
        "key_scope": request.key.scope,
        "key": request.key.key,
        "key_digest": request.key.digest,
        "key_expires_at": _FOR_EVER if request.key.scope in NAMES else now + KEY_LIFETIME,
    }
