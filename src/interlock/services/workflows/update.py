"""Change a workflow: a new version, which later executions pin."""

from __future__ import annotations

import msgspec

from interlock.core.definition import digest
from interlock.core.errors import ErrorKind, InterlockError, conflict
from interlock.core.ids import VersionId
from interlock.core.principal import Principal, Scope
from interlock.core.workflow import GraphDefinition, Problem, Version, Workflow
from interlock.kit.clock import Clock
from interlock.kit.ids import Ids
from interlock.ports.store import Store
from interlock.services.code.call import permit_code
from interlock.services.workflows.draft import Draft
from interlock.services.workflows.read import unknown_workflow
from interlock.services.workflows.validate import ValidateDefinitions

MAX_VERSIONS = 10_000
"""Versions of a workflow: they are kept for good, because executions go by them."""


class Updated(msgspec.Struct, frozen=True):
    """A workflow at its new version."""

    workflow: Workflow
    warnings: tuple[Problem, ...]


class UpdateWorkflows:
    """Change workflows. Executions that began before keep the version they pin."""

    def __init__(self, store: Store, validate: ValidateDefinitions, clock: Clock, ids: Ids) -> None:
        self._store = store
        self._validate = validate
        self._clock = clock
        self._ids = ids

    async def __call__(self, principal: Principal, before: Workflow, draft: Draft, expected_number: int) -> Updated:
        """Make ``draft`` the next version of ``before``, which the caller has just read.

        Raises DENIED, NOT_FOUND, RULE ``WORKFLOW_INVALID``, CONFLICT beyond ``MAX_VERSIONS``, and PRECONDITION if the
        newest version is not ``expected_number``.
        """
        principal.require(Scope.WORKFLOWS_WRITE)
        if before.version.number != expected_number:
            raise _changed(before.version.number, expected_number)
        if expected_number >= MAX_VERSIONS:
            message = f"A workflow has at most {MAX_VERSIONS} versions; store it anew under another name"
            raise conflict("TOO_MANY_VERSIONS", message)
        definition, warnings = self._validate.require(draft)
        permit_code(principal, definition, before.version.definition)
        now = self._clock.now()
        version = Version(
            version_id=VersionId(self._ids.new()),
            workflow_id=before.workflow_id,
            number=expected_number + 1,
            digest=digest(definition),
            definition=definition,
            created_at=now,
            created_by=principal.subject,
        )
        after = msgspec.structs.replace(
            before,
            visibility=draft.visibility,
            kind="graph" if isinstance(definition, GraphDefinition) else "flow",
            name=draft.name,
            description=draft.description,
            tags=draft.tags,
            icon_url=draft.icon_url,
            version=version,
            source=draft.source,
            updated_at=now,
        )
        async with self._store.transaction(principal) as transaction:
            if await transaction.change_workflow(after, expected_number):
                return Updated(after, warnings)
            head = await transaction.head(before.workflow_id)
        if head is None:
            raise unknown_workflow(before.workflow_id)
        raise _changed(head.number, expected_number)


def _changed(number: int, expected_number: int) -> InterlockError:
    return InterlockError(
        ErrorKind.PRECONDITION,
        "CONFLICT",
        f"The workflow is at version {number}, not {expected_number}; read it again and repeat your change",
        details={"version": number, "expected_version": expected_number},
    )
