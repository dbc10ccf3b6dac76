"""What the node references of a flow stand for: node types of the house, registered nodes, addresses."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

import msgspec

from interlock.core.callback import TARGET
from interlock.core.definition import node_reference
from interlock.core.node_type import NodeType
from interlock.core.workflow import Definition, FlowDefinition

WEBHOOK = "webhook"
"""The node type that calls registered nodes and addresses."""

_HTTP = ("http://", "https://")


def is_address(reference: str) -> bool:
    """Whether a reference is the URL to call."""
    return reference.startswith(_HTTP)


def foreign(source: Any, types: Collection[str]) -> list[str]:
    """The references of a flow's source that no node type is behind: ids of nodes, addresses, mistakes."""
    return [text for text in _references(source).values() if text not in types]


def called_addresses(source: Any) -> dict[str, str]:
    """The states of a flow's source that call an address, and which."""
    return {state: text for state, text in _references(source).items() if is_address(text)}


def _references(source: Any) -> dict[str, str]:
    nodes = source.get("state_node_map") if isinstance(source, dict) else None
    found = nodes.items() if isinstance(nodes, dict) else ()
    return {str(state): node_reference(text) for state, text in found if isinstance(text, str)}


def catalogue_with(types: Mapping[str, NodeType], targets: Iterable[str]) -> Mapping[str, NodeType]:
    """The node types, with those targets beside them that the webhook node can call."""
    webhook = types.get(WEBHOOK)
    return types if webhook is None else {**dict.fromkeys(targets, webhook), **types}


def bound(definition: FlowDefinition, types: Collection[str]) -> FlowDefinition:
    """The flow with webhook nodes in place of its foreign references, and these as what they call."""
    targets = {state: text for state, text in definition.nodes.items() if text not in types}
    if not targets:
        return definition
    calls = {state: {TARGET: target_of(text, definition.timeouts.get(state))} for state, text in targets.items()}
    return msgspec.structs.replace(
        definition,
        nodes={**definition.nodes, **dict.fromkeys(targets, WEBHOOK)},
        parameters={**definition.parameters, **{s: {**definition.parameters.get(s, {}), **calls[s]} for s in calls}},
    )


def target_of(reference: str, seconds: float | None) -> dict[str, Any]:
    """Whom a webhook node calls for a reference, and how long the result may take."""
    told: dict[str, Any] = {"endpoint": reference} if is_address(reference) else {"node_id": reference}
    return told if seconds is None else {**told, "timeout_seconds": seconds}


def called_nodes(definition: Definition) -> list[str]:
    """The registered nodes that a flow calls."""
    if not isinstance(definition, FlowDefinition):
        return []
    told = [
        definition.parameters.get(state, {}).get(TARGET) for state, node in definition.nodes.items() if node == WEBHOOK
    ]
    found = [target.get("node_id") for target in told if isinstance(target, dict)]
    return sorted({node_id for node_id in found if isinstance(node_id, str)})


def reference_of(definition: FlowDefinition, state: str) -> str:
    """What runs in a flow state, as an author would name it; empty if nothing does."""
    node = definition.nodes.get(state)
    target = definition.parameters.get(state, {}).get(TARGET)
    if node == WEBHOOK and isinstance(target, dict):
        return str(target.get("endpoint") or f"webhook://{target.get('node_id')}")
    return "" if node is None else f"builtin://{node}"
