"""Loop bodies, order and circles of a graph, each in time that grows with its size and not with its loops."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

from interlock.core.engine.graph.regions import ITERATION, port_of
from interlock.core.workflow import ConnectionDefinition

MAX_CYCLES = 20
_COMPLETION, _ITERATION = 0, 1  # the ways out of a loop

Following = Mapping[str, Sequence[str]]


def find_cycles(node_ids: Iterable[str], following: Following) -> tuple[list[str], list[list[str]]]:
    """Nodes in an order in which all but the closing connections lead forward, and one circle per closing connection.

    A circle is the path that its closing connection closes. At most MAX_CYCLES are told; there are none exactly if
    the nodes can be ordered.
    """
    order: list[str] = []
    cycles: list[list[str]] = []
    position: dict[str, int] = {}  # on the path; -1 when left
    for start in node_ids:
        if start in position:
            continue
        path, branches = [start], [iter(following.get(start, ()))]
        position[start] = 0
        while path:
            target = next(branches[-1], None)
            if target is None:
                branches.pop()
                order.append(path.pop())
                position[order[-1]] = -1
            elif target not in position:
                position[target] = len(path)
                path.append(target)
                branches.append(iter(following.get(target, ())))
            elif position[target] >= 0 and len(cycles) < MAX_CYCLES:
                cycles.append(path[position[target] :])
    order.reverse()
    return order, cycles


def find_bodies(
    node_ids: Sequence[str], loops: Collection[str], connections: Sequence[ConnectionDefinition]
) -> dict[str, set[str]]:
    """For each loop the nodes reachable from its iterations and not from its completion, without passing it again.

    The ends of all connections must be known. A circle without a loop counts as broken where it closes.

    Every loop has two *ways* out, each with a bit. One pass finds which ways reach a node without another loop in
    between; what lies behind several loops is then found among the bits, as the loops are few.
    """
    ranks = {loop: rank for rank, loop in enumerate(sorted(loops))}
    reached_by = _ways_to(node_ids, ranks, connections)
    opens = [0] * (2 * len(ranks))
    for loop, rank in ranks.items():
        for way in _bits(reached_by[loop]):
            opens[way] |= 0b11 << 2 * rank
    bodies: dict[str, set[str]] = {}
    for loop, rank in ranks.items():
        outside, inside = (_ways_behind(2 * rank + way, opens) for way in (_COMPLETION, _ITERATION))
        bodies[loop] = {
            node_id for node_id, ways in reached_by.items() if ways & inside and not ways & outside and node_id != loop
        }
    return bodies


def _ways_to(
    node_ids: Sequence[str], ranks: Mapping[str, int], connections: Sequence[ConnectionDefinition]
) -> dict[str, int]:
    """The ways that reach each node without passing another loop."""
    following: dict[str, list[str]] = defaultdict(list)
    between: dict[str, list[str]] = defaultdict(list)
    reached_by = dict.fromkeys(node_ids, 0)
    for connection in connections:
        source, target = connection.source, connection.target
        if source in ranks:
            way = _ITERATION if port_of(connection, ranks) == ITERATION else _COMPLETION
            reached_by[target] |= 1 << (2 * ranks[source] + way)
        else:
            following[source].append(target)
            if target not in ranks:
                between[source].append(target)
    for node_id in find_cycles(node_ids, between)[0]:
        for target in following.get(node_id, ()):
            reached_by[target] |= reached_by[node_id]
    return reached_by


def _ways_behind(start: int, opens: Sequence[int]) -> int:
    """A way and all ways of the loops behind it, not going through its own loop again."""
    own = 0b11 << (start & ~1)
    found = todo = 1 << start
    while todo:
        way = todo.bit_length() - 1
        fresh = opens[way] & ~found & ~own
        found |= fresh
        todo = todo & ~(1 << way) | fresh
    return found


def _bits(mask: int) -> Iterator[int]:
    while mask:
        yield mask.bit_length() - 1
        mask &= ~(1 << mask.bit_length() - 1)
