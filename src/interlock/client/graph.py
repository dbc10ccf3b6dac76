"""Graphs of tasks: nodes, and which output of one is which input of another."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from interlock.client.errors import NotSendable
from interlock.client.tasks import Task, as_task


@dataclass(frozen=True)
class Output:
    """One key of what a node gives, to be an input of another."""

    node: Node
    key: str


class Node:
    """A call of a task in a graph. ``node["y"]`` is its output ``y``."""

    def __init__(self, graph: Graph, task: Task[..., Any], label: str, inputs: dict[str, Any], index: int) -> None:
        self.graph = graph
        self.index = index  # its place among the nodes of its graph
        self.task = task
        self.label = label
        self.inputs = inputs
        self.waits_for: list[Node] = []

    def __getitem__(self, key: str) -> Output:
        if not isinstance(key, str) or not key:
            raise TypeError(f"outputs are named by texts, not by {key!r}")
        return Output(self, key)

    def __iter__(self) -> Any:
        raise TypeError(f'name the outputs of {self.label!r} one by one: node["key"]')

    def after(self, *nodes: Node) -> Node:
        """Begin only when these have succeeded, though none of their outputs is needed. Gives the node itself."""
        for node in nodes:
            self.graph.require_own(node)
            if node.index >= self.index:
                raise NotSendable(f"{self.label!r} can only wait for nodes that were added before it")
            self.waits_for.append(node)
        return self

    def __repr__(self) -> str:
        return f"<node {self.label}>"


class Graph:
    """Tasks and how their data flows. It can be run any number of times."""

    def __init__(self, name: str = "graph") -> None:
        self.name = name
        self.nodes: list[Node] = []
        self._labels: set[str] = set()

    def add(self, task: Any, /, **inputs: Any) -> Node:
        """Add a call of a task (or a plain function) with these inputs: JSON values, or outputs of nodes added before.

        A node is named like its task, the second one of that name ``name_2`` and so on. Raises NotSendable.
        """
        made = as_task(task)
        for key, value in inputs.items():
            self._check(made.name, key, value)
        label = next(each for each in _labels(made.name) if each not in self._labels)
        self._labels.add(label)
        node = Node(self, made, label, inputs, len(self.nodes))
        self.nodes.append(node)
        return node

    def require_own(self, node: Node) -> None:
        """Raises NotSendable for a node of another graph."""
        if node.graph is not self:
            raise NotSendable(f"{node!r} belongs to graph {node.graph.name!r}, not to {self.name!r}")

    def outputs_of(self, node: Node) -> list[str]:
        """The keys of its outputs that others in the graph use."""
        used = (value for other in self.nodes for value in other.inputs.values())
        return list(dict.fromkeys(value.key for value in used if isinstance(value, Output) and value.node is node))

    def _check(self, name: str, key: str, value: Any) -> None:
        if isinstance(value, Output):
            self.require_own(value.node)
        elif isinstance(value, Node):
            raise NotSendable(f'Input {key!r} of {name!r} is a node; say which of its outputs: node["key"]')
        else:
            _require_json(f"Input {key!r} of {name!r}", value)

    def __repr__(self) -> str:
        return f"<graph {self.name} of {len(self.nodes)} nodes>"


def _labels(name: str) -> Iterable[str]:
    yield name
    number = 2
    while True:
        yield f"{name}_{number}"
        number += 1


def _require_json(what: str, value: Any) -> None:
    if any(isinstance(part, Output | Node) for part in _parts(value)):
        raise NotSendable(f"{what} has an output inside of a list or dict; give it as an input of its own")
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise NotSendable(f"{what} is not JSON: {error}") from error


def _parts(value: Any) -> Iterable[Any]:
    if isinstance(value, dict):
        value = list(value.values())
    return value if isinstance(value, list | tuple) else ()
