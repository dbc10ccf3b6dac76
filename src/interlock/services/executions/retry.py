"""Run an execution that has ended once more: the same version with the same input, as an execution of its own."""

from __future__ import annotations

from typing import Any

import msgspec

from interlock.core.errors import conflict, not_found, unavailable
from interlock.core.execution import ENDED
from interlock.core.ids import VersionId, WorkflowId
from interlock.core.large import put_back
from interlock.core.principal import Principal, Scope
from interlock.ports.blobs import Blobs
from interlock.ports.engine import Engine, Standing, StartExecution, WorkflowChanged
from interlock.ports.store import ExecutionRow, Store


class RetryExecutions:
    """Start again what has ended. What the first one did is neither undone nor used."""

    def __init__(self, store: Store, engine: Engine, blobs: Blobs) -> None:
        self._store = store
        self._engine = engine
        self._blobs = blobs

    async def __call__(self, principal: Principal, row: ExecutionRow, *, trace_id: str) -> Standing:
        """The new execution, durable; ``row`` is one the caller was shown.

        Raises DENIED, CONFLICT for one that goes on and for a session, NOT_FOUND if its version is not the caller's to
        see, LIMITED and UNAVAILABLE for want of room.
        """
        principal.require(Scope.WORKFLOWS_EXECUTE)
        if row.status not in ENDED:
            raise conflict("STATE_CONFLICT", "The run goes on; only one that has ended can be run again")
        if row.kind != "graph":
            raise conflict("STATE_CONFLICT", "A session is not run again; start a new one")
        version = await self._store.version(principal, VersionId(row.version_id))
        if version is None:
            raise not_found("NOT_FOUND", "The workflow of this run is not there any more")
        request = StartExecution(
            tenant_id=principal.tenant_id,
            user_id=principal.subject,
            started_by=principal.actor or None,
            visibility=await self._visibility(principal, row),
            workflow_id=version.workflow_id,
            version_id=version.version_id,
            number=version.number,
            definition=version.definition,
            input=await self._input(row),
            trace_id=trace_id,
            mode="retry",
            metadata={"retry_of": str(row.execution_id)},
        )
        try:
            return await self._engine.start(request)
        except WorkflowChanged as error:
            raise unavailable("The run was not recorded; try again") from error

    async def _visibility(self, principal: Principal, row: ExecutionRow) -> str:
        """As the workflow says; drafts are their tenant's, and of what is gone only the caller sees a run."""
        if row.workflow_id is None:
            return "private"
        head = await self._store.head(principal, WorkflowId(row.workflow_id))
        if head is not None:
            return head.visibility
        async with self._store.transaction(principal) as transaction:  # reading a draft notes that it is used
            return "private" if await transaction.draft(row.workflow_id) is None else "tenant"

    async def _input(self, row: ExecutionRow) -> Any:
        large = {
            sha256: msgspec.json.decode(await self._blobs.get(row.tenant_id, sha256))
            for sha256 in row.input_refs.values()
        }
        return put_back(row, row.input_refs, large).input
