"""Which nodes belong to the body of which loop: a node lies in its innermost loop's *region* ("" is the top)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from interlock.core.workflow import ConnectionDefinition, GraphDefinition

ITERATION = "iteration"
COMPLETED = "completed"
LOOP_TYPES = frozenset({"map", "loop"})


def port_of(connection: ConnectionDefinition, loops: Iterable[str]) -> str:
    """The port a connection leaves from; the default port of a loop is its result."""
    return COMPLETED if connection.port == "result" and connection.source in loops else connection.port


def loop_bodies(definition: GraphDefinition) -> dict[str, set[str]]:
    """For each loop node the nodes reachable from its iterations and not from its completion."""
    loops = {node.id for node in definition.nodes if node.type in LOOP_TYPES}
    following: dict[str, list[str]] = defaultdict(list)
    starts: dict[tuple[str, bool], list[str]] = defaultdict(list)
    for connection in definition.connections:
        following[connection.source].append(connection.target)
        if connection.source in loops:
            starts[connection.source, port_of(connection, loops) == ITERATION].append(connection.target)
    return {
        loop: _reach(starts[loop, True], loop, following) - _reach(starts[loop, False], loop, following)
        for loop in loops
    }


def regions(definition: GraphDefinition, bodies: dict[str, set[str]]) -> dict[str, str]:
    """The innermost loop around each node."""
    found = {node.id: "" for node in definition.nodes}
    for loop in sorted(bodies, key=lambda key: -len(bodies[key])):
        for node_id in bodies[loop]:
            found[node_id] = loop
    return found


def _reach(starts: list[str], stop: str, following: dict[str, list[str]]) -> set[str]:
    seen: set[str] = set()
    todo = [node_id for node_id in starts if node_id != stop]
    while todo:
        node_id = todo.pop()
        if node_id not in seen:
            seen.add(node_id)
            todo.extend(target for target in following[node_id] if target != stop and target not in seen)
    return seen
