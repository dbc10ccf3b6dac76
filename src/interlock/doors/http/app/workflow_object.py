"""Workflows as clients of this door send and see them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from interlock.core.definition import draw
from interlock.core.node_type import NodeType
from interlock.core.workflow import Problem, Workflow
from interlock.doors.http.app.connections import main_form, typed_form
from interlock.doors.http.app.definitions import FLOW_KEYS, translate
from interlock.doors.http.app.statuses import status_out
from interlock.kit.instants import rfc3339
from interlock.services.nouns import ExecutionRow

Name = Annotated[str, Meta(max_length=200)]
Text = Annotated[str, Meta(max_length=10_000)]
Tags = Annotated[list[Annotated[str, Meta(max_length=64)]], Meta(max_length=50)]
ConnectionsForm = Literal["list", "main", "map"]

DEPLOYMENT = "UNDEPLOYED"
"""Deployments come later; until then a workflow is started by its id."""

SOURCE_KEYS = ("kind", "nodes", "connections", "settings", "triggers", *FLOW_KEYS)
"""The parts of a stored source that make up the definition."""


class WorkflowBody(msgspec.Struct, kw_only=True):
    """A definition: a graph (``nodes``, ``connections``) or a flow (``states`` and what belongs to them).

    Name, description, tags and icon may stand at the top or in ``metadata``. In an update what is absent stays.
    """

    name: Name | UnsetType = UNSET
    description: Text | UnsetType | None = UNSET
    tags: Tags | UnsetType | None = UNSET
    icon_url: str | UnsetType | None = UNSET
    visibility: Literal["private", "tenant"] | UnsetType = UNSET
    metadata: dict[str, Any] | UnsetType | None = UNSET
    kind: Literal["graph", "flow"] | UnsetType | None = UNSET
    nodes: Any | UnsetType = UNSET
    connections: Any | UnsetType = UNSET
    settings: Any | UnsetType = UNSET
    triggers: Any | UnsetType = UNSET
    states: Any | UnsetType = UNSET
    initial_state: Any | UnsetType = UNSET
    state_node_map: Any | UnsetType = UNSET
    state_params: Any | UnsetType = UNSET
    user_input_states: Any | UnsetType = UNSET
    terminal_states: Any | UnsetType = UNSET
    retry: Any | UnsetType = UNSET
    timeouts: Any | UnsetType = UNSET
    timers: Any | UnsetType = UNSET
    transitions: Any | UnsetType = UNSET
    expected_version: int | UnsetType | None = UNSET

    def definition(self) -> dict[str, Any]:
        """The parts that were sent of the definition itself."""
        found = {key: getattr(self, key) for key in SOURCE_KEYS}
        return {key: value for key, value in found.items() if value is not UNSET}


class WorkflowFields(msgspec.Struct, kw_only=True):
    """A workflow with its definition as it was written; ``connections_list`` is always the flat form."""

    workflow_id: str
    id: str
    name: str
    description: str
    kind: str
    nodes: Any
    connections: Any
    connections_list: list[dict[str, Any]]
    settings: Any
    tags: list[str]
    triggers: Any
    metadata: dict[str, Any]
    flow: dict[str, Any] | None
    picture: Any
    icon_url: str | None
    visibility: str
    version: int
    digest: str
    created_at: str
    updated_at: str
    active: bool
    deployment_status: str
    latest_execution_status: str | None
    latest_execution_time: str | None
    latest_execution_id: str | None


class WorkflowObject(WorkflowFields, kw_only=True):
    """The same fields at the top and below ``workflow``, for clients of either shape.

    ``warnings`` are there when a definition was stored: what in it means nothing, and what may not be meant.
    """

    found: bool
    message: str
    warnings: list[Problem] | UnsetType = UNSET
    workflow: WorkflowFields | UnsetType = UNSET


class WrappedWorkflow(msgspec.Struct, kw_only=True):
    """Only the shape below ``workflow``."""

    found: bool
    message: str
    warnings: list[Problem] | UnsetType = UNSET
    workflow: WorkflowFields


class WorkflowSummary(msgspec.Struct, kw_only=True):
    """A workflow in a list."""

    id: str
    workflow_id: str
    name: str
    description: str
    kind: str
    tags: list[str]
    active: bool
    version: int
    icon_url: str | None
    visibility: str
    deployment_status: str
    latest_execution_status: str | None
    latest_execution_time: str | None
    latest_execution_id: str | None
    created_at: str
    updated_at: str


def workflow_fields(
    workflow: Workflow,
    latest: ExecutionRow | None,
    catalogue: Mapping[str, NodeType],
    form: ConnectionsForm | None = None,
) -> dict[str, Any]:
    """All fields of a workflow; ``form`` converts its connections."""
    source = workflow.source
    translated = translate(source, catalogue)
    flat = translated.connections_list
    flow = {key: source[key] for key in FLOW_KEYS if key in source} if workflow.kind == "flow" else None
    return {
        "workflow_id": str(workflow.workflow_id),
        "id": str(workflow.workflow_id),
        "name": workflow.name,
        "description": workflow.description,
        "kind": workflow.kind,
        "nodes": [_both_spellings(node) for node in translated.nodes],
        "connections": _connections(source.get("connections"), flat, form),
        "connections_list": flat,
        "settings": source.get("settings") or {},
        "tags": list(workflow.tags),
        "triggers": source.get("triggers") or _triggers(translated.nodes),
        "metadata": _metadata(workflow, latest),
        "flow": flow,
        "picture": draw(workflow.version.definition),
        "icon_url": workflow.icon_url,
        "visibility": workflow.visibility,
        "version": workflow.version.number,
        "digest": workflow.version.digest,
        "created_at": rfc3339(workflow.created_at),
        "updated_at": rfc3339(workflow.updated_at),
        "active": True,
        "deployment_status": DEPLOYMENT,
        **_latest(latest),
    }


def workflow_summary(workflow: Workflow, latest: ExecutionRow | None) -> WorkflowSummary:
    """A workflow without its definition."""
    return WorkflowSummary(
        id=str(workflow.workflow_id),
        workflow_id=str(workflow.workflow_id),
        name=workflow.name,
        description=workflow.description,
        kind=workflow.kind,
        tags=list(workflow.tags),
        active=True,
        version=workflow.version.number,
        icon_url=workflow.icon_url,
        visibility=workflow.visibility,
        deployment_status=DEPLOYMENT,
        created_at=rfc3339(workflow.created_at),
        updated_at=rfc3339(workflow.updated_at),
        **_latest(latest),
    )


def _latest(latest: ExecutionRow | None) -> dict[str, str | None]:
    return {
        "latest_execution_status": status_out(latest.status, latest.error) if latest is not None else None,
        "latest_execution_time": rfc3339(latest.created_at) if latest is not None else None,
        "latest_execution_id": str(latest.execution_id) if latest is not None else None,
    }


def _both_spellings(node: Any) -> Any:
    """Configurations under both names that clients read."""
    if not isinstance(node, dict):
        return node
    told = node.get("configurations", node.get("parameters", {}))
    return {**node, "configurations": told, "parameters": told}


def _connections(stored: Any, flat: list[dict[str, Any]], form: ConnectionsForm | None) -> Any:
    if form == "list":
        return flat
    if form == "main":
        return main_form(flat)
    if form == "map":
        return typed_form(flat)
    return stored if stored is not None else []


def _triggers(nodes: Any) -> list[str]:
    return [
        str(node.get("id"))
        for node in nodes
        if isinstance(node, dict) and str(node.get("type", "")).upper().startswith("TRIGGER")
    ]


def _metadata(workflow: Workflow, latest: ExecutionRow | None) -> dict[str, Any]:
    """What the author keeps there, under what is known here."""
    known = {
        "id": str(workflow.workflow_id),
        "name": workflow.name,
        "description": workflow.description,
        "icon_url": workflow.icon_url,
        "tags": list(workflow.tags),
        "version": workflow.version.number,
        "created_by": workflow.user_id,
        "updated_by": workflow.version.created_by,
        "created_time": int(workflow.created_at.timestamp() * 1000),
        "deployment_status": DEPLOYMENT,
        "last_execution_status": status_out(latest.status, latest.error) if latest is not None else None,
        "last_execution_time": int(latest.created_at.timestamp() * 1000) if latest is not None else None,
        "last_execution_id": str(latest.execution_id) if latest is not None else None,
    }
    own = workflow.source.get("metadata")
    return {**own, **known} if isinstance(own, dict) else known
