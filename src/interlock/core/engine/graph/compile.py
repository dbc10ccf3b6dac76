"""From a definition to a program: everything that is the same for all executions of a version, done once."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from interlock.core.code import CODE_TYPE
from interlock.core.engine.expressions import Expression, Template, compile_template, parse
from interlock.core.engine.graph.find_bodies import find_bodies
from interlock.core.engine.graph.regions import ITERATION, LOOP_TYPES, port_of, regions
from interlock.core.engine.graph.sharing import kind_of
from interlock.core.node_type import NodeType
from interlock.core.resources import Resources
from interlock.core.workflow import ConnectionDefinition, GraphDefinition, GraphSettings, NodeDefinition


class Edge:
    """A connection, compiled. ``is_back`` edges end an iteration and carry nothing."""

    __slots__ = ("index", "into", "is_back", "mapping", "port", "source", "target", "when")

    def __init__(self, index: int, connection: ConnectionDefinition, port: str, is_back: bool) -> None:
        self.index = index
        self.source = connection.source
        self.target = connection.target
        self.port = port
        self.into = connection.into
        self.is_back = is_back
        self.when = parse(connection.when) if connection.when else None
        self.mapping = compile_template(connection.mapping) if connection.mapping is not None else None


class Vertex:
    """A node, compiled: its parameters as a template, its edges, and where it lies."""

    __slots__ = (
        "arriving",
        "deadline",
        "definition",
        "expressions",
        "has_conditions",
        "id",
        "kind",
        "name",
        "out",
        "region",
        "resources",
        "roots",
        "shape",
        "template",
        "type",
    )

    def __init__(self, definition: NodeDefinition, node_type: NodeType, region: str) -> None:
        self.id = definition.id
        self.name = definition.name or definition.id
        self.definition = definition
        self.type = node_type
        self.deadline = _deadline(definition, node_type)
        self.region = region
        is_placed = node_type.runs == "task" and not definition.disabled
        self.resources = definition.resources if is_placed else None
        self.kind = None if definition.batch is None else kind_of(self)
        self.shape = 0  # tasks of one shape need the same resources
        self.out: tuple[Edge, ...] = ()
        self.arriving: tuple[Edge, ...] = ()
        self.has_conditions = False
        self.expressions = compile_expressions(node_type, definition.parameters)
        rest = {key: value for key, value in definition.parameters.items() if key not in node_type.expressions}
        self.template: Template = compile_template(rest)
        self.roots = self.template.roots.union(*(found.roots for _, found in self.expressions))


def _deadline(definition: NodeDefinition, node_type: NodeType) -> float | None:
    """Seconds until the task is given up. A kernel node has no attempts, so a timeout is one for its task."""
    limits = [definition.deadline, definition.timeout if node_type.runs == "kernel" else None]
    return min((seconds for seconds in limits if seconds is not None), default=None)


def _only_hands_on(vertex: Vertex) -> bool:
    definition = vertex.definition
    is_called = definition.type == CODE_TYPE and definition.arguments is not None
    return is_called and not definition.disabled and not vertex.roots


def _is_read(edge: Edge) -> bool:
    return edge.when is not None or edge.mapping is not None


def compile_expressions(node_type: NodeType, parameters: Mapping[str, Any]) -> list[tuple[str, Expression]]:
    """The bare expressions among the parameters, in order: a text is one; a list of cases has one per case."""
    found: list[tuple[str, Expression]] = []
    for name in sorted(node_type.expressions & parameters.keys()):
        value = parameters[name]
        if isinstance(value, str):
            found.append((name, parse(value)))
        elif isinstance(value, list):
            found.extend((str(case["port"]), parse(str(case["when"]))) for case in value)
    return found


class CompiledGraph:
    """The parts of a program. ``region`` "" is the top level, others are named by their loop."""

    def __init__(self, definition: GraphDefinition, catalogue: Mapping[str, NodeType]) -> None:
        names = [node.id for node in definition.nodes]
        bodies = find_bodies(
            names, {node.id for node in definition.nodes if node.type in LOOP_TYPES}, definition.connections
        )
        region = regions(definition, bodies)
        loops = bodies.keys()
        self.settings: GraphSettings = definition.settings
        self.output = compile_template(definition.settings.output) if definition.settings.output is not None else None
        self.vertices = {node.id: Vertex(node, catalogue[node.type], region[node.id]) for node in definition.nodes}
        self.names = {vertex.name: vertex.id for vertex in self.vertices.values()}
        self.edges = tuple(
            Edge(index, connection, port_of(connection, loops), connection.source in bodies.get(connection.target, ()))
            for index, connection in enumerate(definition.connections)
        )
        self._join_edges()
        self.members: dict[str, list[str]] = defaultdict(list)
        for vertex in self.vertices.values():
            self.members[vertex.region].append(vertex.id)
        self.sinks = {key: self._sinks(key, ids) for key, ids in self.members.items()}
        self.entries = tuple(vertex.id for vertex in self.vertices.values() if not vertex.arriving)
        self.loop_entries = {loop: self._first_of(loop) for loop in loops}
        self.children = frozenset(
            str(node.parameters.get("workflow")) for node in definition.nodes if node.type == "subworkflow"
        )
        self.shapes = self._number_shapes()
        self.has_places = bool(self.shapes)
        self.carries_parcels = self._carries_parcels()
        self.has_loops = any(vertex.type.name in LOOP_TYPES for vertex in self.vertices.values())

    def _carries_parcels(self) -> bool:
        """Whether what its nodes give is only ever handed on as it is, by name, to users' code."""
        is_constant = self.output is not None and not self.output.roots
        return is_constant and all(map(_only_hands_on, self.vertices.values())) and not any(map(_is_read, self.edges))

    def _number_shapes(self) -> list[Resources]:
        """The different resources that nodes name; each such node knows which of them are its own."""
        numbers: dict[Resources, int] = {}
        for vertex in self.vertices.values():
            if vertex.resources is not None:
                vertex.shape = numbers.setdefault(vertex.resources, len(numbers))
        return list(numbers)

    def _join_edges(self) -> None:
        leaving: dict[str, list[Edge]] = defaultdict(list)
        arriving: dict[str, list[Edge]] = defaultdict(list)
        for edge in self.edges:
            if not edge.is_back:
                leaving[edge.source].append(edge)
                arriving[edge.target].append(edge)
        for vertex in self.vertices.values():
            vertex.out = tuple(leaving[vertex.id])
            vertex.arriving = tuple(arriving[vertex.id])
            vertex.has_conditions = any(edge.when is not None for edge in vertex.out)

    def _sinks(self, region: str, ids: list[str]) -> tuple[str, ...]:
        """Whose outputs are the result: what leads back to the loop, else what leads nowhere."""
        back = tuple(dict.fromkeys(edge.source for edge in self.edges if edge.is_back and edge.target == region))
        return back or tuple(
            node_id for node_id in ids if not any(edge.port != ITERATION for edge in self.vertices[node_id].out)
        )

    def _first_of(self, loop: str) -> Edge:
        """The iteration edge whose target needs nothing else, so that starting it opens an iteration."""
        return next(
            edge
            for edge in self.vertices[loop].out
            if edge.port == ITERATION and len(self.vertices[edge.target].arriving) == 1
        )
