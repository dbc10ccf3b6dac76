"""Workflows: list, store, show, change, delete and check."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta

from interlock.core.errors import rule_broken
from interlock.core.node_type import NodeType
from interlock.core.workflow import Problem, Workflow
from interlock.doors.http.app.definitions import Translated, translate
from interlock.doors.http.app.door import read_id
from interlock.doors.http.app.executions import Limit, Offset
from interlock.doors.http.app.node_words import WORDS
from interlock.doors.http.app.unknown_keys import Words, of_body
from interlock.doors.http.app.workflow_object import (
    ConnectionsForm,
    WorkflowBody,
    WorkflowFields,
    WorkflowObject,
    WorkflowSummary,
    WrappedWorkflow,
    workflow_fields,
    workflow_summary,
)
from interlock.doors.http.plumbing.etag import tagged
from interlock.doors.http.plumbing.idempotency import REPLAYED, key_of
from interlock.doors.http.plumbing.operation import Call, Reply
from interlock.doors.http.plumbing.replies import PRIVATE, JsonReply
from interlock.kit.instants import rfc3339
from interlock.services.nouns import ExecutionRow
from interlock.services.workflows.draft import Draft

MAX_METADATA = 16_384  # bytes of JSON
_TOP = Words(
    used=WorkflowBody.__struct_fields__,
    kept=(*WorkflowObject.__struct_fields__, "tenant_id", "user_id", "owner"),  # what was answered may be sent back
)


class WorkflowsQuery(msgspec.Struct, kw_only=True):
    active_only: bool = False
    tags: list[str] = []
    search: Annotated[str, Meta(max_length=200)] | None = None
    limit: Limit = 20
    offset: Offset = 0
    format: str | None = None


class WorkflowQuery(msgspec.Struct, kw_only=True):
    version: Annotated[int, Meta(ge=1, le=2_147_483_647)] | None = None
    shape: Literal["flat", "wrapped"] | None = None
    connections: ConnectionsForm | None = None


class WorkflowList(msgspec.Struct, kw_only=True):
    workflows: list[WorkflowSummary]
    total_count: int
    total: int
    has_more: bool


class VersionObject(msgspec.Struct, kw_only=True):
    version: int
    created_at: str
    created_by: str
    digest: str


class VersionList(msgspec.Struct, kw_only=True):
    versions: list[VersionObject]


class Validation(msgspec.Struct, kw_only=True):
    """Everything wrong with a definition, each with its place and what to do."""

    valid: bool
    errors: list[Problem]
    warnings: list[Problem]


class Deleted(msgspec.Struct, kw_only=True):
    success: bool
    message: str


class NodeTemplate(msgspec.Struct, kw_only=True):
    """A node that workflows can use here; ``parameter_schema`` is that of its native node type."""

    id: str
    name: str
    description: str
    category: str
    node_type: str
    node_subtype: str
    native_type: str
    default_parameters: dict[str, Any]
    required_parameters: list[str]
    parameter_schema: dict[str, Any]
    ports: list[str]
    examples: list[dict[str, Any]]


class TemplateList(msgspec.Struct, kw_only=True):
    node_templates: list[NodeTemplate]


async def list_workflows(call: Call[None, WorkflowsQuery]) -> Reply:
    """Workflows, last changed first."""
    query = call.query
    page = await call.services.read_workflows.page(
        call.principal, search=query.search, tags=query.tags, limit=query.limit, offset=query.offset
    )
    shown = [workflow_summary(workflow, page.latest.get(workflow.workflow_id)) for workflow in page.workflows]
    if query.format == "list":
        return JsonReply(shown, headers=(*PRIVATE, (b"x-total-count", b"%d" % page.total)))
    has_more = query.offset + len(shown) < page.total
    answer = WorkflowList(workflows=shown, total_count=page.total, total=page.total, has_more=has_more)
    return tagged(answer, call.header("if-none-match"))


async def create_workflow(call: Call[WorkflowBody, WorkflowQuery]) -> Reply:
    """Store a new workflow."""
    created = await call.services.create_workflow(call.principal, _draft(call, None), key_of(call))
    call.acts_on(str(created.workflow.workflow_id))
    headers = (*PRIVATE, *REPLAYED) if created.is_replay else PRIVATE
    answer = _shaped(call, created.workflow, None, "Workflow created successfully", created.warnings)
    return JsonReply(answer, headers=headers)


async def get_workflow(call: Call[None, WorkflowQuery]) -> Reply:
    """One workflow, at its newest version or at another one."""
    workflow_id = read_id(call.path["workflow_id"], "workflow")
    workflow, latest = await call.services.read_workflows.get(call.principal, workflow_id, call.query.version)
    return tagged(_shaped(call, workflow, latest, "Workflow found"), call.header("if-none-match"))


async def update_workflow(call: Call[WorkflowBody, WorkflowQuery]) -> Reply:
    """Change a workflow: a new version. With ``expected_version`` only if that is still the newest."""
    workflow_id = read_id(call.path["workflow_id"], "workflow")
    before, latest = await call.services.read_workflows.get(call.principal, workflow_id)
    told = call.body.expected_version
    expected = told if isinstance(told, int) else before.version.number
    updated = await call.services.update_workflow(call.principal, before, _draft(call, before), expected)
    return JsonReply(_shaped(call, updated.workflow, latest, "Workflow updated successfully", updated.warnings))


async def delete_workflow(call: Call[None, None]) -> Reply:
    """Delete a workflow; its history stays."""
    await call.services.delete_workflow(call.principal, read_id(call.path["workflow_id"], "workflow"))
    return JsonReply(Deleted(success=True, message="Workflow deleted successfully"))


async def validate_workflow(call: Call[WorkflowBody, None]) -> Reply:
    """Check a definition and store nothing."""
    translated = translate(call.body.definition(), call.services.node_types.types)
    verdict = call.services.validate_definition(
        call.principal, translated.native, translated.problems, translated.echoes
    )
    return JsonReply(
        Validation(
            valid=not verdict.errors,
            errors=list(verdict.errors),
            warnings=[*of_body(call.raw_body, _TOP), *translated.warnings, *verdict.warnings],
        )
    )


async def list_versions(call: Call[None, None]) -> Reply:
    """The versions of a workflow, newest first."""
    workflow_id = read_id(call.path["workflow_id"], "workflow")
    versions = await call.services.read_workflows.versions(call.principal, workflow_id)
    answer = VersionList(
        versions=[
            VersionObject(
                version=version.number,
                created_at=rfc3339(version.created_at),
                created_by=version.created_by,
                digest=version.digest,
            )
            for version in versions
        ]
    )
    return tagged(answer, call.header("if-none-match"))


async def list_node_templates(call: Call[None, None]) -> Reply:
    """The nodes that workflows can use here, by our names and by the TYPE and SUBTYPE of this vocabulary."""
    types = call.services.node_types(call.principal)
    own = [_template(name, "", node_type) for name, node_type in sorted(types.items())]
    words = [
        _template(kind, subtype, types[word.node_type])
        for (kind, subtype), word in WORDS.items()
        if word.node_type in types
    ]
    return tagged(TemplateList(node_templates=[*own, *words]), call.header("if-none-match"))


def _template(kind: str, subtype: str, node_type: NodeType) -> NodeTemplate:
    properties = node_type.schema.get("properties", {})
    return NodeTemplate(
        id=f"{kind}.{subtype}" if subtype else kind,
        name=node_type.title,
        description=node_type.description,
        category=node_type.category,
        node_type=kind,
        node_subtype=subtype,
        native_type=node_type.name,
        default_parameters={name: rule["default"] for name, rule in properties.items() if "default" in rule},
        required_parameters=list(node_type.schema.get("required", [])),
        parameter_schema=node_type.schema,
        ports=list(node_type.ports),
        examples=list(node_type.examples),
    )


def _shaped(
    call: Call[Any, WorkflowQuery],
    workflow: Workflow,
    latest: ExecutionRow | None,
    message: str,
    warnings: Sequence[Problem] | None = None,
) -> WorkflowObject | WrappedWorkflow:
    """The workflow in both shapes, or in the one that was asked for."""
    fields = workflow_fields(workflow, latest, call.services.node_types.types, call.query.connections)
    told = UNSET if warnings is None else list(warnings)
    if call.query.shape == "wrapped":
        return WrappedWorkflow(found=True, message=message, warnings=told, workflow=WorkflowFields(**fields))
    inner = UNSET if call.query.shape == "flat" else WorkflowFields(**fields)
    return WorkflowObject(**fields, found=True, message=message, warnings=told, workflow=inner)


def _draft(call: Call[WorkflowBody, Any], before: Workflow | None) -> Draft:
    """What is to be stored: what was sent over what was there."""
    body = call.body
    metadata = _metadata(body, before)
    source = {**_stored_definition(before, body), **body.definition()}
    translated = translate(source, call.services.node_types.types)
    _refuse_unknown_settings(translated)
    source["nodes"] = translated.nodes
    stored = {key: value for key, value in source.items() if value is not None and (key != "nodes" or value)}
    name = _told(body, "name", metadata, before.name if before is not None else "")
    if not isinstance(name, str) or not name.strip():
        raise rule_broken("VALIDATION_ERROR", "name: a workflow needs a name", field="name", reason="required")
    visibility = body.visibility
    if visibility is UNSET:
        visibility = before.visibility if before is not None else "private"
    return Draft(
        name=name,
        native=translated.native,
        source={**stored, "metadata": metadata},
        description=_told(body, "description", metadata, before.description if before is not None else "") or "",
        tags=tuple(_told(body, "tags", metadata, list(before.tags) if before is not None else []) or ()),
        icon_url=_told(body, "icon_url", metadata, before.icon_url if before is not None else None),
        visibility=visibility,
        found=translated.problems,
        warnings=(*of_body(call.raw_body, _TOP), *translated.warnings),
        echoes=translated.echoes,
    )


def _stored_definition(before: Workflow | None, body: WorkflowBody) -> dict[str, Any]:
    """What an update leaves as it was; a change of kind leaves nothing."""
    if before is None or _kind(body, before.kind) != before.kind:
        return {}
    return {key: value for key, value in before.source.items() if key != "metadata"}


def _kind(body: WorkflowBody, otherwise: str) -> str:
    if body.kind:
        return body.kind
    has_nodes, has_states = body.nodes is not UNSET, body.states is not UNSET
    return otherwise if has_nodes == has_states else "graph" if has_nodes else "flow"


def _metadata(body: WorkflowBody, before: Workflow | None) -> dict[str, Any]:
    kept = before.source.get("metadata", {}) if before is not None else {}
    sent = body.metadata or {}
    metadata = {**kept, **sent}
    if len(msgspec.json.encode(metadata)) > MAX_METADATA:
        message = f"metadata: at most {MAX_METADATA} bytes are allowed"
        raise rule_broken("VALIDATION_ERROR", message, field="metadata", reason="too large")
    return metadata


def _told(body: WorkflowBody, field: str, metadata: dict[str, Any], otherwise: Any) -> Any:
    """A field at the top of the body, else in the metadata that were sent, else as it was."""
    value = getattr(body, field)
    if value is not UNSET:
        return value
    sent = body.metadata if isinstance(body.metadata, dict) else {}
    if field not in sent:
        return otherwise
    return _checked(field, sent[field])


def _checked(field: str, value: Any) -> Any:
    try:
        return getattr(msgspec.convert({field: value}, WorkflowBody), field)
    except msgspec.ValidationError as error:
        message = f"metadata.{field}: {str(error).partition(' - at ')[0]}"
        raise rule_broken("VALIDATION_ERROR", message, field=f"metadata.{field}") from error


def _refuse_unknown_settings(translated: Translated) -> None:
    """An unknown setting is refused by name, since it would silently not hold."""
    unknown = [problem for problem in translated.problems if problem.code == "KEY_UNKNOWN"]
    if unknown:
        first = unknown[0]
        errors = [{"field": problem.path, "reason": problem.message} for problem in unknown]
        message = f"{first.path}: {first.message}; {first.hint}"
        raise rule_broken("VALIDATION_ERROR", message, field=first.path, errors=errors)
