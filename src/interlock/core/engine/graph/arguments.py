"""The arguments of a node that calls a function: plain data, of which nothing is ever evaluated."""

from __future__ import annotations

from typing import Any

from interlock.core.engine.graph.compile import CompiledGraph, Vertex
from interlock.core.errors import ErrorKind, InterlockError
from interlock.core.execution import Execution
from interlock.core.workflow import Reference


class InputMissing(InterlockError):
    """A node before this one has not given what this one needs of it."""

    def __init__(self, name: str, reference: Reference, source: str) -> None:
        message = f"Input {name!r} is missing: task {source!r} gave no {reference.key!r}"
        super().__init__(ErrorKind.RULE, "INPUT_MISSING", message, details={"input": name, "key": reference.key})


def gather(
    graph: CompiledGraph, execution: Execution, scope: str, vertex: Vertex, references: dict[str, Reference]
) -> dict[str, Any]:
    """What its author wrote, over it what the execution was started with for this node, over it what others gave.

    Raises InputMissing.
    """
    given = execution.input.get(vertex.id) if isinstance(execution.input, dict) else None
    arguments = {**vertex.definition.input, **given} if isinstance(given, dict) else dict(vertex.definition.input)
    for name, reference in references.items():
        _, output = execution.outputs[scope + reference.node]
        if not isinstance(output, dict) or reference.key not in output:
            raise InputMissing(name, reference, graph.vertices[reference.node].name)
        arguments[name] = output[reference.key]
    return arguments
