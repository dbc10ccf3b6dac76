"""Nodes whose tasks share calls: of which kind each is, and whether an execution may still bring one of a kind."""

from __future__ import annotations

from collections.abc import Hashable
from typing import TYPE_CHECKING

from interlock.core.execution import Execution, Phase

if TYPE_CHECKING:
    from interlock.core.engine.graph.compile import CompiledGraph, Vertex

CALLED = ("code", "form", "function")
"""Parameters that say what is called. Tasks share a call only if all of them are equal, and none is an expression."""


def kind_of(vertex: Vertex) -> Hashable | None:
    """With which tasks of its tenant, also of other executions, this node's may share a call; None: with none."""
    definition = vertex.definition
    if definition.batch is None or vertex.resources is None or vertex.type.place == "inline":
        return None
    called = tuple(definition.parameters.get(name) for name in CALLED)
    if any(isinstance(value, str) and "{{" in value for value in called):
        return None
    return vertex.type.name, vertex.name, called, vertex.resources, definition.batch


def may_bring(graph: CompiledGraph, execution: Execution, kind: Hashable) -> bool:
    """Whether a task of this kind may yet come to want a place in the execution; loops are not looked into."""
    if execution.ended is not None:
        return False
    alike = [vertex for vertex in graph.vertices.values() if vertex.kind == kind]
    if any(vertex.region for vertex in alike):
        return bool(execution.loops)
    return any(_is_to_come(execution, vertex.id) for vertex in alike)


def _is_to_come(execution: Execution, node_id: str) -> bool:
    task = execution.tasks.get(node_id)
    if task is not None:
        return task.phase is Phase.RETRYING
    over = node_id in execution.outputs or node_id in execution.failed or node_id in execution.skipped
    return not over and node_id not in execution.ready
