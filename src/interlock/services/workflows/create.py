"""Store a new workflow."""

from __future__ import annotations

import hashlib
from datetime import timedelta
from uuid import UUID

import msgspec

from interlock.core.definition import digest
from interlock.core.errors import ErrorKind, InterlockError, conflict
from interlock.core.ids import VersionId, WorkflowId
from interlock.core.principal import Principal, Scope
from interlock.core.workflow import Definition, GraphDefinition, Kind, Problem, Version, Workflow
from interlock.kit.clock import Clock
from interlock.kit.ids import Ids
from interlock.ports.engine import Key
from interlock.ports.store import Store
from interlock.services.code.call import permit_code
from interlock.services.workflows.draft import Draft
from interlock.services.workflows.validate import ValidateDefinitions

MAX_WORKFLOWS = 10_000
"""Workflows that one person sees: those of the tenant, and that person's own."""
KEY_DIGEST = "$key_digest"
"""Where the source of a first version keeps the digest of the keyed request that stored it."""
KEY_LIFETIME = timedelta(hours=24)
"""How long a key stands for what a request with it stored; then it is used up and can be used anew."""

_TOO_MANY = "TOO_MANY_WORKFLOWS"
_VERSION_AND_VARIANT = (0x8 << 76) | (0x2 << 62)
_FREE_BITS = ~((0xF << 76) | (0x3 << 62))


class Created(msgspec.Struct, frozen=True):
    """A stored workflow. ``is_replay``: an earlier request with the same key had stored it."""

    workflow: Workflow
    warnings: tuple[Problem, ...]
    is_replay: bool = False


class CreateWorkflows:
    """Store workflows with their first version."""

    def __init__(self, store: Store, validate: ValidateDefinitions, clock: Clock, ids: Ids) -> None:
        self._store = store
        self._validate = validate
        self._clock = clock
        self._ids = ids

    async def __call__(self, principal: Principal, draft: Draft, key: Key | None = None) -> Created:
        """Check and store; the same ``key`` again within ``KEY_LIFETIME`` is the same workflow.

        Raises DENIED (also for code of users without its scope), RULE ``WORKFLOW_INVALID`` with all errors and
        nothing stored, MISMATCH for a key that was used with another request, CONFLICT for one whose workflow has been
        deleted and beyond ``MAX_WORKFLOWS``.
        """
        principal.require(Scope.WORKFLOWS_WRITE)
        definition, warnings = self._validate.require(draft)
        permit_code(principal, definition)
        if key is None:
            workflow = self._workflow(principal, draft, definition, self._ids.new(), self._ids.new())
            await self._add(principal, workflow)
            return Created(workflow, warnings)
        workflow, is_replay = await self._create_once(principal, draft, definition, key)
        return Created(workflow, warnings, is_replay)

    async def _create_once(
        self, principal: Principal, draft: Draft, definition: Definition, key: Key
    ) -> tuple[Workflow, bool]:
        """The workflow of a key, and whether it was there before.

        The key and how often it was used up give the ids, so that the primary key tells a repeat from a first use.

        What is found is never changed, and the store remembers it: that a key has long been in use costs little.
        """
        draft = msgspec.structs.replace(draft, source={**draft.source, KEY_DIGEST: key.digest})
        used_up = 0
        while True:
            workflow_id, version_id = _keyed_ids(principal.tenant_id, key, used_up)
            first = await self._store.version(principal, VersionId(version_id))
            if first is None:
                workflow = self._workflow(principal, draft, definition, workflow_id, version_id)
                if await self._is_added(principal, workflow):
                    return workflow, False
                first = await self._store.version(principal, VersionId(version_id))
            if first is not None and self._clock.now() < first.created_at + KEY_LIFETIME:
                return await self._first(principal, workflow_id, key), True
            used_up += 1  # so is an id in other hands

    async def _is_added(self, principal: Principal, workflow: Workflow) -> bool:
        """Store the workflow; False if its id is taken."""
        try:
            await self._add(principal, workflow)
        except InterlockError as error:
            if error.kind is not ErrorKind.CONFLICT or error.code == _TOO_MANY:
                raise
            return False
        return True

    async def _add(self, principal: Principal, workflow: Workflow) -> None:
        async with self._store.transaction(principal) as transaction:
            if await transaction.count_workflows(MAX_WORKFLOWS) >= MAX_WORKFLOWS:
                raise conflict(_TOO_MANY, f"There are at most {MAX_WORKFLOWS} workflows; delete one first")
            await transaction.add_workflow(workflow)

    def _workflow(
        self, principal: Principal, draft: Draft, definition: Definition, workflow_id: UUID, version_id: UUID
    ) -> Workflow:
        now = self._clock.now()
        kind: Kind = "graph" if isinstance(definition, GraphDefinition) else "flow"
        version = Version(
            version_id=VersionId(version_id),
            workflow_id=WorkflowId(workflow_id),
            number=1,
            digest=digest(definition),
            definition=definition,
            created_at=now,
            created_by=principal.subject,
        )
        return Workflow(
            workflow_id=WorkflowId(workflow_id),
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

    async def _first(self, principal: Principal, workflow_id: UUID, key: Key) -> Workflow:
        """What the key's first request stored, if it was the same request."""
        async with self._store.transaction(principal, read_only=True) as transaction:
            first = await transaction.workflow(workflow_id, 1)
        if first is None:
            message = "The workflow that this Idempotency-Key stored was deleted; use a new key to store it again"
            raise conflict("CONFLICT", message, workflow_id=str(workflow_id))
        if first.source.get(KEY_DIGEST) != key.digest:
            raise InterlockError(
                ErrorKind.MISMATCH,
                "IDEMPOTENCY_MISMATCH",
                "This Idempotency-Key was used with another body; use a new key for a new request",
                details={"workflow_id": str(workflow_id)},
            )
        return first


def _keyed_ids(tenant_id: str, key: Key, used_up: int) -> tuple[UUID, UUID]:
    """The ids of workflow and version that a key stands for after it was used up so many times (UUIDv8)."""
    text = msgspec.json.encode([tenant_id, key.scope, key.key, used_up])
    drawn = hashlib.sha256(text).digest()
    return _uuid8(drawn[:16]), _uuid8(drawn[16:])


def _uuid8(drawn: bytes) -> UUID:
    return UUID(int=int.from_bytes(drawn) & _FREE_BITS & ((1 << 128) - 1) | _VERSION_AND_VARIANT)
