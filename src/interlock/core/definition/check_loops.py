"""Order of a graph: no circles but those of loops, and loop bodies that are entered and left through their loop."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping

from interlock.core.definition.layout import Layout
from interlock.core.definition.report import Place, Report
from interlock.core.engine.graph.find_bodies import find_cycles
from interlock.core.engine.graph.regions import ITERATION
from interlock.core.workflow import ConnectionDefinition

_SHOWN = 8  # nodes of one circle
_HINT = "a body is entered by the port iteration of its loop and left by leading back to it; go on from completed"


def check_loops(layout: Layout, report: Report) -> None:
    """Report circles, crossed loop bodies and loops that cannot begin."""
    _check_cycles(layout, report)
    crossed: set[str] = set()
    for index, connection in layout.sound:
        place = Place(f"connections[{index}]", connection.source)
        crossed.update(_check_boundary(connection, place, layout, report))
        _check_extras(connection, place, layout, report)
    if layout.is_whole:  # else the connection that a loop lacks may be a broken one
        _check_entries(layout, crossed, report)


def _check_cycles(layout: Layout, report: Report) -> None:
    following: dict[str, dict[str, int]] = defaultdict(dict)
    for index, connection in layout.forward:
        following[connection.source].setdefault(connection.target, index)
    _, cycles = find_cycles(layout.nodes, {source: list(targets) for source, targets in following.items()})
    for cycle in cycles:
        closing = following[cycle[-1]][cycle[0]]
        names = [*cycle[:_SHOWN], *([f"… ({len(cycle)} nodes)"] if len(cycle) > _SHOWN else []), cycle[0]]
        message = f"The nodes {' -> '.join(names)} form a circle"
        hint = "only a loop or map node closes a circle, with its own body: from its port iteration and back to it"
        report.add("CYCLE", Place(f"connections[{closing}]", cycle[0]), message, hint=hint)


def _check_boundary(connection: ConnectionDefinition, place: Place, layout: Layout, report: Report) -> Iterable[str]:
    """The loops whose bodies the connection crosses, having reported it."""
    source, target, region = connection.source, connection.target, layout.region
    is_back = source in layout.bodies.get(target, ())
    is_iteration = source in layout.bodies and connection.port == ITERATION and not is_back
    inside = target if is_back else region[target]
    expected = source if is_iteration else region[source]
    if inside == expected:
        return ()
    if is_iteration:
        message = f"'{target}' should be in the body of '{source}' and is also reached in another way"
    elif is_back or (region[source] and target not in layout.bodies[region[source]]):
        message = f"'{source}' leads out of the body of '{region[source]}' without passing '{region[source]}'"
    else:
        message = f"'{source}' leads into the body of '{region[target]}' without passing '{region[target]}'"
    report.add("LOOP_BOUNDARY", place, message, hint=_HINT)
    return inside, expected


def _check_extras(connection: ConnectionDefinition, place: Place, layout: Layout, report: Report) -> None:
    """Conditions and mappings that would not be looked at."""
    is_back = connection.source in layout.bodies.get(connection.target, ())
    is_iteration = connection.source in layout.bodies and connection.port == ITERATION
    if connection.when is not None and (is_back or is_iteration):
        what = "leads back to its loop" if is_back else "begins an iteration"
        hint = "put a condition node into the body, or while into a loop"
        message = f"A connection that {what} cannot have a condition"
        report.add("CONDITION_NOT_ALLOWED", place.at("when"), message, value=connection.when, hint=hint)
    if connection.mapping is not None and is_back:
        message = "A connection that leads back to its loop carries nothing"
        hint = "the result of the last node is the result of the iteration; map it there"
        report.add("CONDITION_NOT_ALLOWED", place.at("mapping"), message, hint=hint)


def _check_entries(layout: Layout, crossed: Collection[str], report: Report) -> None:
    arriving: dict[str, int] = defaultdict(int)
    begins: Mapping[str, list[str]] = {loop: [] for loop in layout.bodies if loop not in crossed}
    for _, connection in layout.forward:
        arriving[connection.target] += 1
        if connection.source in begins and connection.port == ITERATION:
            begins[connection.source].append(connection.target)
    for loop, targets in begins.items():
        if not targets:
            message = f"Nothing is connected to the port iteration of '{loop}'"
            hint = f"add {{from: {loop}, port: iteration, to: …}} for the first node of its body"
            report.add("LOOP_BODY_MISSING", layout.places[loop], message, hint=hint)
        elif all(arriving[target] > 1 for target in targets):
            message = f"No node of the body of '{loop}' can begin an iteration: all wait for other nodes too"
            hint = f"one node must have the connection from the port iteration of '{loop}' as its only one"
            report.add("LOOP_ENTRY", layout.places[loop], message, hint=hint)
