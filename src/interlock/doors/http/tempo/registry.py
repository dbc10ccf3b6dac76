"""The registry: nodes and flows of a tenant."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, UnsetType

from interlock.core.engine.flow.compile import terminal_states
from interlock.core.workflow import FlowDefinition
from interlock.doors.http.plumbing.described import RegistryName, described
from interlock.doors.http.plumbing.operation import Call, Reply
from interlock.doors.http.plumbing.replies import NO_STORE, EmptyReply, JsonReply
from interlock.services.registry.flows import Flow, FlowText
from interlock.services.registry.nodes import NodeEntry, NodeWish
from interlock.services.registry.references import reference_of

Name = Annotated[str, Meta(max_length=200)]
EXAMPLE = """\
states: [say, confirm, end]
state_node_map: {say: echo}
user_input_states: [confirm]
transitions:
  - {from: say, event: STEP_DONE, to: confirm}
  - {from: confirm, event: USER_CONFIRM, to: end}
"""
"""A flow to begin with."""
Text = Annotated[str, Meta(max_length=10_000)]


class NodeBody(msgspec.Struct, kw_only=True):
    """A node that is called over HTTP. Without ``secret`` one is made; ``rotate_secret`` makes a new one."""

    node_id: RegistryName
    endpoint: Annotated[str, Meta(max_length=2048)]
    name: Name
    description: Text | None = None
    param_schema: dict[str, Any] | None = None
    timeout_seconds: Annotated[float, Meta(gt=0, le=2_592_000)] = 3600.0
    headers: dict[str, str] | None = None
    secret: Annotated[str, Meta(max_length=200)] | None = None
    rotate_secret: bool = False


class NodeAnswer(msgspec.Struct, kw_only=True):
    """``callback_secret`` is shown once, when it is new; ``available`` only where it is false, with a ``reason``."""

    node_id: str
    node_type: str
    name: str
    description: str
    endpoint: str | None
    param_schema: dict[str, Any]
    scope: str
    timeout_seconds: float | UnsetType = UNSET
    callback_secret: str | UnsetType = UNSET
    available: bool | UnsetType = UNSET
    reason: str | UnsetType = UNSET


class FlowBody(msgspec.Struct, kw_only=True):
    """A flow as YAML; docs/reference/definitions.md is its form."""

    flow_id: RegistryName
    name: Name
    yaml_content: Annotated[str, described(maxLength=262_144)]
    description: Text | None = None


class FlowSummary(msgspec.Struct, kw_only=True):
    flow_id: str
    name: str
    description: str
    version: int
    scope: str


class FlowRegistered(FlowSummary, kw_only=True):
    """``warnings`` do not keep a flow from being registered."""

    warnings: list[str]


class FlowDetails(FlowSummary, kw_only=True):
    """A flow with its text and its graph of states."""

    states: list[str]
    initial_state: str
    state_node_map: dict[str, str]
    user_input_states: list[str]
    terminal_states: list[str]
    transitions: list[dict[str, Any]]
    yaml_content: str
    graph: dict[str, Any]


async def list_nodes(call: Call[None, None]) -> Reply:
    """The nodes of the house and those of the tenant."""
    return JsonReply([_node(found) for found in await call.services.registered_nodes.list(call.principal)])


async def register_node(call: Call[NodeBody, None]) -> Reply:
    """Register a node that is called over HTTP, or replace it."""
    body = call.body
    call.acts_on(body.node_id)
    wish = NodeWish(
        node_id=body.node_id,
        name=body.name,
        endpoint=body.endpoint,
        description=body.description or "",
        param_schema=body.param_schema or {},
        timeout_seconds=body.timeout_seconds,
        headers=body.headers or {},
        secret=body.secret,
        rotate_secret=body.rotate_secret,
    )
    done = await call.services.registered_nodes.register(call.principal, wish)
    answer = _node(done.node)
    if done.secret is not None:
        answer.callback_secret = done.secret
    return JsonReply(answer, headers=NO_STORE)


async def delete_node(call: Call[None, None]) -> Reply:
    """Forget a registered node."""
    await call.services.registered_nodes.forget(call.principal, call.path["node_id"])
    return EmptyReply(204)


async def list_flows(call: Call[None, None]) -> Reply:
    """The flows of the house and those of the tenant."""
    return JsonReply([_summary(found) for found in await call.services.registered_flows.list(call.principal)])


async def register_flow(call: Call[FlowBody, None]) -> Reply:
    """Register a flow; the same content again is the same version."""
    body = call.body
    call.acts_on(body.flow_id)
    text = FlowText(flow_id=body.flow_id, name=body.name, yaml_content=body.yaml_content, description=body.description)
    flow = await call.services.registered_flows.register(call.principal, text)
    summary = msgspec.structs.asdict(_summary(flow))
    return JsonReply(FlowRegistered(**summary, warnings=list(flow.warnings)))


async def get_flow(call: Call[None, None]) -> Reply:
    """A flow with its text and its graph of states."""
    flow = await call.services.registered_flows.get(call.principal, call.path["flow_id"])
    definition = flow.definition
    if definition is None:
        raise TypeError(f"the flow {flow.flow_id} has no definition")
    ends = terminal_states(definition)
    return JsonReply(
        FlowDetails(
            **msgspec.structs.asdict(_summary(flow)),
            states=list(definition.states),
            initial_state=definition.initial_state,
            state_node_map={state: reference_of(definition, state) for state in definition.nodes},
            user_input_states=list(definition.user_input_states),
            terminal_states=list(ends),
            transitions=_transitions(definition),
            yaml_content=flow.yaml_content,
            graph=_graph(definition, ends),
        )
    )


def _node(node: NodeEntry) -> NodeAnswer:
    is_webhook = node.endpoint is not None
    answer = NodeAnswer(
        node_id=node.node_id,
        node_type="webhook" if is_webhook else "builtin",
        name=node.name,
        description=node.description,
        endpoint=node.endpoint,
        param_schema=node.param_schema,
        scope="tenant" if is_webhook else "system",
        timeout_seconds=node.timeout_seconds if node.timeout_seconds is not None else UNSET,
    )
    if node.unavailable:
        answer.available, answer.reason = False, node.unavailable
    return answer


def _summary(flow: Flow) -> FlowSummary:
    return FlowSummary(
        flow_id=flow.flow_id,
        name=flow.name,
        description=flow.description,
        version=flow.version,
        scope="system" if flow.is_system else "tenant",
    )


def _transitions(definition: FlowDefinition) -> list[dict[str, Any]]:
    return [
        {
            "from": found.source[0] if len(found.source) == 1 else list(found.source),
            "event": found.event,
            "to": found.target[0] if len(found.target) == 1 else list(found.target),
            "fan_in": found.fan_in,
            **({"when": found.when} if found.when is not None else {}),
        }
        for found in definition.transitions
    ]


def _graph(definition: FlowDefinition, ends: tuple[str, ...]) -> dict[str, Any]:
    nodes = [
        {
            "id": state,
            "label": state,
            "node_ref": reference_of(definition, state) if state in definition.nodes else None,
            "initial": state == definition.initial_state,
            "user_input": state in definition.user_input_states,
            "terminal": state in ends,
        }
        for state in definition.states
    ]
    edges = [
        {"from": source, "to": target, "event": found.event, "fan_in": found.fan_in}
        for found in definition.transitions
        for source in found.source
        for target in found.target
    ]
    return {"nodes": nodes, "edges": edges}
