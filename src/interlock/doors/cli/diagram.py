"""A workflow as a tree of text: every node once, where a reader of the graph meets it first, with its status."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from rich.text import Text
from rich.tree import Tree

from interlock.doors.cli.signs import status_text
from interlock.doors.cli.texts import one_line

MAX_BRANCHES = 300
"""Nodes that are drawn; a picture with more helps nobody."""

_PLAIN_PORTS = frozenset({"", "result", "main"})


@dataclass(frozen=True, slots=True)
class Vertex:
    """A node of a graph, or a state of a flow."""

    node_id: str
    name: str
    kind: str


@dataclass(frozen=True, slots=True)
class Arrow:
    """A connection or transition; ``label`` is its port or event, empty where there is only one way to go."""

    source: str
    target: str
    label: str


@dataclass(frozen=True, slots=True)
class Diagram:
    """What is drawn: vertices in the author's order, arrows, and where a reader begins."""

    vertices: tuple[Vertex, ...]
    arrows: tuple[Arrow, ...]
    roots: tuple[str, ...]
    is_flow: bool = False


def read_diagram(workflow: Mapping[str, Any]) -> Diagram:
    """The diagram of a workflow object as the app door answers it."""
    is_flow = isinstance(workflow.get("states"), list)
    return _read_flow(workflow) if is_flow else _read_graph(workflow)


def _read_graph(workflow: Mapping[str, Any]) -> Diagram:
    vertices = tuple(
        Vertex(str(node.get("id") or node.get("name")), str(node.get("name") or node.get("id")), _kind_of(node))
        for node in _objects(workflow.get("nodes"))
    )
    listed = workflow.get("connections_list") or workflow.get("connections")
    arrows = tuple(
        Arrow(
            str(found.get("from_node", found.get("source", ""))),
            str(found.get("to_node", found.get("target", ""))),
            _label(found.get("output_key", found.get("port"))),
        )
        for found in _objects(listed)
    )
    reached = {arrow.target for arrow in arrows}
    return Diagram(vertices, arrows, tuple(v.node_id for v in vertices if v.node_id not in reached))


def _read_flow(workflow: Mapping[str, Any]) -> Diagram:
    states = [str(state) for state in workflow["states"]]
    given = workflow.get("state_node_map") or workflow.get("nodes")
    nodes = given if isinstance(given, dict) else {}
    arrows = [
        Arrow(source, target, str(found.get("event") or ""))
        for found in _objects(workflow.get("transitions"))
        for source in _texts(found.get("from", found.get("source")))
        for target in _texts(found.get("to", found.get("target")))
    ]
    first = str(workflow.get("initial_state") or (states[0] if states else ""))
    vertices = tuple(Vertex(state, state, str(nodes.get(state, "")).removeprefix("builtin://")) for state in states)
    return Diagram(vertices, tuple(arrows), (first,) if first else (), is_flow=True)


def _objects(value: Any) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _texts(value: Any) -> list[str]:
    return [str(item) for item in value] if isinstance(value, list) else [] if value is None else [str(value)]


def _kind_of(node: Mapping[str, Any]) -> str:
    kind, subtype = str(node.get("type") or ""), str(node.get("subtype") or "")
    return f"{kind}/{subtype}" if subtype else kind


def _label(port: Any) -> str:
    text = str(port or "")
    return "" if text in _PLAIN_PORTS else text


def draw(diagram: Diagram, title: str, statuses: Mapping[str, str], notes: Mapping[str, str]) -> Tree:
    """The tree: icon and word of each node's status, its type, and a note behind it."""
    vertices = {vertex.node_id: vertex for vertex in diagram.vertices}
    following: dict[str, list[Arrow]] = defaultdict(list)
    for arrow in diagram.arrows:
        following[arrow.source].append(arrow)
    tree = Tree(Text(one_line(title, 80), style="bold"), guide_style="dim")
    drawing = _Drawing(vertices, following, statuses, notes)
    for root in [*diagram.roots, *vertices]:  # what no root leads to (a cycle) is drawn from its first node
        if root in vertices and root not in drawing.seen:
            drawing.branch(tree, root, "")
    if drawing.left_out:
        tree.add(Text(f"… {drawing.left_out} more nodes", style="dim"))
    return tree


class _Drawing:
    """One drawing of one diagram; remembers which nodes stand already somewhere."""

    def __init__(
        self,
        vertices: Mapping[str, Vertex],
        following: Mapping[str, Iterable[Arrow]],
        statuses: Mapping[str, str],
        notes: Mapping[str, str],
    ) -> None:
        self._vertices = vertices
        self._following = following
        self._statuses = statuses
        self._notes = notes
        self.seen: set[str] = set()
        self.left_out = 0

    def branch(self, top: Tree, node_id: str, label: str) -> None:
        """Add a node below ``top`` with everything behind it, depth first and without recursion."""
        todo: list[tuple[Tree, str, str]] = [(top, node_id, label)]
        while todo:
            above, here, way = todo.pop()
            if here in self.seen:
                above.add(Text.assemble(_way(way), (f"↪ {self._name(here)}", "dim")))
                continue
            self.seen.add(here)
            if len(self.seen) > MAX_BRANCHES:
                self.left_out += 1
                continue
            place = above.add(self._line(here, way))
            todo.extend((place, arrow.target, arrow.label) for arrow in reversed([*self._following.get(here, ())]))

    def _name(self, node_id: str) -> str:
        vertex = self._vertices.get(node_id)
        return one_line(vertex.name if vertex is not None else node_id, 40)

    def _line(self, node_id: str, way: str) -> Text:
        vertex = self._vertices.get(node_id)
        line = Text.assemble(_way(way), self._name(node_id))
        if vertex is not None and vertex.kind:
            line.append(f" ({one_line(vertex.kind, 40)})", style="dim")
        status = self._statuses.get(node_id)
        if status:
            line.append("  ").append_text(status_text(status))
        note = self._notes.get(node_id)
        if note:
            line.append(f"  {one_line(note, 60)}", style="dim")
        return line


def _way(label: str) -> Text:
    return Text(f"[{one_line(label, 30)}] " if label else "", style="cyan")
