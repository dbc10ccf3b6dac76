"""Read executions: their rows, their logs, their details and their artifacts."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

import msgspec

from interlock.core.approval import Approval, ApprovalStatus
from interlock.core.errors import not_found
from interlock.core.ids import ExecutionId, VersionId, WorkflowId
from interlock.core.large import put_back
from interlock.core.principal import Principal, Scope
from interlock.core.workflow import Definition
from interlock.ports.blobs import Blobs
from interlock.ports.engine import Engine
from interlock.ports.store import ArtifactRow, EventRecord, ExecutionFilter, ExecutionRow, Page, Store
from interlock.services.executions.access import unknown_execution, visible
from interlock.services.executions.large import large_values
from interlock.services.executions.view import ExecutionView, fold

EVENTS_PAGE = 1_000
PENDING_SHOWN = 100


class ExecutionDetail(msgspec.Struct, frozen=True, kw_only=True):
    """An execution with everything its log says, and the definition it pins (None if the caller may not see it)."""

    row: ExecutionRow
    view: ExecutionView
    pending: Sequence[Approval]
    definition: Definition | None


class ReadExecutions:
    """Answer questions about executions under the caller's claims."""

    def __init__(self, store: Store, engine: Engine, blobs: Blobs) -> None:
        self._store = store
        self._engine = engine
        self._blobs = blobs

    async def get(self, principal: Principal, execution_id: UUID) -> ExecutionRow:
        """The row alone. Raises DENIED, NOT_FOUND."""
        principal.require(Scope.EXECUTIONS_READ)
        return await visible(self._store, principal, execution_id)

    async def rest(self, principal: Principal, execution_id: UUID, wait: float) -> None:
        """Wait until the execution rests or ends, at most ``wait`` seconds. Raises DENIED, NOT_FOUND."""
        await self.get(principal, execution_id)
        await self._engine.standing(ExecutionId(execution_id), wait)

    async def page(self, principal: Principal, wanted: ExecutionFilter) -> Page:
        """A page of rows, newest first. Raises DENIED."""
        principal.require(Scope.EXECUTIONS_READ)
        async with self._store.transaction(principal, read_only=True) as transaction:
            return await transaction.list_executions(wanted)

    async def history(self, principal: Principal, workflow_id: UUID, wanted: ExecutionFilter) -> Page:
        """The same for one workflow; a deleted one keeps its history. Raises DENIED, NOT_FOUND for an unknown one."""
        page = await self.page(principal, wanted)
        if page.total == 0 and await self._store.head(principal, WorkflowId(workflow_id)) is None:
            raise not_found("NOT_FOUND", f"There is no workflow {workflow_id}")
        return page

    async def detail(self, principal: Principal, execution_id: UUID) -> ExecutionDetail:
        """The row, the folded log and the open approvals, as of one moment. Raises DENIED, NOT_FOUND."""
        principal.require(Scope.EXECUTIONS_READ)
        async with self._store.transaction(principal, read_only=True) as transaction:
            row = await transaction.execution(execution_id)
            if row is None:
                raise unknown_execution(execution_id)
            records: list[EventRecord] = []
            more = True
            while more:
                page = await transaction.events(execution_id, len(records), EVENTS_PAGE)
                records += page
                more = len(page) == EVENTS_PAGE
            asked = await transaction.list_approvals(
                status=ApprovalStatus.PENDING, execution_ids=[execution_id], limit=PENDING_SHOWN, offset=0
            )
        values = await large_values(self._blobs, principal.tenant_id, records)
        version = await self._store.version(principal, VersionId(row.version_id))
        definition = None if version is None else version.definition
        return ExecutionDetail(
            row=put_back(row, row.input_refs | row.output_refs, values),
            view=fold(records, values, definition),
            pending=asked.items,
            definition=definition,
        )

    async def events(self, principal: Principal, execution_id: UUID, after: int, limit: int) -> list[EventRecord]:
        """At most ``limit`` events behind number ``after``. Raises DENIED, NOT_FOUND."""
        principal.require(Scope.EXECUTIONS_READ)
        async with self._store.transaction(principal, read_only=True) as transaction:
            if await transaction.execution(execution_id) is None:
                raise unknown_execution(execution_id)
            return await transaction.events(execution_id, after, limit)

    async def artifacts(self, principal: Principal, execution_id: UUID) -> list[ArtifactRow]:
        """The artifacts by name. Raises DENIED, NOT_FOUND."""
        principal.require(Scope.EXECUTIONS_READ)
        async with self._store.transaction(principal, read_only=True) as transaction:
            if await transaction.execution(execution_id) is None:
                raise unknown_execution(execution_id)
            return await transaction.artifacts(execution_id)

    async def artifact(self, principal: Principal, execution_id: UUID, name: str) -> tuple[ArtifactRow, bytes]:
        """One artifact with its content. Raises DENIED, NOT_FOUND."""
        for row in await self.artifacts(principal, execution_id):
            if row.name == name:
                return row, await self._blobs.get(principal.tenant_id, row.sha256)
        raise not_found("NOT_FOUND", f"The execution has no artifact {name[:100]!r}")
