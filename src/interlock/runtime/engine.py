"""The engine in this process: wires runner, journal, inboxes and rounds, and answers ``ports/engine``."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

import structlog

from interlock.core.approval import Approval, ApprovalStatus, Decision
from interlock.core.commands import SignalKind
from interlock.core.errors import ErrorKind, InterlockError, conflict, not_found, unavailable
from interlock.core.execution import ENDED
from interlock.core.ids import ApprovalId, ExecutionId
from interlock.core.node_type import NodeType
from interlock.kit.clock import SystemClock
from interlock.kit.ids import Ids
from interlock.ports.blobs import Blobs
from interlock.ports.bus import Bus
from interlock.ports.engine import SendSignal, SignalOutcome, Standing, StartExecution
from interlock.ports.executor import Executor
from interlock.ports.ledger import Ledger, Sent
from interlock.ports.telemetry import Telemetry
from interlock.runtime.claiming import Claiming
from interlock.runtime.entry import EntryRefused
from interlock.runtime.inbox import Inboxes
from interlock.runtime.journal import Journal
from interlock.runtime.liveness import Liveness
from interlock.runtime.owned import Owned
from interlock.runtime.programs import Programs
from interlock.runtime.reading import Reading
from interlock.runtime.runner import Runner
from interlock.runtime.starting import Starting
from interlock.runtime.upkeep import Upkeep

SLOTS = 2_000
TENANT_CAP = 1_000
POLL = 0.25
"""Seconds between looks at an outcome that another process will write."""
CANCEL_WAIT = 5.0

log = structlog.get_logger("engine")


class LocalEngine:
    """One runner with everything around it."""

    def __init__(
        self,
        *,
        name: str,
        ledger: Ledger,
        blobs: Blobs,
        bus: Bus,
        executors: Mapping[str, Executor],
        catalogue: Mapping[str, NodeType],
        clock: SystemClock,
        ids: Ids,
        telemetry: Telemetry,
        slots: int = SLOTS,
        tenant_cap: int = TENANT_CAP,
        replaces_namesakes: bool = False,
    ) -> None:
        self._name = name
        self._ledger = ledger
        self._bus = bus
        self._executors = executors
        self._clock = clock
        self._telemetry = telemetry
        self._replaces_namesakes = replaces_namesakes
        self._programs = Programs(catalogue)
        self._journal = Journal(ledger, clock, telemetry, self._fenced, self._woken)
        self.runner = Runner(
            journal=self._journal,
            blobs=blobs,
            bus=bus,
            executors=executors,
            clock=clock,
            ids=ids,
            telemetry=telemetry,
        )
        self._reading = Reading(ledger, blobs, self._programs, self.runner)
        self._inboxes = Inboxes(ledger, self.runner)
        self._liveness = Liveness(
            ledger.lease(), clock, telemetry, on_reaped=self._fenced, on_clock=clock.align
        )
        self._claiming = Claiming(
            ledger=ledger,
            runner=self.runner,
            reading=self._reading,
            inboxes=self._inboxes,
            liveness=self._liveness,
            bus=bus,
            clock=clock,
            telemetry=telemetry,
            slots=slots,
            tenant_cap=tenant_cap,
        )
        self._starting = Starting(
            ledger=ledger,
            journal=self._journal,
            runner=self.runner,
            reading=self._reading,
            claiming=self._claiming,
            programs=self._programs,
            bus=bus,
            clock=clock,
            ids=ids,
            telemetry=telemetry,
        )
        self._upkeep = Upkeep(ledger)
        self.runner.may_release = self._liveness.is_sure
        self.runner.read_inbox = self._inboxes.read
        self.runner.expire = self._expire
        self._background: set[asyncio.Task[Any]] = set()
        self._runner_id = 0
        self._registering: asyncio.Task[None] | None = None
        bus.on_inbox(self._hinted)

    # Life --------------------------------------------------------------------------------------------------

    async def open(self) -> None:
        """Register a runner and begin to work."""
        for executor in self._executors.values():
            await executor.start()
        await self._register()
        self._upkeep.start()

    async def close(self, grace: float = 20.0) -> None:
        """Stop taking work, write what was decided, hand everything over to others, within ``grace`` seconds."""
        self._starting.is_draining = self._claiming.is_draining = True
        await self._claiming.stop()
        await self._upkeep.stop()
        for executor in self._executors.values():
            await executor.stop(grace / 2)
        await self._journal.stop()
        await self._liveness.stop()
        for task in self._background:
            task.cancel()
        self.runner.forget_all()
        if self._runner_id and not self._journal.is_fenced:
            try:
                await self._ledger.reap(self._runner_id, None)
            except (OSError, RuntimeError, TimeoutError) as error:
                log.warning("engine.farewell_failed", reason=str(error)[:200])

    async def _register(self) -> None:
        runner_id, now = await self._ledger.register(self._name)
        self._clock.align(now)
        self._runner_id = self._reading.runner_id = runner_id
        if self._replaces_namesakes:
            for predecessor in await self._ledger.namesakes(self._name, runner_id):
                freed = await self._ledger.reap(predecessor, None)
                log.info("engine.predecessor_reaped", runner_id=predecessor, executions=len(freed))
        self._liveness.start(runner_id)
        self._journal.start(runner_id)
        self._claiming.start(runner_id)

    def _fenced(self) -> None:
        """This runner was reaped: forget everything and register anew, without exiting."""
        if self._registering is not None and not self._registering.done():
            return
        log.error("engine.fenced", runner_id=self._runner_id)
        self._runner_id = self._reading.runner_id = 0
        self._journal.fence()
        self.runner.forget_all()
        self._registering = asyncio.create_task(self._register_again())

    async def _register_again(self) -> None:
        delay = 0.1
        while True:
            try:
                await self._register()
            except Exception as error:  # noqa: BLE001 - the database may be away in many ways
                log.warning("engine.registering_failed", reason=str(error)[:200])
                await asyncio.sleep(delay)
                delay = min(2.0, delay * 2)
            else:
                return

    def is_ready(self) -> dict[str, bool]:
        return {
            "journal": self._journal.is_connected and not self._journal.is_fenced,
            "lease": self._runner_id != 0 and self._liveness.is_fresh,
            "accepting": not self._starting.is_draining,
        }

    # Starting ----------------------------------------------------------------------------------------------

    async def start(self, request: StartExecution) -> Standing:
        begun = self._clock.monotonic()
        owned, stored, rest = await self._starting.start(request)
        if stored is not None:
            first = await self.standing(ExecutionId(stored.execution_id), request.wait)
            return Standing(**{name: getattr(first, name) for name in first.__struct_fields__} | {"is_replay": True})
        execution = owned.execution
        if rest is not None and execution.ended is None:
            left = request.wait - (self._clock.monotonic() - begun)
            await asyncio.wait([rest], timeout=max(0.0, left))
        elif rest is None and request.wait > 0 and execution.ended is None:
            return await self.standing(execution.execution_id, request.wait)
        return _standing_of(owned)

    async def standing(self, execution_id: ExecutionId, wait: float) -> Standing:
        until = self._clock.monotonic() + wait
        subscription = self._bus.follow(execution_id) if wait > 0 else None
        try:
            while True:
                row = await self._ledger.standing(execution_id)
                if row is None:
                    raise not_found("NOT_FOUND", f"There is no execution {execution_id}")
                left = until - self._clock.monotonic()
                at_rest = row["status"] in ENDED or row["status"] in ("waiting", "paused")
                if subscription is None or at_rest or left <= 0:
                    return Standing(execution_id=execution_id, **row)
                await subscription.wait(min(left, 1.0))
        finally:
            if subscription is not None:
                subscription.close()

    # Signals -----------------------------------------------------------------------------------------------

    async def signal(self, request: SendSignal) -> SignalOutcome:
        sent = await self._guard(
            self._ledger.send(
                request.execution_id,
                request.tenant_id,
                request.kind,
                request.name,
                request.payload,
                request.dedupe_key,
                request.sent_by,
                request.expected_state,
                request.trace_id,
                self._adopter(request.tenant_id),
            )
        )
        if sent is None:
            raise await self._not_live(request.execution_id)
        self._deliver(sent)
        return _read_outcome(sent.inbox_seq, await self._outcome(sent, request.wait))

    async def cancel(self, execution_id: ExecutionId, tenant_id: str, by: str, reason: str, trace_id: str) -> bool:
        sent = await self._guard(self._ledger.cancel_tree(execution_id, tenant_id, reason, by, trace_id))
        for row in sent:
            self._deliver(row)
        waits = [asyncio.create_task(self._outcome(row, CANCEL_WAIT)) for row in sent]
        outcomes = await asyncio.gather(*waits)
        return all(outcome is not None for outcome in outcomes)

    async def decide(
        self, approval_id: ApprovalId, tenant_id: str, decision: Decision, by: str, trace_id: str
    ) -> Approval:
        sent = await self._guard(
            self._ledger.decide_approval(
                approval_id,
                tenant_id,
                decision.status,
                decision.decision,
                decision.data,
                decision.reason,
                by,
                trace_id,
                False,
            )
        )
        if sent is not None:
            self._deliver(sent)
            await self._outcome(sent, 2.0)
        row = await self._guard(self._ledger.approval(approval_id, tenant_id))
        if row is None:
            raise not_found("NOT_FOUND", f"There is no approval {approval_id}")
        if sent is None:
            _check_repeat(row, decision)
        return row

    def _adopter(self, tenant_id: str) -> int | None:
        """This runner, if it may take an unowned execution of the tenant in the inbox statement."""
        usable = self._runner_id and not self._claiming.is_draining and self._claiming.has_room(tenant_id)
        return self._runner_id if usable else None

    def _deliver(self, sent: Sent) -> None:
        """Bring a recorded signal to its owner: here, elsewhere, or whoever claims the execution."""
        if sent.is_duplicate:
            return
        if sent.owner is not None and sent.owner == self._runner_id:
            if not self._inboxes.hint(sent.execution_id):
                self._reading.take_over(sent.execution_id)
        elif sent.owner is None:
            self._claiming.wake()
            self._bus.inbox_grew(sent.execution_id, None)
        else:
            self._bus.inbox_grew(sent.execution_id, sent.owner)

    def _woken(self, execution_id: UUID, owner: int | None) -> None:
        """A child ended: its parent has a new inbox row."""
        self._deliver(Sent(execution_id, 0, owner))

    def _hinted(self, execution_id: UUID, owner: int | None) -> None:
        if owner is None:
            self._claiming.wake()
        elif owner == self._runner_id and not self._inboxes.hint(execution_id):
            self._reading.take_over(execution_id)

    async def _outcome(self, sent: Sent, wait: float) -> dict[str, Any] | None:
        """The outcome of an inbox row, from the flush that folded it; None if it was not folded in time."""
        key = (sent.execution_id, sent.inbox_seq)
        waiter: asyncio.Future[dict[str, Any]] = self.runner.answers.setdefault(
            key, asyncio.get_running_loop().create_future()
        )
        until = self._clock.monotonic() + wait
        try:
            while True:
                left = until - self._clock.monotonic()
                if left <= 0:
                    return None
                done, _ = await asyncio.wait([waiter], timeout=min(POLL, left))
                if done and waiter.exception() is None:
                    return waiter.result()
                stored: dict[str, Any] | None = await self._guard(self._ledger.outcome(*key))
                if stored is not None:
                    return stored
                if done:  # this process lost the execution; whoever owns it now will write the outcome
                    waiter = asyncio.get_running_loop().create_future()
        finally:
            self.runner.answers.pop(key, None)

    def _expire(self, owned: Owned, approval_id: UUID) -> None:
        task = asyncio.create_task(self._expire_row(owned.tenant_id, approval_id, owned.trace_id))
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    async def _expire_row(self, tenant_id: str, approval_id: UUID, trace_id: str) -> None:
        """A deadline only triggers the transaction that anybody else would run: the row decides."""
        try:
            sent = await self._ledger.escalate_approval(approval_id, tenant_id, trace_id)
            if sent is None:
                sent = await self._ledger.decide_approval(
                    approval_id, tenant_id, ApprovalStatus.EXPIRED, "", None, "nobody answered", None, trace_id, True
                )
        except Exception as error:  # noqa: BLE001 - the timer looks again; the database may be away in many ways
            log.warning("engine.expiry_failed", approval_id=str(approval_id), reason=str(error)[:200])
            return
        if sent is not None:
            self._deliver(sent)

    async def _not_live(self, execution_id: ExecutionId) -> InterlockError:
        row = await self._guard(self._ledger.standing(execution_id))
        if row is None:
            return not_found("NOT_FOUND", f"There is no execution {execution_id}")
        return conflict(
            "SESSION_CLOSED", f"The execution has already {row['status']}", status=row["status"], ended=True
        )

    async def _guard(self, call: Any) -> Any:
        """A call to the database, its faults as UNAVAILABLE."""
        try:
            return await call
        except InterlockError:
            raise
        except Exception as error:
            log.warning("engine.database_fault", reason=f"{type(error).__name__}: {error}"[:300])
            raise unavailable("The database does not answer; try again") from error


def _standing_of(owned: Owned) -> Standing:
    """From memory, right after a commit that the caller waited for."""
    execution = owned.execution
    error = execution.error
    started_at: datetime | None = execution.started_at
    if started_at is None:
        raise EntryRefused("the execution has no first event")
    return Standing(
        execution_id=execution.execution_id,
        status=str(execution.status),
        waiting_reason=execution.waiting_reason,
        output=execution.output,
        error={"code": error.code, "message": error.message, "node_id": error.node_id} if error is not None else None,
        created_at=started_at,
        ended_at=execution.ended_at,
        trace_id=owned.trace_id,
        workflow_id=owned.workflow_id,
    )


def _read_outcome(inbox_seq: int, outcome: dict[str, Any] | None) -> SignalOutcome:
    if outcome is None:
        return SignalOutcome(inbox_seq=inbox_seq, pending=True)
    refused = outcome.get("refused")
    if refused is not None:
        raise InterlockError(
            ErrorKind(refused["kind"]), refused["code"], refused["message"], details=refused["details"]
        )
    return SignalOutcome(
        inbox_seq=inbox_seq,
        first_seq=outcome["first_seq"],
        last_seq=outcome["last_seq"],
        status=outcome["status"],
    )


def _check_repeat(row: Approval, decision: Decision) -> None:
    """A repeat of the winning answer gets the same row; anything later is too late."""
    if row.status is ApprovalStatus.EXPIRED:
        raise InterlockError(ErrorKind.GONE, "APPROVAL_EXPIRED", "The approval expired before this answer")
    if row.status is ApprovalStatus.CANCELLED:
        raise InterlockError(ErrorKind.GONE, "APPROVAL_CLOSED", "The execution ended before this answer")
    if row.status is ApprovalStatus.PENDING:
        raise InterlockError(ErrorKind.GONE, "APPROVAL_EXPIRED", "The approval's deadline has passed")
    if row.status != decision.status:
        raise conflict("CONFLICT", f"The approval was already {row.status} by {row.decided_by}", status=row.status)


__all__ = ["LocalEngine", "SignalKind"]
