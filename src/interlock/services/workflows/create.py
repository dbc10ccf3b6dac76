"""Store a new workflow."""

from __future__ import annotations

from interlock.core.definition import digest
from interlock.core.ids import VersionId, WorkflowId
from interlock.core.principal import Principal, Scope
from interlock.core.workflow import GraphDefinition, Kind, Version, Workflow
from interlock.kit.clock import Clock
from interlock.kit.ids import Ids
from interlock.ports.store import Store
from interlock.services.workflows.draft import Draft
from interlock.services.workflows.validate import ValidateDefinitions


class CreateWorkflows:
    """Store workflows with their first version."""

    def __init__(self, store: Store, validate: ValidateDefinitions, clock: Clock, ids: Ids) -> None:
        self._store = store
        self._validate = validate
        self._clock = clock
        self._ids = ids

    async def __call__(self, principal: Principal, draft: Draft) -> Workflow:
        """Check and store. Raises DENIED, and RULE ``WORKFLOW_INVALID`` with all errors and nothing stored."""
        principal.require(Scope.WORKFLOWS_WRITE)
        definition = self._validate.require(draft.native, draft.found)
        now = self._clock.now()
        workflow_id = WorkflowId(self._ids.new())
        kind: Kind = "graph" if isinstance(definition, GraphDefinition) else "flow"
        version = Version(
            version_id=VersionId(self._ids.new()),
            workflow_id=workflow_id,
            number=1,
            digest=digest(definition),
            definition=definition,
            created_at=now,
            created_by=principal.subject,
        )
        workflow = Workflow(
            workflow_id=workflow_id,
            tenant_id=principal.tenant_id,
            user_id=principal.subject,
            visibility=draft.visibility,
            kind=kind,
            name=draft.name,
            description=draft.description,
            tags=draft.tags,
            icon_url=draft.icon_url,
            version=version,
            source=draft.source,
            created_at=now,
            updated_at=now,
        )
        async with self._store.transaction(principal) as transaction:
            await transaction.add_workflow(workflow)
        return workflow
