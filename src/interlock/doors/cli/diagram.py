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
    """The diagram of a workflow object as the app door answers it; an empty one of an empty object."""
    picture = workflow.get("picture") or {}
    boxes, edges = picture.get("nodes") or [], picture.get("edges") or []
    return Diagram(
        vertices=tuple(Vertex(str(box["id"]), str(box["label"]), str(box["type"])) for box in boxes),
        arrows=tuple(Arrow(str(edge["from"]), str(edge["to"]), str(edge.get("label") or "")) for edge in edges),
        roots=tuple(str(box["id"]) for box in boxes if box.get("initial")),
        is_flow=workflow.get("kind") == "flow",
    )


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
