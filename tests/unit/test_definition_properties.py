"""What holds for any definition: nothing raises, what is valid compiles, and loop bodies are those of the engine."""

from __future__ import annotations

import copy
import json
import random
from collections import defaultdict
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from interlock.core.definition import check_definition, digest, draw, read_definition, read_heading
from interlock.core.engine.graph.find_bodies import find_bodies, find_cycles
from interlock.core.engine.graph.regions import ITERATION, LOOP_TYPES, port_of
from interlock.core.workflow import ConnectionDefinition, GraphDefinition, NodeDefinition
from unit.definition_house import FLOW, GRAPH, TYPES, compile_definition, validate

KEYS = [
    "kind", "name", "description", "tags", "nodes", "connections", "settings", "id", "type", "parameters",
    "input", "retry", "timeout", "deadline", "on_error", "join", "disabled", "from", "to", "port", "into",
    "when", "mapping", "max_parallel", "output", "max_attempts", "backoff", "retry_on", "states",
    "initial_state", "state_node_map", "state_params", "user_input_states", "terminal_states", "timeouts",
    "timers", "transitions", "event", "fan_in", "after", "a", "b",
]  # fmt: skip
WORDS = [*KEYS, *TYPES, "graph", "flow", "a -> b", "result", "iteration", "{{ $json }}", "{{", "data.n > 1", "", "stop"]
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=8),
    st.sampled_from(WORDS),
    st.sampled_from([10**400, 1 << 64, "\ud800", "a\0", b"bytes", 1j, object]),
)
ANYTHING = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(st.one_of(st.sampled_from(KEYS), st.text(max_size=4), st.integers()), inner, max_size=6),
        st.tuples(inner, inner),
    ),
    max_leaves=30,
)


def run_everything(source: Any) -> None:
    """All that a caller may do with a source; raises nothing, and what has no errors goes all the way."""
    verdict = validate(source)
    json.dumps([[problem.message, problem.path, problem.value, problem.hint] for problem in verdict.errors]).encode()
    read_heading(source)
    definition, problems = read_definition(source)
    assert definition is not None or problems
    if definition is not None:
        draw(definition)
        check_definition(definition, TYPES, check_parameters=lambda node_type, parameters: [])
    if verdict.definition is not None:
        compile_definition(verdict.definition)
        digest(verdict.definition)


@settings(max_examples=300, deadline=None)
@given(ANYTHING)
def test_any_value_is_answered_with_problems(source: Any) -> None:
    run_everything(source)


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(st.sampled_from(KEYS), ANYTHING, max_size=8), st.sampled_from(["graph", "flow"]))
def test_any_object_is_answered_with_problems(source: dict[str, Any], kind: str) -> None:
    run_everything({**source, "kind": kind})


def steps_of(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The paths of all values inside a value."""
    found = [path] if path else []
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        found += steps_of(item, (*path, key))
    return found


@settings(max_examples=500, deadline=None)
@given(st.data(), st.sampled_from([GRAPH, FLOW]), st.integers(1, 3))
def test_a_good_definition_that_is_disturbed_is_refused_or_still_compiles(
    data: st.DataObject, source: dict[str, Any], times: int
) -> None:
    source = copy.deepcopy(source)
    for _ in range(times):
        *path, last = data.draw(st.sampled_from(steps_of(source)))
        holder = source
        for step in path:
            holder = holder[step]
        match data.draw(st.sampled_from(["replace", "delete", "repeat"])):
            case "delete":
                del holder[last]
            case "repeat" if isinstance(holder, list):
                holder.append(copy.deepcopy(holder[last]))
            case _:
                holder[last] = data.draw(st.one_of(st.sampled_from(WORDS), ANYTHING))
        if not steps_of(source):
            break
    run_everything(source)


@st.composite
def graphs(draw_value: st.DrawFn) -> dict[str, Any]:
    """Random graphs as the rules want them, with loops in loops."""
    nodes: list[dict[str, Any]] = []
    connections: list[dict[str, Any]] = []

    def add_region(owner: str, depth: int) -> None:
        inside: list[str] = []
        for _ in range(draw_value(st.integers(1, 4))):
            kind = draw_value(
                st.sampled_from(["echo", "transform", "condition", *(["map", "loop"] if depth < 3 else [])])
            )
            node_id = f"n{len(nodes)}"
            nodes.append({"id": node_id, "type": kind, "parameters": PARAMETERS.get(kind, {})})
            sources = draw_value(st.lists(st.sampled_from(inside), max_size=3, unique=True)) if inside else []
            connections.extend(leave(source, node_id) for source in sources)
            if owner and not sources:
                connections.append({"from": owner, "port": "iteration", "to": node_id})
            if kind in ("map", "loop"):
                add_region(node_id, depth + 1)
            if owner and draw_value(st.booleans()):
                connections.append(leave(node_id, owner) | {"when": None, "mapping": None})
            inside.append(node_id)

    def leave(source: str, target: str) -> dict[str, Any]:
        kind = next(node["type"] for node in nodes if node["id"] == source)
        found: dict[str, Any] = {"from": source, "to": target}
        if kind == "condition":
            found["port"] = draw_value(st.sampled_from(["true", "false"]))
        found["when"] = draw_value(st.sampled_from([None, "data.n > 1"]))
        found["mapping"] = draw_value(st.sampled_from([None, {"a": "{{ $json }}"}]))
        return found

    add_region("", 0)
    order = draw_value(st.randoms(use_true_random=False))
    order.shuffle(nodes)
    order.shuffle(connections)
    return {"nodes": nodes, "connections": connections}


PARAMETERS = {
    "transform": {"mapping": {"x": "{{ $json.x }}"}},
    "condition": {"condition_expression": "data.n > 1"},
    "loop": {"while": "$loop.index < 3"},
}


@settings(max_examples=300, deadline=None)
@given(graphs())
def test_random_good_graphs_have_no_problems_and_compile(source: dict[str, Any]) -> None:
    verdict = validate(source)
    assert (verdict.errors, verdict.warnings) == ((), ())
    assert verdict.definition is not None
    compile_definition(verdict.definition)


@settings(max_examples=500, deadline=None)
@given(st.integers(0, 2**32), st.integers(2, 12), st.integers(1, 5))
def test_loop_bodies_are_those_that_the_engine_finds(seed: int, size: int, loops: int) -> None:
    chance = random.Random(seed)
    names = [f"n{index}" for index in range(size)]
    kinds = ["loop" if index < loops else "echo" for index in range(size)]
    chance.shuffle(kinds)
    connections = []
    for _ in range(chance.randrange(3 * size)):
        source, target = chance.sample(range(size), 2)
        if "loop" not in (kinds[source], kinds[target]) and source > target:
            source, target = target, source  # circles without a loop are refused anyway
        port = chance.choice(["result", "completed", "iteration"]) if kinds[source] == "loop" else "result"
        connections.append(ConnectionDefinition(source=names[source], target=names[target], port=port))
    definition = GraphDefinition(
        nodes=tuple(NodeDefinition(id=name, type=kind) for name, kind in zip(names, kinds, strict=True)),
        connections=tuple(connections),
    )
    found = [name for name, kind in zip(names, kinds, strict=True) if kind == "loop"]
    assert find_bodies(names, found, connections) == loop_bodies(definition)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=30))
def test_circles_are_real_and_without_them_there_is_an_order(pairs: list[tuple[int, int]]) -> None:
    names = [str(number) for number in range(10)]
    following: dict[str, list[str]] = {name: [] for name in names}
    for source, target in pairs:
        following[str(source)].append(str(target))
    order, cycles = find_cycles(names, following)
    assert sorted(order) == names
    for cycle in cycles:
        assert all(target in following[source] for source, target in zip(cycle, [*cycle[1:], cycle[0]], strict=True))
    if not cycles:
        place = {name: position for position, name in enumerate(order)}
        assert all(place[str(source)] < place[str(target)] for source, target in pairs)


def shuffled(value: Any, order: random.Random) -> Any:
    """The same value with its keys in another order."""
    if isinstance(value, dict):
        keys = list(value)
        order.shuffle(keys)
        return {key: shuffled(value[key], order) for key in keys}
    return [shuffled(item, order) for item in value] if isinstance(value, list) else value


@settings(deadline=None)
@given(st.sampled_from([GRAPH, FLOW]), st.randoms(use_true_random=False))
def test_the_digest_does_not_depend_on_the_order_of_keys(source: dict[str, Any], order: random.Random) -> None:
    first, second = validate(source).definition, validate(shuffled(source, order)).definition
    assert first is not None
    assert second is not None
    assert digest(first) == digest(second)


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


def _reach(starts: list[str], stop: str, following: dict[str, list[str]]) -> set[str]:
    seen: set[str] = set()
    todo = [node_id for node_id in starts if node_id != stop]
    while todo:
        node_id = todo.pop()
        if node_id not in seen:
            seen.add(node_id)
            todo.extend(target for target in following[node_id] if target != stop and target not in seen)
    return seen
