"""What the node references of a flow stand for: node types of the house, registered nodes, addresses."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

import msgspec

from interlock.core.definition import node_reference
from interlock.core.node_type import NodeType
from interlock.core.workflow import FlowDefinition

WEBHOOK = "webhook"
"""The node type that calls registered nodes and addresses."""

_HTTP = ("http://", "https://")


def is_address(reference: str) -> bool:
    """Whether a reference is the URL to call."""
    return reference.startswith(_HTTP)


def foreign(source: Any, types: Collection[str]) -> list[str]:
    """The references of a flow's source that no node type is behind: ids of nodes, addresses, mistakes."""
    nodes = source.get("state_node_map") if isinstance(source, dict) else None
    texts = [node_reference(text) for text in nodes.values() if isinstance(text, str)] if isinstance(nodes, dict) else []
    return [text for text in texts if text not in types]


def catalogue_with(types: Mapping[str, NodeType], targets: Iterable[str]) -> Mapping[str, NodeType]:
    """The node types, with those targets beside them that the webhook node can call."""
    webhook = types.get(WEBHOOK)
    return types if webhook is None else {**dict.fromkeys(targets, webhook), **types}


def bound(definition: FlowDefinition, types: Collection[str]) -> FlowDefinition:
    """The flow with its foreign references as targets of webhook nodes."""
    targets = {state: text for state, text in definition.nodes.items() if text not in types}
    if not targets:
        return definition
    nodes = {state: WEBHOOK if state in targets else text for state, text in definition.nodes.items()}
    return msgspec.structs.replace(definition, nodes=nodes, targets=targets)
