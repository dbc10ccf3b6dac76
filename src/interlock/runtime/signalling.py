"""Signals on their way: into the inbox, to the owner, and the outcome back to whoever waits for it."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextlib import nullcontext
from typing import Any
from uuid import UUID

import msgspec
import structlog

from interlock.core.approval import Approval, ApprovalStatus, Decision
from interlock.core.commands import Signal
from interlock.core.engine.flow.standing import FlowStanding
from interlock.core.errors import ErrorKind, InterlockError, conflict, not_found
from interlock.core.execution import ENDED
from interlock.core.ids import ApprovalId, ExecutionId
from interlock.kit import failpoints
from interlock.kit.clock import Clock
from interlock.kit.turn import give_up
from interlock.ports.bus import Bus
from interlock.ports.engine import SendSignal, SignalOutcome
from interlock.ports.ledger import Ledger, Sent
from interlock.runtime.claiming import Claiming
from interlock.runtime.faults import guarded
from interlock.runtime.inbox import Inboxes
from interlock.runtime.outcome import read_outcome
from interlock.runtime.owned import Owned
from interlock.runtime.reading import Reading
from interlock.runtime.rest import Rest
from interlock.runtime.room import Room
from interlock.runtime.runner import AT_REST, Runner

POLL = 0.25
"""Seconds between looks at an outcome that another process will write."""
CANCEL_WAIT = 5.0

failpoints.declare("signalling.before_signal", "signalling.after_signal")
failpoints.declare("signalling.before_cancel", "signalling.after_cancel")
failpoints.declare("signalling.before_decision", "signalling.after_decision")
failpoints.declare("signalling.before_expiry", "signalling.after_expiry")
log = structlog.get_logger("signalling")


class Signalling:
    """Records signals and follows them until they are folded."""

    def __init__(
        self,
        *,
        ledger: Ledger,
        runner: Runner,
        reading: Reading,
        inboxes: Inboxes,
        claiming: Claiming,
        room: Room,
        rest: Rest,
        bus: Bus,
        clock: Clock,
    ) -> None:
        self._ledger = ledger
        self._runner = runner
        self._reading = reading
        self._inboxes = inboxes
        self._claiming = claiming
        self._room = room
        self._rest = rest
        self._bus = bus
        self._clock = clock
        self._background: set[asyncio.Task[Any]] = set()
        self.runner_id = 0

    def stop(self) -> None:
        """End what still runs in the background."""
        for task in self._background:
            task.cancel()

    async def signal(self, request: SendSignal) -> SignalOutcome:
        failpoints.hit("signalling.before_signal")
        adopter = self._adopter(request.tenant_id)
        with self._room.coming(request.tenant_id) if adopter is not None else nullcontext():
            sent = await guarded(
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
                    adopter,
                )
            )
        failpoints.hit("signalling.after_signal")
        if sent is None:
            raise await self._not_live(request.execution_id)
        if not sent.is_same:
            raise InterlockError(
                ErrorKind.MISMATCH,
                "IDEMPOTENCY_MISMATCH",
                "This key was used with another signal; use a new key for a new signal",
            )
        self._hand_over(sent, request)
        outcome = read_outcome(sent.inbox_seq, await self._outcome(sent, request.wait))
        if sent.is_duplicate:
            return msgspec.structs.replace(outcome, is_replay=True)
        if request.rest <= 0 or outcome.flow is not None or outcome.status in ENDED:
            return outcome
        return msgspec.structs.replace(outcome, flow=await self._rested(request.execution_id, request.rest))

    async def _rested(self, execution_id: ExecutionId, seconds: float) -> FlowStanding | None:
        """How a flow stands once it rests; None if it takes longer, or this process cannot say though it rests."""
        until = self._clock.monotonic() + seconds
        owned = self._runner.owned.get(execution_id)
        standing = await self._rested_here(owned, seconds) if owned is not None else None
        left = until - self._clock.monotonic()
        if standing is None and left > 0:
            await self._rest.standing(execution_id, left)
        return standing

    async def _rested_here(self, owned: Owned, seconds: float) -> FlowStanding | None:
        """The same, as memory says; None also if this process let it go before it rested."""
        rests = owned.execution.status in AT_REST and not owned.is_between_attempts
        standing = owned.standing() if rests else None
        if standing is not None:
            return standing
        rest: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        owned.rest_waiters.append(rest)
        give_up()
        try:
            await asyncio.wait([rest], timeout=seconds)
        finally:
            owned.wait_no_more(rest)
        return owned.rested if rest.done() else None

    async def cancel(self, execution_id: ExecutionId, tenant_id: str, by: str, reason: str, trace_id: str) -> bool:
        adopter = self.runner_id if self.runner_id and not self._claiming.is_draining else None
        failpoints.hit("signalling.before_cancel")
        sent = await guarded(self._ledger.cancel_tree(execution_id, tenant_id, reason, by, trace_id, adopter))
        failpoints.hit("signalling.after_cancel")
        for row in sent:
            self.deliver(row)
        waits = [asyncio.create_task(self._outcome(row, CANCEL_WAIT)) for row in sent]
        outcomes = await asyncio.gather(*waits)
        return all(outcome is not None for outcome in outcomes)

    def _in_background(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    async def decide(
        self, approval_id: ApprovalId, tenant_id: str, decision: Decision, by: str, trace_id: str
    ) -> Approval:
        failpoints.hit("signalling.before_decision")
        sent = await guarded(
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
        failpoints.hit("signalling.after_decision")
        if sent is not None:
            self.deliver(sent)
            await self._outcome(sent, 2.0)
        row = await guarded(self._ledger.approval(approval_id, tenant_id))
        if row is None:
            raise not_found("NOT_FOUND", f"There is no approval {approval_id}")
        if sent is None:
            _check_repeat(row, decision)
        return row

    def _adopter(self, tenant_id: str) -> int | None:
        """This runner, if it may take an unowned execution of the tenant in the inbox statement."""
        usable = self.runner_id and not self._claiming.is_draining and self._room.fits(tenant_id)
        return self.runner_id if usable else None

    def _hand_over(self, sent: Sent, request: SendSignal) -> None:
        """Deliver a signal that was sent here: to an owner in this process without reading it back."""
        if sent.is_duplicate or sent.owner is None or sent.owner != self.runner_id:
            self.deliver(sent, request.tenant_id)
            return
        signal = Signal(
            inbox_seq=sent.inbox_seq,
            kind=request.kind,
            name=request.name,
            payload=request.payload,
            by=request.sent_by,
            signal_id=request.dedupe_key or "",
            trace_id=request.trace_id,
            expected_state=request.expected_state,
        )
        owned = self._runner.owned.get(request.execution_id)
        if owned is not None:
            self._inboxes.deliver(owned, signal)
        else:
            self._reading.continue_parked(request.execution_id, request.tenant_id, sent.epoch, signal)

    def deliver(self, sent: Sent, tenant_id: str = "") -> None:
        """Bring a recorded signal to its owner: here, elsewhere, or whoever claims the execution."""
        if sent.is_duplicate:
            return
        if sent.owner is not None and sent.owner == self.runner_id:
            if not self._inboxes.hint(sent.execution_id):
                self._reading.take_over(sent.execution_id, tenant_id)
        elif sent.owner is None:
            self._claiming.wake()
            self._bus.inbox_grew(sent.execution_id, None)
        else:
            self._bus.inbox_grew(sent.execution_id, sent.owner)

    def woken(self, execution_id: UUID, owner: int | None) -> None:
        """A child ended: its parent has a new inbox row."""
        self.deliver(Sent(execution_id, 0, owner))

    def hinted(self, execution_id: UUID, owner: int | None) -> None:
        if owner is None:
            self._claiming.wake()
        elif owner == self.runner_id and not self._inboxes.hint(execution_id):
            self._reading.take_over(execution_id)

    async def _outcome(self, sent: Sent, wait: float) -> dict[str, Any] | None:
        """The outcome of an inbox row, from the flush that folded it; None if it was not folded in time."""
        key = (sent.execution_id, sent.inbox_seq)
        if sent.is_duplicate and (known := await guarded(self._ledger.outcome(*key))) is not None:
            return dict(known)
        waiter: asyncio.Future[dict[str, Any]] = self._runner.answers.setdefault(
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
                give_up()  # what takes so long is done by somebody else
                stored: dict[str, Any] | None = await guarded(self._ledger.outcome(*key))
                if stored is not None:
                    return stored
                if done:  # this process lost the execution; whoever owns it now will write the outcome
                    waiter = asyncio.get_running_loop().create_future()
        finally:
            self._runner.answers.pop(key, None)

    def expire(self, owned: Owned, approval_id: UUID) -> None:
        self._in_background(self._expire_row(owned.tenant_id, approval_id, owned.trace_id))

    async def _expire_row(self, tenant_id: str, approval_id: UUID, trace_id: str) -> None:
        """A deadline only triggers the transaction that anybody else would run: the row decides."""
        try:
            failpoints.hit("signalling.before_expiry")
            sent = await self._ledger.escalate_approval(approval_id, tenant_id, trace_id)
            if sent is None:
                sent = await self._ledger.decide_approval(
                    approval_id, tenant_id, ApprovalStatus.EXPIRED, "", None, "nobody answered", None, trace_id, True
                )
            failpoints.hit("signalling.after_expiry")
        except Exception as error:  # noqa: BLE001 - the timer looks again; the database may be away in many ways
            log.warning("engine.expiry_failed", approval_id=str(approval_id), reason=str(error)[:200])
            return
        if sent is not None:
            self.deliver(sent)

    async def _not_live(self, execution_id: ExecutionId) -> InterlockError:
        row = await guarded(self._ledger.standing(execution_id))
        if row is None:
            return not_found("NOT_FOUND", f"There is no execution {execution_id}")
        return conflict(
            "SESSION_CLOSED", f"The execution has already {row['status']}", status=row["status"], ended=True
        )


def _check_repeat(row: Approval, decision: Decision) -> None:
    """A repeat of the winning answer gets the same row; anything later is too late."""
    if row.status is ApprovalStatus.EXPIRED:
        raise InterlockError(ErrorKind.GONE, "APPROVAL_EXPIRED", "The approval expired before this answer")
    if row.status is ApprovalStatus.CANCELLED:
        raise InterlockError(ErrorKind.GONE, "APPROVAL_CLOSED", "Nobody waits for this answer any more")
    if row.status is ApprovalStatus.PENDING:
        raise InterlockError(ErrorKind.GONE, "APPROVAL_EXPIRED", "The approval's deadline has passed")
    if row.status != decision.status:
        raise conflict("CONFLICT", f"The approval was already {row.status} by {row.decided_by}", status=row.status)
