"""The evolving half of graphs: how a finished node reaches the next ones, and how iterations open and close."""

from __future__ import annotations

from typing import Any

from interlock.core.engine.graph.compile import CompiledGraph, Edge, Vertex
from interlock.core.engine.graph.regions import ITERATION
from interlock.core.execution import Execution, Ready, Task

FROM_OUTSIDE = -1
"""In place of a connection: the execution's own input reaches the node."""


def make_ready(execution: Execution, scope: str, node_id: str, edges: tuple[int, ...]) -> None:
    """All inputs of a node are decided; ``edges`` are the live ones."""
    execution.ready[scope + node_id] = Ready(scope, node_id, edges)
    execution.scopes[scope] = execution.scopes.get(scope, 0) + 1


def deliver(
    graph: CompiledGraph, execution: Execution, scope: str, vertex: Vertex, port: str, dead: tuple[int, ...]
) -> None:
    """Tell the nodes behind ``vertex``: edges of ``port`` are live unless listed dead, all others are dead."""
    for edge in vertex.out:
        if edge.port != ITERATION:
            arrive(graph, execution, scope, edge, edge.port == port and edge.index not in dead)


def arrive(graph: CompiledGraph, execution: Execution, scope: str, edge: Edge, is_live: bool) -> None:
    """One input of a node is decided."""
    target = graph.vertices[edge.target]
    expected = len(target.arriving)
    live = (edge.index,) if is_live else ()
    if expected == 1:
        make_ready(execution, scope, edge.target, live)
        return
    key = scope + edge.target
    decided = execution.arrivals.setdefault(key, [0])
    decided[0] += 1
    decided.extend(live)
    if decided[0] == expected:
        del execution.arrivals[key]
    if target.definition.join == "any":
        if (is_live and len(decided) == 2) or decided == [expected]:
            make_ready(execution, scope, edge.target, live)
    elif decided[0] == expected:
        is_short = target.definition.join == "every" and len(decided) <= expected
        make_ready(execution, scope, edge.target, () if is_short else tuple(decided[1:]))


def leave(graph: CompiledGraph, execution: Execution, scope: str) -> None:
    """A task or skipped node of the scope is over; the last one closes its iteration."""
    execution.scopes[scope] -= 1
    if scope and execution.scopes[scope] == 0:
        _close(graph, execution, scope)


def open_iteration(graph: CompiledGraph, execution: Execution, scope: str) -> None:
    """Begin the iteration ``scope`` (``<loop task>[<index>]/``)."""
    owner, _ = owner_of(scope)
    loop = execution.tasks[owner]
    loop.opened += 1
    execution.scopes[scope] = 0
    for edge in graph.vertices[loop.node_id].out:
        if edge.port == ITERATION:
            arrive(graph, execution, scope, edge, True)


def abandon(execution: Execution, loop: Task) -> None:
    """A loop that failed waits for nothing more: whatever is open in its iterations is over with it, at any depth."""
    below = f"{loop.task_id}["
    for task in [task for task in execution.tasks.values() if task.scope.startswith(below)]:
        execution.drop_task(task)
    for held in (execution.ready, execution.arrivals, execution.outputs, execution.scopes):
        for key in [key for key in held if key.startswith(below)]:
            del held[key]


def owner_of(scope: str) -> tuple[str, int]:
    """The loop task of an iteration's scope, and the index of the iteration."""
    owner, _, index = scope[:-2].rpartition("[")
    return owner, int(index)


def result_of(graph: CompiledGraph, execution: Execution, scope: str, region: str) -> Any:
    """The output of the last nodes of a region: alone as it is, several by name; None if none completed."""
    done = {
        graph.vertices[node_id].name: execution.outputs[scope + node_id][1]
        for node_id in graph.sinks.get(region, ())
        if scope + node_id in execution.outputs
    }
    if len(graph.sinks.get(region, ())) == 1 or len(done) == 1:
        return next(iter(done.values()), None)
    return done or None


def _close(graph: CompiledGraph, execution: Execution, scope: str) -> None:
    owner, index = owner_of(scope)
    loop = execution.tasks[owner]
    loop.results[index] = result_of(graph, execution, scope, loop.node_id)
    loop.finished += 1
    del execution.scopes[scope]
    for node_id in graph.members[loop.node_id]:
        execution.outputs.pop(scope + node_id, None)
        execution.arrivals.pop(scope + node_id, None)
