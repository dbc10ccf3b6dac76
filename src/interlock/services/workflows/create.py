"""Store a new workflow."""

from __future__ import annotations

import hashlib
from uuid import UUID

import msgspec

from interlock.core.definition import digest
from interlock.core.errors import ErrorKind, InterlockError
from interlock.core.ids import VersionId, WorkflowId
from interlock.core.principal import Principal, Scope
from interlock.core.workflow import GraphDefinition, Kind, Version, Workflow
from interlock.kit.clock import Clock
from interlock.kit.ids import Ids
from interlock.ports.engine import Key
from interlock.ports.store import Store
from interlock.services.workflows.draft import Draft
from interlock.services.workflows.validate import ValidateDefinitions

KEY_DIGEST = "$key_digest"
"""Where the source of a first version keeps the digest of the keyed request that stored it."""

_VERSION_AND_VARIANT = (0x8 << 76) | (0x2 << 62)
_FREE_BITS = ~((0xF << 76) | (0x3 << 62))


class Created(msgspec.Struct, frozen=True):
    """A stored workflow. ``is_replay``: an earlier request with the same key had stored it."""

    workflow: Workflow
    is_replay: bool = False


class CreateWorkflows:
    """Store workflows with their first version."""

    def __init__(self, store: Store, validate: ValidateDefinitions, clock: Clock, ids: Ids) -> None:
        self._store = store
        self._validate = validate
        self._clock = clock
        self._ids = ids

    async def __call__(self, principal: Principal, draft: Draft, key: Key | None = None) -> Created:
        """Check and store; the same ``key`` again is the same workflow.

        Raises DENIED, RULE ``WORKFLOW_INVALID`` with all errors and nothing stored, MISMATCH for a key that was
        used with another request.
        """
        principal.require(Scope.WORKFLOWS_WRITE)
        workflow = self._workflow(principal, draft, key)
        try:
            async with self._store.transaction(principal) as transaction:
                await transaction.add_workflow(workflow)
        except InterlockError as error:
            if key is None or error.kind is not ErrorKind.CONFLICT:
                raise
            return Created(await self._first(principal, workflow.workflow_id, key), is_replay=True)
        return Created(workflow)

    def _workflow(self, principal: Principal, draft: Draft, key: Key | None) -> Workflow:
        definition = self._validate.require(draft.native, draft.found)
        now = self._clock.now()
        workflow_id = WorkflowId(self._ids.new() if key is None else _keyed_id(principal.tenant_id, key))
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
        return Workflow(
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
            source=draft.source if key is None else {**draft.source, KEY_DIGEST: key.digest},
            created_at=now,
            updated_at=now,
        )

    async def _first(self, principal: Principal, workflow_id: WorkflowId, key: Key) -> Workflow:
        """What the key's first request stored, if it was the same request."""
        async with self._store.transaction(principal, read_only=True) as transaction:
            first = await transaction.workflow(workflow_id, 1)
        if first is None or first.source.get(KEY_DIGEST) != key.digest:
            raise InterlockError(
                ErrorKind.MISMATCH,
                "IDEMPOTENCY_MISMATCH",
                "This Idempotency-Key was used with another body; use a new key for a new request",
                details={"workflow_id": str(workflow_id)},
            )
        return first


def _keyed_id(tenant_id: str, key: Key) -> UUID:
    """The id that a key always stands for (UUIDv8), so that the primary key tells a repeat from a first request."""
    text = msgspec.json.encode([tenant_id, key.scope, key.key])
    number = int.from_bytes(hashlib.sha256(text).digest()[:16], "big")
    return UUID(int=number & _FREE_BITS & ((1 << 128) - 1) | _VERSION_AND_VARIANT)
