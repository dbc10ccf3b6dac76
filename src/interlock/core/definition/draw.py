"""A definition as a picture: boxes and arrows, for the command line and the doors."""

from __future__ import annotations

import msgspec

from interlock.core.definition.layout import Layout
from interlock.core.engine.flow.compile import terminal_states
from interlock.core.engine.graph.regions import COMPLETED, ITERATION
from interlock.core.workflow import ConnectionDefinition, Definition, FlowDefinition, GraphDefinition

_USER_TYPES = frozenset({"approval"})
_PLAIN_PORTS = frozenset({"result", COMPLETED})


class Box(msgspec.Struct, frozen=True, kw_only=True):
    """A node or flow state. ``user_input``: it waits for a person. ``type`` is empty where nothing runs."""

    id: str
    label: str
    type: str
    initial: bool = False
    user_input: bool = False
    terminal: bool = False


class Arrow(msgspec.Struct, frozen=True, kw_only=True, rename={"source": "from", "target": "to"}):
    """A connection or transition; the label says when it is taken, and is empty for always."""

    source: str
    target: str
    label: str = ""


class Picture(msgspec.Struct, frozen=True, kw_only=True):
    """``{nodes: [{id, label, type, initial, user_input, terminal}], edges: [{from, to, label}]}``."""

    nodes: tuple[Box, ...]
    edges: tuple[Arrow, ...]


def draw(definition: Definition) -> Picture:
    """The picture of a definition. One that has not passed the checks can be drawn too, without its loose ends."""
    return _draw_graph(definition) if isinstance(definition, GraphDefinition) else _draw_flow(definition)


def _draw_graph(definition: GraphDefinition) -> Picture:
    nodes = {node.id: node for node in definition.nodes}
    sound = [
        (index, found)
        for index, found in enumerate(definition.connections)
        if found.source in nodes and found.target in nodes
    ]
    layout = Layout(definition, nodes, sound)
    reached = {found.target for _, found in layout.forward}
    left = {found.source for _, found in sound if found.port != ITERATION}
    boxes = tuple(
        Box(
            id=node.id,
            label=node.name or node.id,
            type=node.type,
            initial=node.id not in reached,
            user_input=node.type in _USER_TYPES,
            terminal=node.id not in left,
        )
        for node in nodes.values()
    )
    return Picture(nodes=boxes, edges=tuple(_arrow(found) for _, found in sound))


def _arrow(connection: ConnectionDefinition) -> Arrow:
    parts = [] if connection.port in _PLAIN_PORTS else [connection.port]
    parts += [f"if {connection.when}"] if connection.when else []
    return Arrow(source=connection.source, target=connection.target, label=" ".join(parts))


def _draw_flow(definition: FlowDefinition) -> Picture:
    ends = set(terminal_states(definition)) if definition.states else set()
    boxes = tuple(
        Box(
            id=name,
            label=name,
            type=definition.nodes.get(name, ""),
            initial=name == definition.initial_state,
            user_input=name in definition.user_input_states,
            terminal=name in ends,
        )
        for name in definition.states
    )
    return Picture(nodes=boxes, edges=_transitions(definition))


def _transitions(definition: FlowDefinition) -> tuple[Arrow, ...]:
    states = set(definition.states)
    return tuple(
        Arrow(source=source, target=target, label=_label(definition, source, found.event, found.when))
        for found in definition.transitions
        for source in found.source
        for target in found.target
        if source in states and target in states
    )


def _label(definition: FlowDefinition, source: str, event: str, when: str | None) -> str:
    timer = definition.timers.get(source)
    after = f" after {timer.after:g} s" if timer is not None and timer.event == event else ""
    return event + after + (f" if {when}" if when else "")
