"""The engine as the services see it: commands in, committed facts out."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Protocol
from uuid import UUID

import msgspec

from interlock.core.approval import Approval, Decision
from interlock.core.commands import SignalKind
from interlock.core.engine.flow.standing import FlowStanding
from interlock.core.errors import InterlockError
from interlock.core.ids import ApprovalId, ExecutionId
from interlock.core.workflow import Definition
from interlock.ports.ledger import NodeTotal


class Key(msgspec.Struct, frozen=True):
    """An idempotency key with the digest of the request it came with. ``scope`` names caller and operation."""

    scope: str
    key: str
    digest: str


class WorkflowChanged(Exception):
    """The version is no longer the workflow's newest one that the caller may see; nothing was started."""


class StartExecution(msgspec.Struct, frozen=True, kw_only=True):
    """Start an execution of a version. ``wait`` is how many seconds the caller waits for it to rest (0: not).

    With ``needs_head`` the commit itself checks that the version is the workflow's newest and that the user may see
    it, so that the caller may go by what it remembers.
    """

    tenant_id: str
    user_id: str
    visibility: str
    workflow_id: UUID | None
    version_id: UUID
    number: int
    definition: Definition
    input: Any
    trace_id: str
    mode: str = "manual"
    metadata: dict[str, Any] = {}
    priority: int = 5
    start_at: str | None = None
    deadline: float | None = None  # seconds from the start
    key: Key | None = None
    wait: float = 0.0
    needs_head: bool = False
    inherited_from: UUID | None = None
    blackboard: dict[str, Any] = {}  # what it begins with
    started_by: str | None = None  # who is written down; None: the user
    idle_after: float | None = None  # seconds a flow may wait for its user before it is paused
    calling: dict[str, Any] = {}  # what its states may read of how it was called for


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """Where an execution stood at a committed moment."""

    execution_id: ExecutionId
    status: str
    waiting_reason: str | None
    output: Any
    error: Any
    created_at: datetime
    ended_at: datetime | None
    trace_id: str
    workflow_id: UUID | None = None
    is_replay: bool = False  # the answer to an earlier request with the same key
    flow: FlowStanding | None = None  # of a flow that rests and is in memory here


class SendSignal(msgspec.Struct, frozen=True, kw_only=True):
    """Input from outside. ``dedupe_key`` makes a repeat the same signal; ``wait`` is seconds for its outcome."""

    execution_id: ExecutionId
    tenant_id: str
    kind: SignalKind
    sent_by: str
    trace_id: str
    name: str = ""
    payload: Any = None
    dedupe_key: str | None = None
    expected_state: str | None = None
    wait: float = 5.0
    rest: float = 0.0  # seconds to wait, once it is folded, until the execution rests


class SignalOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a signal: the events it caused (first and last seq; equal to nothing if it changed nothing)."""

    inbox_seq: int
    first_seq: int | None = None
    last_seq: int | None = None
    status: str | None = None
    pending: bool = False  # recorded, but not folded before the waiting time was over
    is_replay: bool = False  # the outcome of an earlier signal with the same key
    flow: FlowStanding | None = None  # how a flow stands once it rests, if that is in memory here


class Engine(Protocol):
    """Satisfied by the runtime in one process and by gRPC clients in the split form."""

    async def start(self, request: StartExecution) -> Standing:
        """Durable when it returns. A known key gives the first answer (``is_replay``), or MISMATCH for another body.

        Raises UNAVAILABLE (with retry_after) when the queue is full, the server drains or the database is away,
        and WorkflowChanged if the start needs the head and another one is there.
        """
        ...

    def refusal(self, tenant_id: str) -> InterlockError | None:
        """What a start of this tenant would raise now because its queue is full (LIMITED). Never waits."""
        ...

    async def standing(self, execution_id: ExecutionId, wait: float) -> Standing:
        """Where it stands; with ``wait``, once it rests or after that many seconds."""
        ...

    async def signal(self, request: SendSignal) -> SignalOutcome:
        """Record a signal, wait for its outcome. Raises its refusal (CONFLICT, RULE, …), NOT_FOUND if it ended."""
        ...

    async def cancel(self, execution_id: ExecutionId, tenant_id: str, by: str, reason: str, trace_id: str) -> bool:
        """Cancel an execution with all its descendants. True once all have recorded it, False after 5 s."""
        ...

    async def decide(
        self, approval_id: ApprovalId, tenant_id: str, decision: Decision, by: str, trace_id: str
    ) -> Approval:
        """Decide a pending approval; the row that won comes back. Raises CONFLICT, GONE, NOT_FOUND."""
        ...

    async def totals(self) -> dict[str, int]:
        """How many ``sessions``, ``aborted`` ones, ``signals``, ``callbacks``, ``nodes`` and ``flows`` there are."""
        ...

    async def node_totals(self, tenant_id: str | None) -> list[NodeTotal]:
        """What nodes took in the whole deployment; other processes may be a second behind.

        Node types of all tenants, registered nodes only of ``tenant_id`` (None: everybody's).
        """
        ...

    def is_ready(self) -> dict[str, bool]:
        """The engine's checks for ``/ready``."""
        ...
