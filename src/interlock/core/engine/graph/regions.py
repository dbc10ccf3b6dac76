"""Which nodes belong to the body of which loop: a node lies in its innermost loop's *region* ("" is the top)."""

from __future__ import annotations

from collections.abc import Iterable

from interlock.core.workflow import ConnectionDefinition, GraphDefinition

ITERATION = "iteration"
COMPLETED = "completed"
LOOP_TYPES = frozenset({"map", "loop"})


def port_of(connection: ConnectionDefinition, loops: Iterable[str]) -> str:
    """The port a connection leaves from; the default port of a loop is its result."""
    return COMPLETED if connection.port == "result" and connection.source in loops else connection.port


def regions(definition: GraphDefinition, bodies: dict[str, set[str]]) -> dict[str, str]:
    """The innermost loop around each node."""
    found = {node.id: "" for node in definition.nodes}
    for loop in sorted(bodies, key=lambda key: -len(bodies[key])):
        for node_id in bodies[loop]:
            found[node_id] = loop
    return found
