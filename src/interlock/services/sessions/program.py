"""What a session carries out: a registered flow, a flow of the house, or a single node."""

from __future__ import annotations

from collections import OrderedDict
from typing import NamedTuple, TypeVar
from uuid import UUID

from interlock.core.code import CODE_TYPE
from interlock.core.definition import digest
from interlock.core.errors import ErrorKind, InterlockError
from interlock.core.ids import VersionId, WorkflowId
from interlock.core.principal import Principal, Scope
from interlock.core.workflow import Definition, FlowDefinition, Version, Workflow
from interlock.kit.clock import Clock
from interlock.kit.ids import named
from interlock.ports.node import Registry
from interlock.ports.store import Store
from interlock.services.registry.flows import RegisterFlows, unknown_flow
from interlock.services.registry.nodes import NOT_IN_FLOWS, unknown_node
from interlock.services.registry.references import WEBHOOK, called_nodes, target_of
from interlock.services.registry.system import SYSTEM_FLOWS, flow_around

_Value = TypeVar("_Value")
_KEPT = 10_000
_ABSENT_SECONDS = 1.0
"""How long another process may not see that a tenant has hidden a flow of the house."""


class Program(NamedTuple):
    """A version to start. With ``needs_head`` the commit checks that it is the newest."""

    workflow_id: UUID
    version_id: UUID
    number: int
    definition: Definition
    needs_head: bool


class FindPrograms:
    """Finds what to start, from memory wherever it cannot have changed or the commit checks it."""

    def __init__(self, store: Store, registry: Registry, flows: RegisterFlows, clock: Clock) -> None:
        self._store = store
        self._registry = registry
        self._flows = flows
        self._clock = clock
        self._named: OrderedDict[tuple[str, str], UUID] = OrderedDict()
        self._absent: OrderedDict[tuple[str, str], float] = OrderedDict()
        self._made: dict[tuple[str, str], Program] = {}

    async def flow(self, principal: Principal, flow_id: str, *, fresh: bool = False) -> Program:
        """The newest version of a flow; with ``fresh`` nothing is taken from memory. Raises NOT_FOUND."""
        workflow_id = await self._workflow_id(principal, flow_id, fresh=fresh)
        if workflow_id is None:
            return await self._system_flow(principal, flow_id)
        head = None if fresh else self._store.recent_head(principal, WorkflowId(workflow_id))
        head = head or await self._store.head(principal, WorkflowId(workflow_id))
        version = await self._store.version(principal, VersionId(head.version_id)) if head is not None else None
        if head is None or version is None:
            self._named.pop((principal.tenant_id, flow_id), None)
            if fresh:
                raise unknown_flow(flow_id)
            return await self.flow(principal, flow_id, fresh=True)
        return Program(workflow_id, head.version_id, head.number, version.definition, True)

    async def _workflow_id(self, principal: Principal, flow_id: str, *, fresh: bool) -> UUID | None:
        """The workflow of an own flow; None if the tenant has none of that id."""
        key = (principal.tenant_id, flow_id)
        if not fresh:
            if key in self._named:
                return self._named[key]
            if flow_id in SYSTEM_FLOWS and self._clock.monotonic() < self._absent.get(key, 0.0):
                return None
        async with self._store.transaction(principal, read_only=True) as transaction:
            entry = await transaction.find_flow(flow_id)
        if entry is None:
            _keep(self._absent, key, self._clock.monotonic() + _ABSENT_SECONDS)
            return None
        self._absent.pop(key, None)
        _keep(self._named, key, entry.workflow_id)
        return entry.workflow_id

    async def _system_flow(self, principal: Principal, flow_id: str) -> Program:
        if flow_id not in SYSTEM_FLOWS:
            raise unknown_flow(flow_id)
        kept = self._made.get((principal.tenant_id, "flow:" + flow_id))
        if kept is not None:
            return kept
        flow = self._flows.system(flow_id)
        if flow.definition is None:
            raise unknown_flow(flow_id)
        return await self._made_for(principal, "flow:" + flow_id, flow.definition)

    async def node(self, principal: Principal, node_id: str) -> Program:
        """The flow around a single node. Raises NOT_FOUND, DENIED for users' code without its scope."""
        if node_id in NOT_IN_FLOWS:
            raise unknown_node(node_id)
        if node_id == CODE_TYPE:  # which code it runs is for the caller to say
            principal.require(Scope.CODE_WRITE)
        if node_id in self._registry.types:
            kept = self._made.get((principal.tenant_id, "node:" + node_id))
            return kept or await self._made_for(principal, "node:" + node_id, flow_around(node_id))
        async with self._store.transaction(principal, read_only=True) as transaction:
            found = (await transaction.find_nodes([node_id])).get(node_id)
        if found is None or WEBHOOK not in self._registry.types:
            raise unknown_node(node_id)
        target = target_of(node_id, found.timeout_seconds)
        return await self._made_for(principal, "node:" + node_id, flow_around(WEBHOOK, target))

    async def node_versions(self, principal: Principal, program: Program) -> dict[str, UUID]:
        """The versions that the registered nodes have which it calls; a session keeps to them."""
        wanted = called_nodes(program.definition)
        if not wanted:
            return {}
        async with self._store.transaction(principal, read_only=True) as transaction:
            found = await transaction.find_nodes(wanted)
        return {node_id: node.version_id for node_id, node in found.items()}

    async def _made_for(self, principal: Principal, name: str, definition: FlowDefinition) -> Program:
        """A version that the house makes for a tenant when it is first started; its id says what is in it."""
        found = digest(definition)
        version_id = VersionId(named("version", principal.tenant_id, name, found))
        if await self._store.version(principal, version_id) is None:
            await self._add(principal, name, definition, version_id, found)
        program = Program(named("workflow", principal.tenant_id, name, found), version_id, 1, definition, False)
        if len(self._made) >= _KEPT:
            self._made.clear()
        self._made[principal.tenant_id, name] = program
        return program

    async def _add(
        self, principal: Principal, name: str, definition: FlowDefinition, version_id: VersionId, found: str
    ) -> None:
        now = self._clock.now()
        workflow_id = WorkflowId(named("workflow", principal.tenant_id, name, found))
        version = Version(
            version_id=version_id,
            workflow_id=workflow_id,
            number=1,
            digest=found,
            definition=definition,
            created_at=now,
            created_by=principal.subject,
        )
        workflow = Workflow(
            workflow_id=workflow_id,
            tenant_id=principal.tenant_id,
            user_id=principal.subject,
            visibility="tenant",
            kind="flow",
            name=name.partition(":")[2],
            description="",
            tags=(),
            icon_url=None,
            version=version,
            source={"kind": "flow"},
            created_at=now,
            updated_at=now,
        )
        try:
            async with self._store.transaction(principal) as transaction:
                await transaction.add_hidden_workflow(workflow)
        except InterlockError as error:
            if error.kind is not ErrorKind.CONFLICT:  # another start made it at the same time
                raise


def _keep(kept: OrderedDict[tuple[str, str], _Value], key: tuple[str, str], value: _Value) -> None:
    kept[key] = value
    if len(kept) > _KEPT:
        kept.popitem(last=False)
