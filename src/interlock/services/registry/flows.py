"""Flows of a tenant: those of the house, and those it has registered as YAML under ids of its own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from interlock.core.definition import CheckParameters, Verdict, digest, validate_definition
from interlock.core.errors import InterlockError, conflict, not_found, rule_broken, unavailable
from interlock.core.ids import VersionId, WorkflowId
from interlock.core.principal import Principal, Scope
from interlock.core.workflow import FlowDefinition, Problem, Version, Workflow
from interlock.kit import strict_yaml
from interlock.kit.clock import Clock
from interlock.kit.ids import Ids
from interlock.ports.egress import CheckUrl
from interlock.ports.node import Registry
from interlock.ports.registry import FlowEntry
from interlock.ports.store import Store, Transaction
from interlock.services.code.call import permit_code
from interlock.services.registry.nodes import check_name
from interlock.services.registry.references import bound, called_addresses, catalogue_with, foreign, is_address
from interlock.services.registry.system import SYSTEM_FLOWS
from interlock.services.webhooks.addresses import why_not

MAX_FLOWS = 1_000
"""Flows of a tenant."""
MAX_VERSIONS = 10_000
"""Versions of a flow: they are kept for good, because executions go by them."""
_TRIES = 4


class FlowText(msgspec.Struct, frozen=True, kw_only=True):
    """What is registered: the YAML, and what people call it."""

    flow_id: str
    name: str
    yaml_content: str
    description: str | None = None


class Flow(msgspec.Struct, frozen=True, kw_only=True):
    """A flow as its tenant finds it. ``warnings`` are those of a registration."""

    flow_id: str
    name: str
    description: str
    version: int
    is_system: bool = False
    definition: FlowDefinition | None = None
    yaml_content: str = ""
    warnings: tuple[str, ...] = ()


class RegisterFlows:
    """List, read and register flows. What is registered is a workflow with versions; sessions keep theirs."""

    def __init__(
        self,
        store: Store,
        registry: Registry,
        check_parameters: CheckParameters,
        check_url: CheckUrl,
        clock: Clock,
        ids: Ids,
    ) -> None:
        self._store = store
        self._registry = registry
        self._check_parameters = check_parameters
        self._check_url = check_url
        self._clock = clock
        self._ids = ids

    async def list(self, principal: Principal) -> list[Flow]:
        """Those of the house that no own flow hides, and the tenant's own, by id. Raises DENIED."""
        principal.require(Scope.REGISTRY_READ)
        async with self._store.transaction(principal, read_only=True) as transaction:
            entries = await transaction.list_flows()
        found = {flow_id: self.system(flow_id) for flow_id in SYSTEM_FLOWS}
        found |= {entry.flow_id: _flow(entry) for entry in entries}
        return [found[flow_id] for flow_id in sorted(found)]

    async def get(self, principal: Principal, flow_id: str) -> Flow:
        """A flow with its definition and its text. Raises DENIED, NOT_FOUND."""
        principal.require(Scope.REGISTRY_READ)
        async with self._store.transaction(principal, read_only=True) as transaction:
            entry = await transaction.find_flow(flow_id)
            workflow = await transaction.workflow(entry.workflow_id, None) if entry is not None else None
        if entry is not None and workflow is not None and isinstance(workflow.version.definition, FlowDefinition):
            return msgspec.structs.replace(
                _flow(entry),
                definition=workflow.version.definition,
                yaml_content=_text_of(workflow),
            )
        if flow_id in SYSTEM_FLOWS:
            return self.system(flow_id)
        raise unknown_flow(flow_id)

    def system(self, flow_id: str) -> Flow:
        """A flow of the house. Raises KeyError."""
        text = SYSTEM_FLOWS[flow_id]
        verdict = validate_definition(
            strict_yaml.load(text), self._registry.types, check_parameters=self._check_parameters, kind="flow"
        )
        if not isinstance(verdict.definition, FlowDefinition):
            raise TypeError(f"the system flow {flow_id} is not valid: {verdict.errors}")
        return Flow(
            flow_id=flow_id,
            name=verdict.heading.name,
            description=verdict.heading.description,
            version=1,
            is_system=True,
            definition=verdict.definition,
            yaml_content=text,
        )

    async def register(self, principal: Principal, text: FlowText) -> Flow:
        """Check and store a flow; the same content again is the same version.

        Raises DENIED, RULE ``FLOW_VALIDATION_ERROR`` with all errors and nothing stored, UNAVAILABLE if others register
        it all the time, CONFLICT beyond ``MAX_FLOWS`` and ``MAX_VERSIONS``.
        """
        principal.require(Scope.REGISTRY_WRITE)
        check_name("flow_id", text.flow_id)
        source = _read(text.yaml_content)
        for _ in range(_TRIES):
            async with self._store.transaction(principal) as transaction:
                verdict = await self._check(transaction, source)
                if not isinstance(verdict.definition, FlowDefinition):
                    raise _invalid([error.message for error in verdict.errors], verdict)
                definition = bound(verdict.definition, self._registry.types.keys())
                flow = await self._store_flow(transaction, principal, text, source, definition, verdict)
            if flow is not None:
                return flow
        raise unavailable(f"The flow {text.flow_id} is being registered all the time; try again", retry_after=0.5)

    async def _check(self, transaction: Transaction, source: Any) -> Verdict:
        wanted = foreign(source, self._registry.types.keys())
        known = await transaction.find_nodes(wanted) if wanted else {}
        targets = [reference for reference in wanted if reference in known or is_address(reference)]
        catalogue = catalogue_with(self._registry.types, targets)
        verdict = validate_definition(source, catalogue, check_parameters=self._check_parameters, kind="flow")
        blocked = tuple(self._blocked(source))
        if not blocked:
            return verdict
        return msgspec.structs.replace(verdict, definition=None, errors=(*verdict.errors, *blocked))

    def _blocked(self, source: Any) -> Iterator[Problem]:
        """The states that call an address to which no call is made."""
        for state, url in called_addresses(source).items():
            if (reason := why_not(self._check_url, url)) is not None:
                message, path = f"State '{state}' cannot call its address: {reason}", f"state_node_map.{state}"
                yield Problem(code="PARAMETER_INVALID", message=message, path=path, value=url)

    async def _store_flow(
        self,
        transaction: Transaction,
        principal: Principal,
        text: FlowText,
        source: dict[str, Any],
        definition: FlowDefinition,
        verdict: Verdict,
    ) -> Flow | None:
        """Add the flow or its next version; None if another registration came first."""
        entry = await transaction.find_flow(text.flow_id)
        before = await transaction.workflow(entry.workflow_id, None) if entry is not None else None
        permit_code(principal, definition, before.version.definition if before is not None else None)
        after = self._workflow(principal, text, source, definition, verdict, before)
        _check_room(before, after)
        if before is None:
            if await transaction.count_flows() >= MAX_FLOWS:
                raise conflict("TOO_MANY_FLOWS", f"A tenant has at most {MAX_FLOWS} flows; delete a workflow first")
            if not await transaction.name_flow(text.flow_id, after.workflow_id):
                return None
            await transaction.add_workflow(after)
        elif not _is_same(before, after) and not await transaction.change_workflow(after, before.version.number):
            return None
        return Flow(
            flow_id=text.flow_id,
            name=after.name,
            description=after.description,
            version=after.version.number,
            definition=definition,
            yaml_content=text.yaml_content,
            warnings=tuple(warning.message for warning in verdict.warnings),
        )

    def _workflow(
        self,
        principal: Principal,
        text: FlowText,
        source: dict[str, Any],
        definition: FlowDefinition,
        verdict: Verdict,
        before: Workflow | None,
    ) -> Workflow:
        now = self._clock.now()
        found = digest(definition)
        is_new_version = before is None or before.version.digest != found or _text_of(before) != text.yaml_content
        if before is not None and not is_new_version:
            version = before.version
        else:
            version = Version(
                version_id=VersionId(self._ids.new()),
                workflow_id=before.workflow_id if before is not None else WorkflowId(self._ids.new()),
                number=before.version.number + 1 if before is not None else 1,
                digest=found,
                definition=definition,
                created_at=now,
                created_by=principal.subject,
            )
        return Workflow(
            workflow_id=version.workflow_id,
            tenant_id=principal.tenant_id,
            user_id=before.user_id if before is not None else principal.subject,
            visibility="tenant",
            kind="flow",
            name=text.name,
            description=verdict.heading.description if text.description is None else text.description,
            tags=verdict.heading.tags,
            icon_url=None,
            version=version,
            source={**source, "kind": "flow", "metadata": {"flow_id": text.flow_id, "yaml": text.yaml_content}},
            created_at=now,
            updated_at=now,
        )


def _check_room(before: Workflow | None, after: Workflow) -> None:
    number = after.version.number
    if before is not None and number > max(before.version.number, MAX_VERSIONS):
        message = f"A flow has at most {MAX_VERSIONS} versions; register this one under another flow_id"
        raise conflict("TOO_MANY_VERSIONS", message)


def unknown_flow(flow_id: str) -> InterlockError:
    return not_found("FLOW_NOT_FOUND", f"There is no flow {flow_id[:64]!r}")


def _read(text: str) -> dict[str, Any]:
    try:
        source = strict_yaml.load(text)
    except strict_yaml.StrictYamlError as error:
        raise _invalid([str(error)], None) from error
    if not isinstance(source, dict):
        raise _invalid(["The YAML must be an object with states and transitions"], None)
    return source


def _invalid(errors: list[str], verdict: Verdict | None) -> InterlockError:
    problems = [msgspec.to_builtins(error) for error in verdict.errors] if verdict is not None else []
    message = "Flow definition has validation errors"
    return rule_broken("FLOW_VALIDATION_ERROR", message, errors=errors, problems=problems)


def _flow(entry: FlowEntry) -> Flow:
    return Flow(flow_id=entry.flow_id, name=entry.name, description=entry.description, version=entry.number)


def _text_of(workflow: Workflow) -> str:
    metadata = workflow.source.get("metadata")
    return str(metadata.get("yaml", "")) if isinstance(metadata, dict) else ""


def _is_same(before: Workflow, after: Workflow) -> bool:
    return before.version.number == after.version.number and (before.name, before.description) == (
        after.name,
        after.description,
    )
