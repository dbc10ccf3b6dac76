"""Graphs: everything that must not be stored is refused with its code, its place and a hint."""

from __future__ import annotations

from typing import Any

import pytest

from interlock.core.definition import check_definition, ports_of
from interlock.core.workflow import ConnectionDefinition, GraphDefinition, NodeDefinition
from unit.definition_house import (
    GRAPH,
    TYPES,
    A,
    B,
    C,
    call,
    choose,
    compile_definition,
    graph,
    joined,
    nodes,
    step,
    validate,
)

LOOP = {"id": "l", "type": "loop", "parameters": {"times": 2}}
INTO = {"from": "l", "port": "iteration", "to": "a"}


def looped(*connections: Any, more: tuple[dict[str, Any], ...] = ()) -> dict[str, Any]:
    return nodes(LOOP, A, B, C, *more, connections=connections)


BAD: list[tuple[str, Any, list[tuple[str, str]]]] = [
    ("no nodes", {"nodes": []}, [("NODES_MISSING", "nodes")]),
    ("an empty id", nodes({"id": ""}), [("ID_INVALID", "nodes[0].id")]),
    ("an id with a space", nodes({"id": "a b"}), [("ID_INVALID", "nodes[0].id")]),
    ("an id with a line break", nodes({"id": "a\n"}), [("ID_INVALID", "nodes[0].id")]),
    ("an id that could be a scope", nodes({"id": "a[0]/b"}), [("ID_INVALID", "nodes[0].id")]),
    ("an id that is too long", nodes({"id": "a" * 129}), [("ID_INVALID", "nodes[0].id")]),
    ("an id twice", nodes(A, B, A), [("ID_DUPLICATE", "nodes[2].id")]),
    ("a name that is too long", nodes({"id": "a", "name": "x" * 201}), [("TOO_LARGE", "nodes[0].name")]),
    ("an unknown type", nodes({"id": "a", "type": "htp_request"}), [("NODE_TYPE_UNKNOWN", "nodes[0].type")]),
    ("an empty type", nodes({"id": "a", "type": ""}), [("NODE_TYPE_UNKNOWN", "nodes[0].type")]),
    (
        "no attempts",
        nodes({"id": "a", "retry": {"max_attempts": 0}}),
        [("OUT_OF_RANGE", "nodes[0].retry.max_attempts")],
    ),
    (
        "101 attempts",
        nodes({"id": "a", "retry": {"max_attempts": 101}}),
        [("OUT_OF_RANGE", "nodes[0].retry.max_attempts")],
    ),
    ("waits below zero", nodes({"id": "a", "retry": {"backoff": -1}}), [("OUT_OF_RANGE", "nodes[0].retry.backoff")]),
    (
        "waits of two days",
        nodes({"id": "a", "retry": {"max_backoff": 172800}}),
        [("OUT_OF_RANGE", "nodes[0].retry.max_backoff")],
    ),
    ("shrinking waits", nodes({"id": "a", "retry": {"factor": 0.5}}), [("OUT_OF_RANGE", "nodes[0].retry.factor")]),
    (
        "an empty error code",
        nodes({"id": "a", "retry": {"retry_on": ["X", ""]}}),
        [("VALUE_NOT_ALLOWED", "nodes[0].retry.retry_on[1]")],
    ),
    ("a timeout of 0", nodes({"id": "a", "timeout": 0}), [("OUT_OF_RANGE", "nodes[0].timeout")]),
    ("a deadline below zero", nodes({"id": "a", "deadline": -3}), [("OUT_OF_RANGE", "nodes[0].deadline")]),
    ("a timeout of 31 days", nodes({"id": "a", "timeout": 31 * 86400}), [("OUT_OF_RANGE", "nodes[0].timeout")]),
    ("less than no cores", nodes({"id": "a", "resources": {"cpu": -1}}), [("OUT_OF_RANGE", "nodes[0].resources.cpu")]),
    (
        "endless memory",
        nodes({"id": "a", "resources": {"memory": 1e99}}),
        [("OUT_OF_RANGE", "nodes[0].resources.memory")],
    ),
    ("a text of devices", nodes({"id": "a", "resources": {"gpu": "1"}}), [("TYPE_WRONG", "nodes[0].resources.gpu")]),
    ("another resource", nodes({"id": "a", "resources": {"tpu": 1}}), [("KEY_UNKNOWN", "nodes[0].resources.tpu")]),
    ("resources of no kind", nodes({"id": "a", "resources": 2}), [("TYPE_WRONG", "nodes[0].resources")]),
    (
        "resources of a node of the engine",
        nodes({"id": "a", "type": "wait", "parameters": {"seconds": 1}, "resources": {}}),
        [("VALUE_NOT_ALLOWED", "nodes[0].resources")],
    ),
    ("an unknown policy", graph(settings={"over_ask": "shrink"}), [("VALUE_NOT_ALLOWED", "settings.over_ask")]),
    ("no parallel attempts", graph(settings={"max_parallel": 0}), [("OUT_OF_RANGE", "settings.max_parallel")]),
    ("an endless graph", graph(settings={"timeout": 1e12}), [("OUT_OF_RANGE", "settings.timeout")]),
    ("an unknown source", joined("x -> b"), [("CONNECTION_DANGLING", "connections[0].from")]),
    ("an unknown target", joined("a -> b", "b -> x"), [("CONNECTION_DANGLING", "connections[1].to")]),
    (
        "two unknown ends",
        joined("x -> y"),
        [("CONNECTION_DANGLING", "connections[0].from"), ("CONNECTION_DANGLING", "connections[0].to")],
    ),
    ("a node behind itself", joined("a -> a"), [("CONNECTION_SELF", "connections[0]")]),
    ("an unknown port", joined({"from": "a", "port": "tru", "to": "b"}), [("PORT_UNKNOWN", "connections[0].port")]),
    (
        "an error port that is not asked for",
        joined({"from": "a", "port": "error", "to": "b"}),
        [("PORT_UNKNOWN", "connections[0].port")],
    ),
    ("a strange input", joined({"from": "a", "to": "b", "into": "in put"}), [("ID_INVALID", "connections[0].into")]),
    (
        "a condition by its default port",
        nodes(
            {"id": "a", "type": "condition", "parameters": {"condition_expression": "true"}}, B, connections=["a -> b"]
        ),
        [("PORT_UNKNOWN", "connections[0].port")],
    ),
    (
        "a case that is not there",
        nodes(
            {"id": "a", "type": "condition", "parameters": {"cases": [{"port": "big", "when": "data.n > 3"}]}},
            B,
            connections=[{"from": "a", "port": "small", "to": "b"}, {"from": "a", "port": "true", "to": "b"}],
        ),
        [("PORT_UNKNOWN", "connections[0].port"), ("PORT_UNKNOWN", "connections[1].port")],
    ),
    (
        "a wrong condition",
        joined({"from": "a", "to": "b", "when": "data.n >"}),
        [("EXPRESSION_ERROR", "connections[0].when")],
    ),
    (
        "a wrong mapping",
        joined({"from": "a", "to": "b", "mapping": {"x": ["{{ 1 + }}"]}}),
        [("EXPRESSION_ERROR", "connections[0].mapping.x[0]")],
    ),
    ("a wrong output", graph(settings={"output": "{{ $jsn }}"}), [("EXPRESSION_ERROR", "settings.output")]),
    (
        "two wrong texts",
        step({"mapping": {"a": "{{ }}", "b": ["x", {"c d": "{{ foo }} {{ bar }}"}]}}),
        [
            ("EXPRESSION_ERROR", "nodes[0].parameters.mapping.a"),
            ("EXPRESSION_ERROR", 'nodes[0].parameters.mapping.b[1]["c d"]'),
            ("EXPRESSION_ERROR", 'nodes[0].parameters.mapping.b[1]["c d"]'),
        ],
    ),
    ("an open brace", step({"mapping": "{{ $json.a"}), [("EXPRESSION_ERROR", "nodes[0].parameters.mapping")]),
    (
        "a wrong bare expression",
        choose(condition_expression="data.n ="),
        [("EXPRESSION_ERROR", "nodes[0].parameters.condition_expression")],
    ),
    (
        "true as expression",
        choose(condition_expression=True),
        [("EXPRESSION_ERROR", "nodes[0].parameters.condition_expression")],
    ),
    ("a case without port", choose(cases=[{"when": "true"}]), [("EXPRESSION_ERROR", "nodes[0].parameters.cases[0]")]),
    ("a case that is a text", choose(cases=["true"]), [("EXPRESSION_ERROR", "nodes[0].parameters.cases[0]")]),
    (
        "a case with a wrong expression",
        choose(cases=[{"port": "a", "when": "true"}, {"port": "b", "when": "1 <"}]),
        [("EXPRESSION_ERROR", "nodes[0].parameters.cases[1].when")],
    ),
    (
        "a case called as its parameter",
        choose(cases=[{"port": "condition_expression", "when": "true"}]),
        [("ID_INVALID", "nodes[0].parameters.cases[0].port")],
    ),
    (
        "a missing parameter",
        nodes({"id": "a", "type": "http_request"}),
        [("PARAMETER_INVALID", "nodes[0].parameters.url")],
    ),
    ("an unknown parameter", call(metod="GET"), [("PARAMETER_INVALID", "nodes[0].parameters.metod")]),
    (
        "an unknown parameter with a placeholder",
        call(metod="{{ $json }}"),
        [("PARAMETER_INVALID", "nodes[0].parameters.metod")],
    ),
    ("a wrong word", call(method="FETCH"), [("PARAMETER_INVALID", "nodes[0].parameters.method")]),
    ("a number out of range", call(timeout=0), [("PARAMETER_INVALID", "nodes[0].parameters.timeout")]),
    (
        "text around a placeholder for a list",
        nodes({"id": "a", "type": "python", "parameters": {"function": ["f"]}}),
        [("PARAMETER_INVALID", "nodes[0].parameters.function")],
    ),
    ("neither of two", step({"output_key": "{{ $json.k }}"}), [("PARAMETER_INVALID", "nodes[0].parameters")]),
    (
        "both of two",
        nodes({"id": "a", "type": "wait", "parameters": {"seconds": "{{ $json }}", "signal": "x"}}),
        [("PARAMETER_INVALID", "nodes[0].parameters")],
    ),
    (
        "no workflow",
        nodes({"id": "a", "type": "subworkflow"}),
        [("SUBWORKFLOW_NOT_CONSTANT", "nodes[0].parameters.workflow")],
    ),
    (
        "a computed workflow",
        nodes({"id": "a", "type": "subworkflow", "parameters": {"workflow": "{{ $json.w }}"}}),
        [("SUBWORKFLOW_NOT_CONSTANT", "nodes[0].parameters.workflow")],
    ),
    ("no number", step({"mapping": [float("inf")]}), [("NOT_JSON", "nodes[0].parameters.mapping[0]")]),
    ("NUL", step({"mapping": "a\0"}), [("NOT_JSON", "nodes[0].parameters.mapping")]),
    ("half a surrogate pair", step({"mapping": {"a": "\ud800"}}), [("NOT_JSON", "nodes[0].parameters.mapping.a")]),
    ("half a surrogate pair in a key", step({"mapping": {"\ud800": 1}}), [("NOT_JSON", "nodes[0].parameters.mapping")]),
    ("a number of 65 bits", step({"mapping": 1 << 64}), [("NOT_JSON", "nodes[0].parameters.mapping")]),
    ("a set", step({"mapping": {1, 2}}), [("NOT_JSON", "nodes[0].parameters.mapping")]),
    ("a number as key", step({"mapping": {5: 1}}), [("NOT_JSON", "nodes[0].parameters.mapping")]),
    ("a set as default input", nodes({"id": "a", "input": {"x": {1}}}), [("NOT_JSON", "nodes[0].input.x")]),
    ("two nodes in a circle", joined("a -> b", "b -> a"), [("CYCLE", "connections[1]")]),
    (
        "two circles",
        joined("a -> b", "b -> a", "b -> c", "c -> b"),
        [("CYCLE", "connections[1]"), ("CYCLE", "connections[3]")],
    ),
    (
        "a circle through a loop",
        looped(INTO, "a -> l", "l -> b", "b -> c", "c -> l"),
        [("CYCLE", "connections[4]")],
    ),
    ("a loop without body", looped("l -> a"), [("LOOP_BODY_MISSING", "nodes[0]")]),
    ("out of a body", looped(INTO, "a -> b", "l -> b"), [("LOOP_BOUNDARY", "connections[1]")]),
    ("into a body", looped(INTO, "b -> a"), [("LOOP_BOUNDARY", "connections[1]")]),
    (
        "in a body and behind it",
        looped(INTO, {"from": "l", "to": "a"}),
        [("LOOP_BOUNDARY", "connections[0]")],
    ),
    (
        "out of two bodies at once",
        looped(
            {"from": "l", "port": "iteration", "to": "m"},
            {"from": "m", "port": "iteration", "to": "a"},
            "a -> l",
            "m -> b",
            more=({"id": "m", "type": "map"},),
        ),
        [("LOOP_BOUNDARY", "connections[2]")],
    ),
    (
        "from one body into another",
        looped(INTO, {"from": "m", "port": "iteration", "to": "b"}, "a -> b", more=({"id": "m", "type": "map"},)),
        [("LOOP_BOUNDARY", "connections[2]")],
    ),
    (
        "no body that can begin",
        looped(
            {"from": "l", "port": "iteration", "to": "a"}, {"from": "l", "port": "iteration", "to": "a", "into": "x"}
        ),
        [("LOOP_ENTRY", "nodes[0]")],
    ),
    (
        "a condition on an iteration",
        looped({**INTO, "when": "true"}),
        [("CONDITION_NOT_ALLOWED", "connections[0].when")],
    ),
    (
        "a condition on the way back",
        looped(INTO, {"from": "a", "to": "l", "when": "true", "mapping": 1}),
        [("CONDITION_NOT_ALLOWED", "connections[1].when"), ("CONDITION_NOT_ALLOWED", "connections[1].mapping")],
    ),
    (
        "a name that two nodes have and an expression uses",
        nodes(
            {"id": "a", "name": "x"},
            {"id": "b", "name": "x"},
            {"id": "c", "type": "transform", "parameters": {"mapping": "{{ $node['x'].result }}"}},
            connections=["a -> c", "b -> c"],
        ),
        [("NAME_AMBIGUOUS", "nodes[2].parameters.mapping")],
    ),
    (
        "a name that is the id of another node",
        nodes(
            {"id": "a", "name": "b"},
            {"id": "b"},
            {"id": "c", "type": "condition", "parameters": {"condition_expression": "$node.b.result"}},
            connections=["a -> c", "b -> c"],
        ),
        [("NAME_AMBIGUOUS", "nodes[2].parameters.condition_expression")],
    ),
    (
        "two results of one name",
        nodes({"id": "a", "name": "x"}, {"id": "b", "name": "x"}),
        [("NAME_AMBIGUOUS", "nodes[1].name")],
    ),
    (
        "two results of one name in a body",
        nodes(
            LOOP,
            {"id": "a", "name": "x"},
            {"id": "b", "name": "x"},
            C,
            connections=[INTO, {**INTO, "to": "b"}, "a -> l", "b -> l", {**INTO, "to": "c"}],
        ),
        [("NAME_AMBIGUOUS", "nodes[2].name")],
    ),
]


@pytest.mark.parametrize(("source", "expected"), [case[1:] for case in BAD], ids=[case[0] for case in BAD])
def test_a_bad_graph_is_refused_with_code_and_place(source: Any, expected: list[tuple[str, str]]) -> None:
    verdict = validate(source)
    assert verdict.definition is None
    assert [(problem.code, problem.path) for problem in verdict.errors] == expected
    assert all(problem.message and problem.hint != problem.message for problem in verdict.errors)


GOOD: list[tuple[str, Any]] = [
    ("the whole example", GRAPH),
    ("one node", nodes(A)),
    ("nodes side by side", nodes(A, B)),
    ("connections side by side", joined("a -> b", {"from": "a", "to": "b", "into": "again"})),
    ("an error output", joined({"from": "a", "port": "error", "to": "b"}, first={"on_error": "error_output"})),
    (
        "placeholders for everything",
        call(url="{{ $json }}", method="{{ $json.m }}", timeout="{{ $json.t }}", headers="{{ $json.h }}"),
    ),
    ("placeholders inside", call(headers={"a": "x {{ $json.a }}"}, body=["{{ $json.b }}"])),
    (
        "a missing data parameter",
        nodes({"id": "a", "type": "map"}, B, connections=[{"from": "a", "port": "iteration", "to": "b"}]),
    ),
    ("a body that does not lead back", looped(INTO, "a -> b", "l -> c")),
    ("a body that leads back", looped(INTO, "a -> b", "b -> l", "l -> c")),
    (
        "a loop in a loop",
        looped(
            {"from": "l", "port": "iteration", "to": "m"},
            {"from": "m", "port": "iteration", "to": "a"},
            "a -> m",
            {"from": "m", "port": "completed", "to": "b"},
            "b -> l",
            "l -> c",
            more=({"id": "m", "type": "map"},),
        ),
    ),
    (
        "a choice in a body with two ways back",
        looped(
            {"from": "l", "port": "iteration", "to": "if"},
            {"from": "if", "port": "true", "to": "a"},
            {"from": "if", "port": "false", "to": "b"},
            "a -> l",
            "b -> l",
            more=({"id": "if", "type": "condition", "parameters": {"condition_expression": "$loop.index > 1"}},),
        ),
    ),
    (
        "names twice that nobody needs",
        joined("a -> c", "b -> c", first={"name": "x"})
        | {
            "nodes": [
                {"id": "a", "type": "echo", "name": "x"},
                {"id": "b", "type": "echo", "name": "x"},
                {"id": "c", "type": "echo"},
            ]
        },
    ),
    ("the longest id", nodes({"id": "a" * 128})),
    ("the largest numbers", nodes({"id": "a", "timeout": 30 * 86400, "retry": {"max_attempts": 100, "factor": 100}})),
    ("whole numbers of 64 bits", step({"mapping": [(1 << 64) - 1, -(1 << 63)]})),
]


@pytest.mark.parametrize("source", [case[1] for case in GOOD], ids=[case[0] for case in GOOD])
def test_a_good_graph_has_no_problems_and_compiles(source: Any) -> None:
    verdict = validate(source)
    assert (verdict.errors, verdict.warnings) == ((), ())
    assert verdict.definition is not None
    compile_definition(verdict.definition)


def test_a_definition_made_by_a_door_is_checked_in_the_same_way() -> None:
    definition = GraphDefinition(
        nodes=(NodeDefinition(id="a", type="echo", timeout=-1), NodeDefinition(id="a b", type="echo")),
        connections=(ConnectionDefinition(source="a", target="x"),),
    )
    problems = check_definition(definition, TYPES, check_parameters=lambda node_type, parameters: [])
    assert [(found.code, found.path) for found in problems] == [
        ("ID_INVALID", "nodes[1].id"),
        ("OUT_OF_RANGE", "nodes[0].timeout"),
        ("CONNECTION_DANGLING", "connections[0].to"),
    ]


def test_ports_of_a_node_are_those_of_its_type_and_its_cases() -> None:
    def ports(node_type: str, parameters: dict[str, Any], on_error: Any = "stop") -> tuple[str, ...]:
        node = NodeDefinition(id="a", type=node_type, parameters=parameters, on_error=on_error)
        return ports_of(node, TYPES[node_type])

    cases = [{"port": "big", "when": "true"}, {"port": "big", "when": "false"}]
    assert ports("echo", {}) == ("result",)
    assert ports("echo", {}, "error_output") == ("result", "error")
    assert ports("condition", {"cases": cases}) == ("big", "default")
    assert set(ports("map", {})) == {"iteration", "completed", "result"}
