"""Read workflows and their versions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from uuid import UUID

import msgspec

from interlock.core.errors import InterlockError, not_found
from interlock.core.principal import Principal, Scope
from interlock.core.workflow import Version, Workflow
from interlock.ports.store import ExecutionRow, Store


class WorkflowPage(msgspec.Struct, frozen=True, kw_only=True):
    """Workflows, last changed first, each with its newest execution if it has one."""

    workflows: Sequence[Workflow]
    latest: Mapping[UUID, ExecutionRow]
    total: int


class ReadWorkflows:
    """Answer questions about workflows under the caller's claims."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def get(
        self, principal: Principal, workflow_id: UUID, number: int | None = None
    ) -> tuple[Workflow, ExecutionRow | None]:
        """A workflow at a version (the newest without ``number``) with its newest execution. Raises NOT_FOUND."""
        principal.require(Scope.WORKFLOWS_READ)
        async with self._store.transaction(principal, read_only=True) as transaction:
            workflow = await transaction.workflow(workflow_id, number)
            if workflow is None:
                raise unknown_workflow(workflow_id, number)
            latest = await transaction.latest_executions([workflow_id])
        return workflow, latest.get(workflow_id)

    async def page(
        self, principal: Principal, *, search: str | None, tags: Sequence[str], limit: int, offset: int
    ) -> WorkflowPage:
        """Those whose name or description holds ``search`` and that have all ``tags``. Raises DENIED."""
        principal.require(Scope.WORKFLOWS_READ)
        async with self._store.transaction(principal, read_only=True) as transaction:
            page = await transaction.list_workflows(search=search, tags=tags, limit=limit, offset=offset)
            workflows: Sequence[Workflow] = page.items
            latest = await transaction.latest_executions([found.workflow_id for found in workflows])
        return WorkflowPage(workflows=workflows, latest=latest, total=page.total)

    async def versions(self, principal: Principal, workflow_id: UUID) -> Sequence[Version]:
        """All versions, newest first. Raises DENIED, NOT_FOUND."""
        principal.require(Scope.WORKFLOWS_READ)
        async with self._store.transaction(principal, read_only=True) as transaction:
            versions = await transaction.versions(workflow_id)
        if not versions:
            raise unknown_workflow(workflow_id)
        return versions


def unknown_workflow(workflow_id: UUID, number: int | None = None) -> InterlockError:
    version = "" if number is None else f" at version {number}"
    return not_found("NOT_FOUND", f"There is no workflow {workflow_id}{version}")
