"""Starting a node: gather its data, evaluate its parameters once, and record them with its first attempt."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from interlock.core.engine.environment import Activation
from interlock.core.engine.expressions import ExpressionError, truthy
from interlock.core.engine.graph.compile import CompiledGraph, Edge, Vertex
from interlock.core.engine.graph.regions import ITERATION
from interlock.core.engine.graph.route import FROM_OUTSIDE, owner_of
from interlock.core.engine.kernels import pass_through, run_kernel
from interlock.core.engine.retrying import fail_task
from interlock.core.engine.turn import Turn
from interlock.core.events import Failure, TaskStarted
from interlock.core.execution import Execution
from interlock.core.resources import Placement


def activate(
    graph: CompiledGraph,
    turn: Turn,
    scope: str,
    vertex: Vertex,
    edges: tuple[int, ...],
    placement: Placement | None = None,
) -> None:
    """Start the first attempt of a node whose live inputs are ``edges``. A bad expression fails the node."""
    task_id = scope + vertex.id
    try:
        activation = _activation(graph, turn, scope, vertex, edges)
        if vertex.definition.disabled:
            pass_through(turn, activation)
            return
        parameters = vertex.template.render(activation.environment(vertex.template.roots))
        if vertex.type.runs == "kernel":
            run_kernel(vertex.type.name, turn, activation, parameters, vertex.expressions)
            return
        name = vertex.type.data_parameter
        if name is not None and name not in parameters:
            parameters = {**parameters, name: activation.data}
    except ExpressionError as error:
        turn.emit(TaskStarted(task_id=task_id, node_id=vertex.id))
        failure = Failure(code=error.code, message=error.message, details=error.details)
        fail_task(turn, turn.execution.tasks[task_id], failure)
        return
    deadline = vertex.deadline
    turn.emit(
        TaskStarted(
            task_id=task_id,
            node_id=vertex.id,
            input=parameters,
            deadline_at=turn.now + timedelta(seconds=deadline) if deadline is not None else None,
            placement=placement,
        )
    )


def dead_edges(graph: CompiledGraph, turn: Turn, scope: str, vertex: Vertex, port: str, output: Any) -> tuple[int, ...]:
    """The connections of ``port`` whose condition does not hold for ``output``. Raises ExpressionError."""
    if not vertex.has_conditions:
        return ()
    activation = Activation(
        turn.execution,
        turn.now,
        scope + vertex.id,
        vertex.id,
        scope,
        output,
        {port: output},
        loop_of(turn.execution, scope),
        vertex.definition.parameters,
        graph.names,
    )
    return tuple(
        edge.index
        for edge in vertex.out
        if edge.when is not None
        and edge.port == port
        and not truthy(edge.when.evaluate(activation.environment(edge.when.roots)))
    )


def loop_of(execution: Execution, scope: str) -> dict[str, Any] | None:
    """``$loop`` of an iteration: its index, its item and the output of the iteration before.

    The item of a *while* loop is what it carries: the output before, at first the loop's own data.
    """
    if not scope:
        return None
    owner, index = owner_of(scope)
    loop = execution.tasks[owner]
    previous = loop.results.get(index - 1)
    if "items" in loop.input:
        item = loop.input["items"][index]
    elif "data" in loop.input:
        item = previous if index else loop.input["data"]
    else:
        item = index
    return {"index": index, "item": item, "previous": previous}


def _activation(graph: CompiledGraph, turn: Turn, scope: str, vertex: Vertex, edges: tuple[int, ...]) -> Activation:
    execution = turn.execution
    inputs: dict[str, Any] = {}
    data: Any = None
    for position, index in enumerate(edges):
        if index == FROM_OUTSIDE:
            data = inputs["main"] = execution.input
            continue
        edge = graph.edges[index]
        value = _edge_value(graph, turn, scope, edge)
        inputs[edge.into] = value if edge.into not in inputs else _merge(inputs[edge.into], value, edge)
        data = value if position == 0 else _merge(data, value, edge)
    defaults = vertex.definition.input
    if defaults:
        data = {**defaults, **data} if isinstance(data, dict) else data if data is not None else dict(defaults)
    return Activation(
        execution,
        turn.now,
        scope + vertex.id,
        vertex.id,
        scope,
        data,
        inputs,
        loop_of(execution, scope),
        vertex.definition.parameters,
        graph.names,
        vertex.deadline,
    )


def _edge_value(graph: CompiledGraph, turn: Turn, scope: str, edge: Edge) -> Any:
    execution = turn.execution
    if edge.port == ITERATION and edge.target in graph.members.get(edge.source, ()):
        loop = loop_of(execution, scope)
        value: Any = loop["item"] if loop is not None else None
    else:
        value = execution.outputs[scope + edge.source][1]
    if edge.mapping is None:
        return value
    activation = Activation(
        execution,
        turn.now,
        scope + edge.target,
        edge.target,
        scope,
        value,
        {edge.port: value},
        loop_of(execution, scope),
        graph.vertices[edge.target].definition.parameters,
        graph.names,
    )
    return edge.mapping.render(activation.environment(edge.mapping.roots))


def _merge(first: Any, second: Any, edge: Edge) -> Any:
    """Several inputs become one: objects join, anything else stands under the name of its source."""
    if isinstance(first, dict):
        return {**first, **second} if isinstance(second, dict) else {**first, edge.source: second}
    return [*first, second] if isinstance(first, list) else [first, second]
