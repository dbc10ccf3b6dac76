"""All installed node types, and how the shipped ones are found."""

from __future__ import annotations

import importlib
import pkgutil
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from interlock.core.node_type import NodeType
from interlock.ports.node import Node

_PACKAGE = __package__ or "interlock.nodes"
_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")


class NodeRegistry:
    """Satisfies ``ports/node.Registry``. A type is known by one name; nothing replaces it once it is there."""

    def __init__(self) -> None:
        self._types: dict[str, NodeType] = {}
        self._nodes: dict[str, Node] = {}
        self._shipped: frozenset[str] = frozenset()

    @property
    def types(self) -> Mapping[str, NodeType]:
        """All types by name, kernel types too; a live view that cannot be changed."""
        return MappingProxyType(self._types)

    @property
    def shipped(self) -> frozenset[str]:
        """The names that came with the house: their code is tested to answer with nothing but JSON."""
        return self._shipped

    def node(self, name: str) -> Node:
        """The code of a task type. Raises KeyError for a kernel type or an unknown name."""
        return self._nodes[name]

    def add(self, node: Node) -> None:
        """Make a task type known. Raises ValueError for a bad or taken name, or words that are missing."""
        if not isinstance(node, Node) or node.type.runs != "task":
            raise ValueError(f"{node!r} is no task node: it needs `type` (a NodeType that runs as task) and `run`")
        self._describe(node.type)
        self._nodes[node.type.name] = node

    def _describe(self, node_type: NodeType) -> None:
        name = node_type.name
        if not _NAME.fullmatch(name):
            raise ValueError(f"the node type name {name!r} must be lower-case letters, digits and _, at most 64")
        if name in self._types:
            raise ValueError(f"the node type {name!r} is there already; give the other one another name")
        if not node_type.title or not node_type.description:
            raise ValueError(f"the node type {name!r} needs a title and a description")
        self._types[name] = node_type

    def _add_shipped(self, name: str, module: Any) -> None:
        found: NodeType
        if hasattr(module, "NODE"):
            self.add(module.NODE)
            found = module.NODE.type
        elif hasattr(module, "TYPE"):
            found = module.TYPE
            if found.runs != "kernel":
                raise ValueError(f"{module.__name__}: TYPE must run as kernel; a task type needs NODE, its code")
            self._describe(found)
        else:
            raise ValueError(f"{module.__name__} has neither NODE nor TYPE")
        if found.name != name:
            raise ValueError(f"the folder {name!r} holds the node type {found.name!r}; they must be called the same")
        self._shipped |= {name}


def load() -> NodeRegistry:
    """A registry of all types that have a folder here. A bad folder fails at once, with its name."""
    registry = NodeRegistry()
    for name in _folders():
        registry._add_shipped(name, importlib.import_module(f"{_PACKAGE}.{name}.node"))
    return registry


def _folders() -> Iterator[str]:
    return (found.name for found in pkgutil.iter_modules([str(Path(__file__).parent)]) if found.ispkg)
