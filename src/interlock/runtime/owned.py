"""An execution while a runner owns it: the fold, and what is in flight around it."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING
from uuid import UUID

from interlock.core.engine.flow.standing import FlowStanding, flow_standing
from interlock.core.execution import Execution, Status, WaitingReason

if TYPE_CHECKING:
    from interlock.runtime.entry import Entry
    from interlock.runtime.record import Recording


class Owned:
    """Kept in memory from start or claim until the execution ends, is parked, or an entry of it fails."""

    __slots__ = (
        "attempts",
        "backlog",
        "children",
        "committed_seq",
        "epoch",
        "execution",
        "folded",
        "heartbeats",
        "hinted",
        "is_folding",
        "is_forgotten",
        "is_parking",
        "kind",
        "lost",
        "number",
        "priority",
        "questions",
        "recorded_reason",
        "recorded_status",
        "rest_waiters",
        "rested",
        "root_id",
        "shortage",
        "size",
        "tenant_id",
        "timer",
        "trace_id",
        "user_id",
        "visibility",
        "waiting_places",
        "workflow_id",
    )

    def __init__(
        self,
        execution: Execution,
        *,
        tenant_id: str,
        user_id: str,
        visibility: str,
        workflow_id: UUID | None,
        number: int,
        root_id: UUID,
        trace_id: str,
        priority: int,
    ) -> None:
        self.execution = execution
        self.kind = execution.program.kind
        self.tenant_id = tenant_id
        self.user_id = user_id
        self.visibility = visibility
        self.workflow_id = workflow_id
        self.number = number
        self.root_id = root_id
        self.trace_id = trace_id
        self.priority = priority
        self.epoch = 1  # how often it was owned or freed, as of now
        self.size = 0  # bytes of its log, about
        self.folded = 0  # inbox_seq folded so far
        self.recorded_status: Status | None = None
        self.recorded_reason: WaitingReason | None = None
        self.is_parking = False
        self.is_folding = False
        self.is_forgotten = False  # no longer owned here
        self.hinted = False  # the inbox grew while it was parking or being read
        self.questions: dict[str, UUID] = {}  # task id -> approval nobody has decided yet
        self.children: dict[str, UUID] = {}  # task id -> living sub-workflow
        self.timer: asyncio.TimerHandle | None = None
        self.backlog: deque[Recording] | None = None  # entries behind one whose blobs are being stored
        self.lost: dict[str, str] = {}  # task id -> how its attempt was lost, while its task seeks another place
        self.shortage: WaitingReason | None = None  # what tasks that seek a place wait for
        self.waiting_places = 0  # tasks that wait for a place
        self.attempts: set[str] = set()  # task ids whose attempt was handed to an executor
        self.heartbeats: dict[str, asyncio.TimerHandle] = {}  # task id -> the end of its allowed silence
        self.rest_waiters: list[asyncio.Future[bool]] = []
        self.committed_seq = 0  # the last event that is known to be committed
        self.rested: FlowStanding | None = None  # how a flow stood when its waiters were woken

    def adopt(self, epoch: int) -> None:
        """It was parked, and is owned here again: nothing of it is in flight."""
        self.epoch = epoch
        self.is_parking = self.is_folding = self.is_forgotten = self.hinted = False
        self.rested = None

    def stop_timer(self) -> None:
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None

    def committed(self, entry: Entry) -> None:
        """An entry of it was committed."""
        own = self.execution.execution_id
        for row in reversed(entry.rows):
            if row[0] is own or row[0] == own:
                self.committed_seq = row[1]
                return

    def wake_waiters(self, *, is_committed: bool) -> None:
        """Whoever waits learns that it rests, or (not committed, between attempts) that this process cannot say."""
        waiters, self.rest_waiters = self.rest_waiters, []
        if not waiters:
            self.rested = None
            return
        rests = is_committed and not self.is_between_attempts
        self.rested = self.standing() if rests else None
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(rests)

    @property
    def waiting_reason(self) -> WaitingReason | None:
        """Why it rests: what its log says, and whether what it waits for is room or a worker that is not there."""
        reason = self.execution.waiting_reason
        if self.shortage is None or reason not in (None, WaitingReason.RESOURCES, WaitingReason.RETRY_AT):
            return reason
        is_moving = self.execution.running > len(self.lost)
        return reason if is_moving or self.execution.ended is not None else self.shortage

    @property
    def is_between_attempts(self) -> bool:
        """Whether a flow only pauses before a node's next attempt: whoever waits for it to rest goes on waiting."""
        return self.kind == "flow" and self.execution.waiting_reason is WaitingReason.RETRY_AT

    def wait_no_more(self, waiter: asyncio.Future[bool]) -> None:
        """Whoever waited has been told, or has left."""
        if waiter in self.rest_waiters:
            self.rest_waiters.remove(waiter)

    def standing(self) -> FlowStanding | None:
        """How a flow stands, if memory holds nothing that is not committed."""
        return flow_standing(self.execution) if self.committed_seq == self.execution.seq else None
