"""The engine's own access to the store: ownership, journal, inbox. Only the runtime holds one."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol
from uuid import UUID

import msgspec

from interlock.core.approval import Approval
from interlock.core.events import Recorded
from interlock.core.workflow import Definition


class FlushRejected(Exception):
    """The database refused a value or a row (SQLSTATE class 22 or 23): some entry of the flush is guilty."""


class OutcomeUnknown(Exception):
    """No answer to a flush, or a lost connection: it may or may not be committed."""


class EventRow(msgspec.Struct, frozen=True, array_like=True):
    """An event as stored. ``data`` and ``refs`` (blobs of its large fields) are JSON texts."""

    execution_id: UUID
    seq: int
    type: str
    data: str
    refs: str | None
    at: datetime
    trace_id: str


NO_ROWS = "[]"
"""A row set that is empty."""


class Flush(msgspec.Struct, kw_only=True):
    """Many entries on their way into one commit; the row sets are JSON texts but for the hot one."""

    number: int
    touched: list[UUID]
    execution_ids: list[UUID]
    seqs: list[int]
    types: list[str]
    data: list[str]
    refs: list[str | None]
    at: list[datetime]
    trace_ids: list[str]
    starts: str = NO_ROWS
    changes: str = NO_ROWS
    parks: str = NO_ROWS
    outcomes: str = NO_ROWS
    approvals: str = NO_ROWS
    closings: str = NO_ROWS
    artifacts: str = NO_ROWS
    notices: str = NO_ROWS


class FlushResult(msgspec.Struct, frozen=True):
    """What a committed flush did. ``alive`` is False if it wrote nothing: reaped, or done before."""

    alive: bool
    lost: frozenset[UUID] = frozenset()  # starts whose key was taken or whose workflow changed
    foreign: frozenset[UUID] = frozenset()  # executions that are not ours
    parked: frozenset[UUID] = frozenset()
    woken: tuple[tuple[UUID, int | None], ...] = ()  # parents with their owners


class NodeTotal(msgspec.Struct):
    """Attempts of a node that have ended; of the ``timed`` ones the seconds in sum, at least and at most."""

    tenant_id: str
    node: str
    ended: int = 0
    timed: int = 0
    seconds: float = 0.0
    least: float | None = None
    most: float | None = None

    def time(self, seconds: float) -> None:
        """One of them took so long."""
        self.timed += 1
        self.seconds += seconds
        self.least = seconds if self.least is None or seconds < self.least else self.least
        self.most = seconds if self.most is None or seconds > self.most else self.most

    def add(self, other: NodeTotal) -> None:
        """Put those of the same node together."""
        self.ended += other.ended
        self.timed += other.timed
        self.seconds += other.seconds
        self.least = min((found for found in (self.least, other.least) if found is not None), default=None)
        self.most = max((found for found in (self.most, other.most) if found is not None), default=None)

    def row(self) -> tuple[str, str, int, int, float, float | None, float | None]:
        """Its fields, in order."""
        return self.tenant_id, self.node, self.ended, self.timed, self.seconds, self.least, self.most


class Claimed(msgspec.Struct, frozen=True):
    """An execution that is ours now: how often it was owned or freed, and how far its inbox goes."""

    execution_id: UUID
    tenant_id: str
    epoch: int
    inbox_seq: int


class Claim(msgspec.Struct, frozen=True):
    """What a claim took, and the tenants that have more due than it had room for."""

    claimed: list[Claimed]
    behind: frozenset[str]


class Loaded(msgspec.Struct, frozen=True, kw_only=True):
    """An unfinished execution read back: its rows, and how far its inbox was folded."""

    execution_id: UUID
    tenant_id: str
    user_id: str
    visibility: str
    workflow_id: UUID | None
    version_id: UUID
    number: int
    kind: str
    root_id: UUID
    trace_id: str
    owner: int | None
    epoch: int
    inbox_seq: int
    folded: int
    priority: int
    children: list[UUID]  # those that still live
    events: list[Recorded]
    size: int  # bytes of the events
    refs: dict[int, dict[str, str]]  # seq -> large fields by name, as SHA-256 of their blobs


class InboxRow(msgspec.Struct, frozen=True, kw_only=True):
    inbox_seq: int
    kind: str
    name: str
    payload: Any
    dedupe_key: str | None
    sent_by: str
    expected_state: str | None
    trace_id: str


class Sent(msgspec.Struct, frozen=True):
    """A recorded inbox row, and who owned the execution then. A known dedupe key gives the first row again.

    ``epoch`` is that of the execution: how often it was owned or freed; 0 if nobody asked.
    """

    execution_id: UUID
    inbox_seq: int
    owner: int | None
    epoch: int = 0
    is_duplicate: bool = False
    is_same: bool = True  # a duplicate says the same as the first


class Head(msgspec.Struct, frozen=True):
    """The newest version of a workflow."""

    workflow_id: UUID
    version_id: UUID
    number: int
    kind: str
    timeout: float | None = None  # seconds for the whole execution, as its definition says


class StoredKey(msgspec.Struct, frozen=True):
    digest: str
    execution_id: UUID
    status: int | None
    answer: Any


class Lease(Protocol):
    """A runner's sign of life, on a connection (and thread) of its own. Blocking calls."""

    def open(self) -> None: ...

    def hold(self, runner_id: int) -> None:
        """Take the session lock that says this process lives."""
        ...

    def renew(self, runner_id: int) -> datetime | None:
        """The database's clock, or None if the runner was reaped. Raises OSError-like errors when it is away."""
        ...

    def close(self) -> None: ...


class Ledger(Protocol):
    """All of it runs as the engine's database role. Times are aware UTC of the database's clock."""

    async def open(self) -> None: ...
    async def close(self) -> None: ...
    def lease(self) -> Lease: ...

    async def register(self, name: str) -> tuple[int, datetime]: ...
    async def flush(self, runner_id: int, flush: Flush) -> FlushResult: ...
    async def reopen_journal(self) -> None: ...
    async def last_flush(self, runner_id: int) -> int | None: ...
    async def recheck(
        self, runner_id: int, starts: Sequence[UUID], parks: Sequence[UUID]
    ) -> tuple[frozenset[UUID], frozenset[UUID]]: ...

    async def claim(
        self, runner_id: int, slots: int, per_tenant: int, share: int, promised: Mapping[str, int]
    ) -> Claim:
        """Take what is due: no more than ``slots`` in all and ``per_tenant`` of a tenant, and never so much that the
        runner has more than ``share`` of one, of which so many are ``promised`` already.
        """
        ...

    async def next_due(self) -> tuple[datetime | None, datetime]: ...
    async def poll_owned(self, runner_id: int) -> dict[UUID, int]: ...
    async def queue_depths(self, most: int) -> dict[str, int]:
        """Tenants with executions that are due and nobody's, and how many; no more than ``most`` are counted."""
        ...

    async def find_dead(self, runner_id: int, lease: float, quiet: float) -> list[tuple[int, float]]: ...
    async def reap(self, runner_id: int, older_than: float | None) -> list[UUID]: ...
    async def namesakes(self, name: str, runner_id: int) -> list[int]: ...
    async def runners(self) -> list[int]: ...
    async def count_runners(self) -> int: ...
    async def adopt_orphans(self) -> int: ...

    async def load(self, execution_ids: Sequence[UUID]) -> list[Loaded]:
        """Those of the executions that have not ended, each with all its events."""
        ...

    async def version(self, version_id: UUID) -> Definition: ...
    async def head_version(self, tenant_id: str, reference: str, user_id: str) -> Head | None: ...
    async def standing(self, execution_id: UUID) -> dict[str, Any] | None: ...

    async def send(
        self,
        execution_id: UUID,
        tenant_id: str,
        kind: str,
        name: str,
        payload: Any,
        dedupe_key: str | None,
        sent_by: str,
        expected_state: str | None,
        trace_id: str,
        adopter: int | None,
    ) -> Sent | None: ...
    async def outcome(self, execution_id: UUID, inbox_seq: int) -> Any: ...
    async def open_inbox(self, execution_id: UUID, after: int) -> tuple[int, list[InboxRow]] | None: ...
    async def cancel_tree(
        self, execution_id: UUID, tenant_id: str, reason: str, by: str, trace_id: str, adopter: int | None
    ) -> list[Sent]: ...

    async def approval(self, approval_id: UUID, tenant_id: str) -> Approval | None: ...
    async def decide_approval(
        self,
        approval_id: UUID,
        tenant_id: str,
        status: str,
        decision: str,
        data: Any,
        reason: str,
        by: str | None,
        trace_id: str,
        only_if_due: bool,
    ) -> Sent | None: ...
    async def escalate_approval(self, approval_id: UUID, tenant_id: str, trace_id: str) -> Sent | None: ...

    async def find_key(self, tenant_id: str, scope: str, key: str) -> StoredKey | None: ...
    async def purge_keys(self, limit: int) -> int: ...
    async def ensure_partitions(self, weeks: int) -> int: ...
    async def add_node_totals(self, totals: Sequence[NodeTotal]) -> None:
        """Add to what nodes took; sorted by tenant and node."""
        ...

    async def node_totals(self, tenant_id: str | None, shared: Collection[str]) -> list[NodeTotal]:
        """What nodes took: the ``shared`` ones of all tenants, others only of ``tenant_id`` (None: everybody's)."""
        ...

    async def totals(self) -> dict[str, int]:
        """Flow sessions, aborted ones, signals, registered nodes and flows of all tenants, counted."""
        ...

    async def queue_age(self) -> tuple[float, int]: ...
