"""How a graph is laid out: which connections can be followed, which lead back, and which node lies in which loop."""

from __future__ import annotations

from collections.abc import Mapping

from interlock.core.definition.report import Place
from interlock.core.engine.graph.find_bodies import find_bodies
from interlock.core.engine.graph.regions import LOOP_TYPES, regions
from interlock.core.workflow import ConnectionDefinition, GraphDefinition, NodeDefinition

Indexed = list[tuple[int, ConnectionDefinition]]


class Layout:
    """A graph by its connections whose ends exist (``sound``, with their index); the others are left out.

    ``forward`` are the sound ones that do not lead from a loop's body back to the loop. ``region`` names the
    innermost loop around each node, "" at the top.
    """

    def __init__(self, definition: GraphDefinition, nodes: Mapping[str, NodeDefinition], sound: Indexed) -> None:
        self.nodes = nodes
        self.sound = sound
        self.is_whole = len(sound) == len(definition.connections)
        self.places = {
            node.id: Place(f"nodes[{index}]", node.id) for index, node in reversed([*enumerate(definition.nodes)])
        }
        loops = [node_id for node_id, node in nodes.items() if node.type in LOOP_TYPES]
        self.bodies = find_bodies(list(nodes), loops, [found for _, found in sound]) if loops else {}
        self.region = regions(definition, self.bodies)
        self.forward: Indexed = []
        self.back: Indexed = []
        for index, found in sound:
            is_back = found.source in self.bodies.get(found.target, ())
            (self.back if is_back else self.forward).append((index, found))
