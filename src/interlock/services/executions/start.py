"""Start an execution of a workflow's newest version."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import msgspec

from interlock.core.errors import InterlockError, not_found, rule_broken, unavailable
from interlock.core.ids import VersionId, WorkflowId
from interlock.core.principal import Principal, Scope
from interlock.core.workflow import Definition, GraphDefinition
from interlock.ports.engine import Engine, Key, Standing, StartExecution, WorkflowChanged
from interlock.ports.store import Store, WorkflowHead

_TRIES = 4


class StartRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What a caller wants started. ``wait`` and ``deadline`` are seconds, ``start_at`` a node's id or name."""

    workflow_id: UUID
    trace_id: str
    input: Any
    mode: str = "manual"
    metadata: dict[str, Any] = {}
    priority: int = 5
    start_at: str | None = None
    deadline: float | None = None
    key: Key | None = None
    wait: float = 0.0


class StartExecutions:
    """Start executions; the answer leaves after the commit."""

    def __init__(self, store: Store, engine: Engine) -> None:
        self._store = store
        self._engine = engine

    async def __call__(self, principal: Principal, request: StartRequest) -> Standing:
        """Start, and with ``wait`` stay until the execution rests or that time is over.

        A known key gives the answer to its first request (``is_replay``). Raises DENIED, NOT_FOUND, RULE for an
        unknown ``start_at``, MISMATCH for a key with another request, UNAVAILABLE.
        """
        principal.require(Scope.WORKFLOWS_EXECUTE)
        workflow_id = WorkflowId(request.workflow_id)
        head = self._store.recent_head(principal, workflow_id)
        is_remembered = head is not None
        for _ in range(_TRIES):
            head = head or await self._store.head(principal, workflow_id)
            if head is None:
                raise not_found("NOT_FOUND", f"There is no workflow {workflow_id}")
            try:
                return await self._start(principal, request, head, is_remembered=is_remembered)
            except WorkflowChanged:
                head, is_remembered = None, False
        raise unavailable("The workflow is being changed all the time; try again", retry_after=0.5)

    def refusal(self, tenant_id: str) -> InterlockError | None:
        """What a start of this tenant would raise now because too many of its executions wait (LIMITED)."""
        return self._engine.refusal(tenant_id)

    async def _start(
        self, principal: Principal, request: StartRequest, head: WorkflowHead, *, is_remembered: bool
    ) -> Standing:
        version = await self._store.version(principal, VersionId(head.version_id))
        if version is None:
            raise WorkflowChanged
        start_at = None
        if request.start_at is not None:
            start_at = _place(version.definition, request.start_at)
            if start_at is None and is_remembered:
                raise WorkflowChanged
            if start_at is None:
                message = f"The workflow has no node {request.start_at[:100]!r} to start from"
                raise rule_broken("VALIDATION_ERROR", message, field="start_from_node")
        return await self._engine.start(
            StartExecution(
                tenant_id=principal.tenant_id,
                user_id=principal.subject,
                visibility=head.visibility,
                workflow_id=head.workflow_id,
                version_id=head.version_id,
                number=head.number,
                definition=version.definition,
                input=request.input,
                trace_id=request.trace_id,
                mode=request.mode,
                metadata=request.metadata,
                priority=request.priority,
                start_at=start_at,
                deadline=request.deadline,
                key=request.key,
                wait=request.wait,
                needs_head=True,
            )
        )


def _place(definition: Definition, wanted: str) -> str | None:
    """The id of the node (or flow state) that ``wanted`` names; None if there is none."""
    if isinstance(definition, GraphDefinition):
        known = {node.name: node.id for node in definition.nodes if node.name} | {
            node.id: node.id for node in definition.nodes
        }
    else:
        known = {state: state for state in definition.states}
    return known.get(wanted)
