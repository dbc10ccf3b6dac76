"""Delete a workflow; its history stays."""

from __future__ import annotations

from uuid import UUID

from interlock.core.principal import Principal, Scope
from interlock.ports.store import Store
from interlock.services.workflows.read import unknown_workflow


class DeleteWorkflows:
    """Delete workflows. Their executions go on and stay readable."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def __call__(self, principal: Principal, workflow_id: UUID) -> None:
        """Delete it; a second time it is unknown. Raises DENIED, NOT_FOUND."""
        principal.require(Scope.WORKFLOWS_WRITE)
        async with self._store.transaction(principal) as transaction:
            if not await transaction.delete_workflow(workflow_id):
                raise unknown_workflow(workflow_id)
