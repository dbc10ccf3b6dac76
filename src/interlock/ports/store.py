"""The store as the services see it: transactions that carry a caller's claims. No principal, no query."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from typing import Any, Protocol
from uuid import UUID

import msgspec

from interlock.core.api_key import ApiKey, KeyFilter
from interlock.core.approval import Approval
from interlock.core.audit import AuditFilter
from interlock.core.events import Recorded
from interlock.core.ids import VersionId, WorkflowId
from interlock.core.principal import Principal
from interlock.core.workflow import Version, Workflow
from interlock.ports.drafts import DraftQueries
from interlock.ports.registry import RegistryQueries
from interlock.ports.webhooks import WebhookQueries


class ExecutionRow(msgspec.Struct, frozen=True, kw_only=True):
    """An execution as its row says; ``last_seq`` is the newest event's number."""

    execution_id: UUID
    tenant_id: str
    user_id: str
    workflow_id: UUID | None
    version_id: UUID
    workflow_number: int
    kind: str
    status: str
    waiting_reason: str | None
    waiting_since: datetime | None
    input: Any
    output: Any
    input_refs: dict[str, str]  # large values of the input by path, as SHA-256 of their blobs; shown as omitted
    output_refs: dict[str, str]
    error: Any
    mode: str
    started_by: str
    parent_id: UUID | None
    root_id: UUID
    trace_id: str
    metadata: dict[str, Any]
    created_at: datetime
    updated_at: datetime
    ended_at: datetime | None
    last_seq: int = 0
    is_unowned: bool = False
    wake_at: datetime | None = None


class EventRecord(msgspec.Struct, frozen=True, kw_only=True):
    """An event for those who watch: its place, and its data as the JSON text that was stored."""

    seq: int
    type: str
    data: str
    refs: Any
    at: datetime
    trace_id: str


class ArtifactRow(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    task_id: str
    sha256: str
    size: int
    content_type: str
    created_at: datetime


class LogLine(msgspec.Struct, frozen=True, kw_only=True):
    """A text that a task printed; within an execution ``number`` grows, with gaps."""

    number: int
    task_id: str
    attempt: int
    stream: str
    content: str
    at: datetime


class WorkflowHead(msgspec.Struct, frozen=True, kw_only=True):
    """What starting an execution needs to know of a workflow."""

    workflow_id: UUID
    version_id: UUID
    number: int
    visibility: str
    name: str


class ExecutionFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which executions to list. ``before`` is an execution id: only older ones. ``statuses`` may hold ``FailedBy``."""

    workflow_id: UUID | None = None
    statuses: tuple[str, ...] = ()
    kind: str | None = None
    before: UUID | None = None
    limit: int = 50
    offset: int = 0


class Page(msgspec.Struct, frozen=True):
    items: Sequence[Any]
    total: int


class Transaction(RegistryQueries, WebhookQueries, DraftQueries, Protocol):
    """Queries under one caller's claims; the database shows only what that caller may see."""

    async def head(self, workflow_id: UUID) -> WorkflowHead | None: ...
    async def workflow(self, workflow_id: UUID, number: int | None) -> Workflow | None: ...
    async def find_workflow(self, reference: str) -> UUID | None: ...
    async def list_workflows(self, *, search: str | None, tags: Sequence[str], limit: int, offset: int) -> Page: ...
    async def count_workflows(self, at_most: int) -> int: ...
    async def latest_executions(self, workflow_ids: Sequence[UUID]) -> dict[UUID, ExecutionRow]: ...
    async def versions(self, workflow_id: UUID) -> list[Version]: ...
    async def add_workflow(self, workflow: Workflow) -> None: ...
    async def change_workflow(self, workflow: Workflow, expected_number: int) -> bool: ...
    async def delete_workflow(self, workflow_id: UUID) -> bool: ...

    async def execution(self, execution_id: UUID) -> ExecutionRow | None: ...
    async def chosen(self, scope: str, name: str) -> UUID | None: ...
    async def list_executions(self, wanted: ExecutionFilter) -> Page: ...
    async def events(self, execution_id: UUID, after: int, limit: int) -> list[EventRecord]: ...
    async def events_naming(self, execution_id: UUID, word: str, limit: int) -> list[EventRecord]: ...
    async def last_seqs(self, execution_ids: Sequence[UUID]) -> dict[UUID, int]: ...
    async def living_seqs(self, wanted: ExecutionFilter) -> dict[UUID, int]: ...
    async def executions_among(self, wanted: ExecutionFilter, execution_ids: Sequence[UUID]) -> list[ExecutionRow]: ...
    async def recorded(self, execution_id: UUID) -> list[Recorded]: ...
    async def artifacts(self, execution_id: UUID) -> list[ArtifactRow]: ...
    async def log_lines(
        self, execution_id: UUID, tasks: Sequence[str] | None, after: int, limit: int
    ) -> list[LogLine]: ...
    async def approval(self, approval_id: UUID) -> Approval | None: ...
    async def list_approvals(
        self, *, status: str | None, execution_ids: Sequence[UUID] | None, limit: int, offset: int
    ) -> Page: ...

    async def list_keys(self, wanted: KeyFilter) -> Page: ...
    async def find_own_key(self, reference: str) -> ApiKey | None: ...
    async def add_key(self, key: ApiKey) -> None: ...
    async def replace_key(self, key_id: UUID, replaced_by: UUID, expires_at: datetime) -> None: ...
    async def revoke_key(self, key_id: UUID, at: datetime) -> None: ...
    async def list_audit(self, wanted: AuditFilter) -> Page: ...


class Store(Protocol):
    """Opens transactions, and answers the two hot questions in batches."""

    async def open(self) -> None: ...
    async def close(self) -> None: ...

    def transaction(
        self, principal: Principal, *, read_only: bool = False
    ) -> AbstractAsyncContextManager[Transaction]: ...

    async def head(self, principal: Principal, workflow_id: WorkflowId) -> WorkflowHead | None:
        """The same as in a transaction, but concurrent callers with equal claims share one."""
        ...

    def recent_head(self, principal: Principal, workflow_id: WorkflowId) -> WorkflowHead | None:
        """What ``head`` last answered, if it is remembered. It may be out of date: whoever uses it must check."""
        ...

    async def version(self, principal: Principal, version_id: VersionId) -> Version | None:
        """An immutable version; kept in memory once its workflow was seen to be visible to the caller."""
        ...

    async def is_writable(self) -> bool:
        """Whether the database takes writes and has the schema this code knows."""
        ...
