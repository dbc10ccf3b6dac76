"""Order of a graph: no circles but those of loops, and loop bodies that are entered and left through their loop."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from interlock.core.definition.find_bodies import find_bodies, find_cycles
from interlock.core.definition.report import Place, Report
from interlock.core.engine.graph.regions import ITERATION, LOOP_TYPES, port_of, regions
from interlock.core.workflow import ConnectionDefinition, GraphDefinition, NodeDefinition

Indexed = Sequence[tuple[int, ConnectionDefinition]]
_CYCLES = 20  # reported
_SHOWN = 8  # nodes of one circle


def check_loops(
    definition: GraphDefinition, nodes: Mapping[str, NodeDefinition], sound: Indexed, report: Report
) -> None:
    """Report circles and crossed loop bodies. ``sound`` are the connections whose ends exist, with their index."""
    loops = {node_id: None for node_id, node in nodes.items() if node.type in LOOP_TYPES}
    bodies = find_bodies(list(nodes), loops, [connection for _, connection in sound]) if loops else {}
    forward = [(index, found) for index, found in sound if found.source not in bodies.get(found.target, ())]
    _check_cycles(nodes, forward, report)
    if not loops:
        _check_results({"": ()}, dict.fromkeys(nodes, ""), forward, nodes, definition, report)
        return
    places = {node.id: Place(f"nodes[{index}]", node.id) for index, node in reversed([*enumerate(definition.nodes)])}
    region = regions(definition, bodies)
    _check_boundaries(sound, bodies, region, report)
    _check_decorations(sound, bodies, report)
    if len(sound) == len(definition.connections):  # else a broken connection may be the one that is missing
        _check_entries(loops, forward, places, report)
    backs = {loop: [found.source for _, found in sound if found.target == loop and found.source in bodies[loop]]
             for loop in loops}
    _check_results(backs, region, forward, nodes, definition, report)
