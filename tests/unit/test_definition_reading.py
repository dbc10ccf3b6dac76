"""Definitions are read in their native form: every key, every spelling, and every mistake with its place."""

from __future__ import annotations

from typing import Any

import pytest

from interlock.core.definition import Heading, read_definition, read_heading
from interlock.core.workflow import (
    ConnectionDefinition,
    FlowDefinition,
    GraphDefinition,
    GraphSettings,
    NodeDefinition,
    RetryPolicy,
    StateTimer,
    TransitionDefinition,
)
from unit.definition_house import GRAPH, flow, graph, nodes, places, validate


def read(source: Any) -> Any:
    definition, problems = read_definition(source)
    assert problems == []
    return definition


def test_every_key_of_a_graph_is_read() -> None:
    retry = {"max_attempts": 3, "backoff": 2, "factor": 3, "max_backoff": 9, "jitter": False, "retry_on": ["X"]}
    node = {
        "id": "a",
        "type": "echo",
        "name": "A",
        "parameters": {"input": [1, 2.5, None]},
        "input": {"n": 1},
        "retry": retry,
        "timeout": 5,
        "deadline": 7.5,
        "on_error": "error_output",
        "join": "any",
        "disabled": True,
    }
    connection = {"from": "a", "to": "b", "port": "error", "into": "x", "when": "true", "mapping": {"k": 1}}
    settings = {"max_parallel": 7, "timeout": 60, "on_failure": "continue", "output": "{{ $json }}"}
    source = {"nodes": [node, {"id": "b", "type": "echo"}], "connections": [connection], "settings": settings}
    assert read(source) == GraphDefinition(
        nodes=(
            NodeDefinition(
                id="a",
                type="echo",
                name="A",
                parameters={"input": [1, 2.5, None]},
                input={"n": 1},
                retry=RetryPolicy(
                    max_attempts=3, backoff=2.0, factor=3.0, max_backoff=9.0, jitter=False, retry_on=("X",)
                ),
                timeout=5.0,
                deadline=7.5,
                on_error="error_output",
                join="any",
                disabled=True,
            ),
            NodeDefinition(id="b", type="echo"),
        ),
        connections=(
            ConnectionDefinition(source="a", target="b", port="error", into="x", when="true", mapping={"k": 1}),
        ),
        settings=GraphSettings(max_parallel=7, timeout=60.0, on_failure="continue", output="{{ $json }}"),
    )


def test_every_key_of_a_flow_is_read() -> None:
    source = {
        "states": ["a", "b", "c"],
        "initial_state": "b",
        "state_node_map": {"a": "builtin://echo", "b": "echo", "c": "webhook://mine"},
        "state_params": {"a": {"input": 1}},
        "user_input_states": ["a"],
        "terminal_states": ["c"],
        "retry": {"a": {"max_attempts": 2, "base_seconds": 4, "max_seconds": 8}, "b": {"factor": 3}},
        "timeouts": {"a": 30},
        "timers": {"a": {"after": 5, "event": "late"}},
        "transitions": [
            {"from": "a", "event": "go", "to": "b", "when": "data.n"},
            {"from": ["a", "b"], "event": "LATE", "to": ["c"]},
            {"from": ["a", "b"], "to": "c", "fan_in": True},
        ],
    }
    assert read(source) == FlowDefinition(
        states=("a", "b", "c"),
        initial_state="b",
        nodes={"a": "echo", "b": "echo", "c": "mine"},
        parameters={"a": {"input": 1}},
        user_input_states=("a",),
        terminal_states=("c",),
        retry={
            "a": RetryPolicy(max_attempts=2, backoff=4.0, max_backoff=8.0),
            "b": RetryPolicy(max_attempts=3, factor=3),
        },
        timeouts={"a": 30.0},
        timers={"a": StateTimer(after=5.0, event="LATE")},
        transitions=(
            TransitionDefinition(source=("a",), event="GO", target=("b",), when="data.n"),
            TransitionDefinition(source=("a", "b"), event="LATE", target=("c",)),
            TransitionDefinition(source=("a", "b"), event="ALL_DONE", target=("c",), fan_in=True),
        ),
    )


@pytest.mark.parametrize(
    "connection",
    [
        "a -> b",
        "a->b",
        {"from": "a", "to": "b"},
        {"from_node": "a", "to_node": "b", "output_key": "result", "input_key": "main"},
        {"from": "a", "from_node": "a", "to": "b", "when": "", "mapping": None},
    ],
)
def test_connections_have_several_spellings(connection: Any) -> None:
    found = read(nodes({"id": "a"}, {"id": "b"}, connections=[connection])).connections
    assert found == (ConnectionDefinition(source="a", target="b"),)


def test_a_key_with_null_counts_as_absent() -> None:
    with_nulls = {"nodes": [{"id": "a", "type": "echo", "retry": None, "timeout": None}], "connections": None}
    assert read(with_nulls) == read({"nodes": [{"id": "a", "type": "echo"}]})


def test_the_first_state_is_the_initial_one() -> None:
    assert read({"states": ["x", "y"]}).initial_state == "x"


def test_the_heading_is_read_beside_the_definition() -> None:
    source = {"name": "n", "description": "d", "tags": ["a", "b"], "states": ["a", "b"]}
    assert read_heading(source) == Heading(name="n", description="d", tags=("a", "b"))
    assert validate(source).heading == read_heading(source)
    assert read_heading({"name": 5, "tags": "x"}) == Heading()
    assert read_heading("nonsense") == Heading()


def test_the_kind_is_guessed_only_where_it_is_plain() -> None:
    assert isinstance(read({"nodes": []}), GraphDefinition)
    assert isinstance(read({"states": []}), FlowDefinition)
    assert places({"states": ["a", "b"], "nodes": []}) == [("KIND_UNKNOWN", "kind")]
    assert isinstance(read({"kind": "flow", "states": ["a", "b"]}), FlowDefinition)


def test_a_door_may_expect_one_kind() -> None:
    assert places({"name": "x"}, kind="flow") == [("FLOW_TOO_SMALL", "states")]
    assert places(GRAPH, kind="flow") == [("KIND_UNKNOWN", "kind")]


ONE = {"id": "a", "type": "echo"}
UNREADABLE: list[tuple[str, Any, str, str]] = [
    ("no object", [1], "TYPE_WRONG", ""),
    ("no kind", {"name": "x"}, "KIND_UNKNOWN", "kind"),
    ("a kind that is not there yet", {"kind": "agent", "nodes": [ONE]}, "KIND_UNKNOWN", "kind"),
    ("a kind that is no text", {"kind": ["graph"], "nodes": [ONE]}, "KIND_UNKNOWN", "kind"),
    ("a number as name", graph(name=5), "TYPE_WRONG", "name"),
    ("a name that is too long", graph(name="x" * 201), "TOO_LARGE", "name"),
    ("a description that is too long", graph(description="x" * 10_001), "TOO_LARGE", "description"),
    ("tags as one text", graph(tags="a"), "TYPE_WRONG", "tags"),
    ("a tag that is no text", graph(tags=["a", 1]), "TYPE_WRONG", "tags[1]"),
    ("a tag that is too long", graph(tags=["x" * 65]), "TOO_LARGE", "tags[0]"),
    ("too many tags", graph(tags=["x"] * 51), "TOO_LARGE", "tags"),
    ("an unknown key of a graph", graph(conections=[]), "KEY_UNKNOWN", "conections"),
    ("a key that is no text", {**graph(), 5: 1}, "KEY_UNKNOWN", "int"),
    ("nodes as an object", {"nodes": {"a": ONE}}, "TYPE_WRONG", "nodes"),
    ("a node that is no object", {"nodes": [ONE, "b"]}, "TYPE_WRONG", "nodes[1]"),
    ("a node without id", {"nodes": [{"type": "echo"}]}, "KEY_MISSING", "nodes[0].id"),
    ("a node without type", {"nodes": [{"id": "a"}]}, "KEY_MISSING", "nodes[0].type"),
    ("a number as id", nodes({"id": 5}), "TYPE_WRONG", "nodes[0].id"),
    ("an unknown key of a node", nodes({"id": "a", "parmeters": {}}), "KEY_UNKNOWN", "nodes[0].parmeters"),
    ("a strange key", nodes({"id": "a", "a key": 1}), "KEY_UNKNOWN", 'nodes[0]["a key"]'),
    ("parameters as a list", nodes({"id": "a", "parameters": [1]}), "TYPE_WRONG", "nodes[0].parameters"),
    ("keys that are no texts", nodes({"id": "a", "parameters": {1: 2}}), "TYPE_WRONG", "nodes[0].parameters"),
    ("a text as timeout", nodes({"id": "a", "timeout": "5m"}), "TYPE_WRONG", "nodes[0].timeout"),
    ("no number as timeout", nodes({"id": "a", "timeout": float("nan")}), "TYPE_WRONG", "nodes[0].timeout"),
    ("true as timeout", nodes({"id": "a", "timeout": True}), "TYPE_WRONG", "nodes[0].timeout"),
    ("a huge timeout", nodes({"id": "a", "timeout": 10**400}), "TYPE_WRONG", "nodes[0].timeout"),
    ("an unknown on_error", nodes({"id": "a", "on_error": "retry"}), "VALUE_NOT_ALLOWED", "nodes[0].on_error"),
    ("an unknown join", nodes({"id": "a", "join": ["all"]}), "VALUE_NOT_ALLOWED", "nodes[0].join"),
    ("a word as disabled", nodes({"id": "a", "disabled": "no"}), "TYPE_WRONG", "nodes[0].disabled"),
    ("a number as retry", nodes({"id": "a", "retry": 3}), "TYPE_WRONG", "nodes[0].retry"),
    (
        "half an attempt",
        nodes({"id": "a", "retry": {"max_attempts": 1.5}}),
        "TYPE_WRONG",
        "nodes[0].retry.max_attempts",
    ),
    ("an unknown key of retry", nodes({"id": "a", "retry": {"tries": 1}}), "KEY_UNKNOWN", "nodes[0].retry.tries"),
    ("codes as one text", nodes({"id": "a", "retry": {"retry_on": "X"}}), "TYPE_WRONG", "nodes[0].retry.retry_on"),
    ("connections as an object", {**nodes(ONE), "connections": {"a": "b"}}, "TYPE_WRONG", "connections"),
    ("a number as connection", nodes(ONE, connections=[5]), "TYPE_WRONG", "connections[0]"),
    ("an arrow with three ends", nodes(ONE, connections=["a -> b -> c"]), "TYPE_WRONG", "connections[0]"),
    ("an arrow without head", nodes(ONE, connections=["a b"]), "TYPE_WRONG", "connections[0]"),
    ("a connection from nowhere", nodes(ONE, connections=[{"to": "a"}]), "KEY_MISSING", "connections[0].from"),
    ("a connection to nowhere", nodes(ONE, connections=[{"from": "a"}]), "KEY_MISSING", "connections[0].to"),
    (
        "two spellings that differ",
        nodes(ONE, {"id": "b"}, connections=[{"from": "a", "from_node": "b", "to": "b"}]),
        "KEY_CONFLICT",
        "connections[0].from_node",
    ),
    (
        "a condition that is no text",
        nodes(ONE, {"id": "b"}, connections=[{"from": "a", "to": "b", "when": True}]),
        "TYPE_WRONG",
        "connections[0].when",
    ),
    (
        "an unknown key of a connection",
        nodes(ONE, {"id": "b"}, connections=[{"from": "a", "to": "b", "condition": "x"}]),
        "KEY_UNKNOWN",
        "connections[0].condition",
    ),
    ("an unknown key of the settings", graph(settings={"parallel": 1}), "KEY_UNKNOWN", "settings.parallel"),
    ("settings as a list", graph(settings=[]), "TYPE_WRONG", "settings"),
    ("an unknown on_failure", graph(settings={"on_failure": "go"}), "VALUE_NOT_ALLOWED", "settings.on_failure"),
    ("a number as state", flow(states=["check", 5]), "TYPE_WRONG", "states[1]"),
    ("states as an object", flow(states={"check": 1}), "TYPE_WRONG", "states"),
    ("a transition that is no object", flow(transitions=["a"]), "TYPE_WRONG", "transitions[0]"),
    (
        "a transition without event",
        flow(transitions=[{"from": "check", "to": "end"}]),
        "KEY_MISSING",
        "transitions[0].event",
    ),
    (
        "a transition without target",
        flow(transitions=[{"from": "check", "event": "E"}]),
        "KEY_MISSING",
        "transitions[0].to",
    ),
    (
        "a number among sources",
        flow(transitions=[{"from": [1], "event": "E", "to": "end"}]),
        "TYPE_WRONG",
        "transitions[0].from",
    ),
    ("a list as node", flow(state_node_map={"check": ["echo"]}), "TYPE_WRONG", "state_node_map.check"),
    ("a text as parameters", flow(state_params={"check": "x"}), "TYPE_WRONG", "state_params.check"),
    ("a text as timer", flow(timers={"rest": {"after": "1h", "event": "LATE"}}), "TYPE_WRONG", "timers.rest.after"),
    ("a timer without time", flow(timers={"rest": {"event": "LATE"}}), "KEY_MISSING", "timers.rest.after"),
    ("a timer without event", flow(timers={"rest": {"after": 1}}), "KEY_MISSING", "timers.rest.event"),
    ("a text as timeout of a state", flow(timeouts={"check": "1"}), "TYPE_WRONG", "timeouts.check"),
]


@pytest.mark.parametrize(
    ("source", "code", "path"), [case[1:] for case in UNREADABLE], ids=[case[0] for case in UNREADABLE]
)
def test_what_cannot_be_read_is_said_with_its_place(source: Any, code: str, path: str) -> None:
    definition, problems = read_definition(source)
    assert definition is None
    assert [(problem.code, problem.path) for problem in problems] == [(code, path)]
    assert all(problem.message for problem in problems)


def test_unknown_keys_of_a_flow_are_warnings() -> None:
    source = flow(version=3, transitions=[{"from": "check", "event": "E", "to": "end", "label": "x"}])
    source["retry"]["check"]["note"] = 1
    del source["timers"]
    verdict = validate(source)
    assert verdict.errors == ()
    assert verdict.definition is not None
    assert [(problem.code, problem.path) for problem in verdict.warnings] == [
        ("KEY_IGNORED", "retry.check.note"),
        ("KEY_IGNORED", "transitions[0].label"),
        ("KEY_IGNORED", "version"),
    ]


def test_the_nearest_key_is_suggested() -> None:
    problem = validate(nodes({"id": "a", "parmeters": {}})).errors[0]
    assert problem.hint == "did you mean 'parameters'?"
    assert problem.node_id == "a"


def test_reading_and_checking_problems_come_together_and_without_echo() -> None:
    source = nodes({"id": "a", "timeout": "x"}, {"id": "a"}, {"type": "ech"}, connections=["a -> zz", 5])
    assert places({**source, "nodes": [*source["nodes"], "nonsense"]}) == [
        ("TYPE_WRONG", "nodes[0].timeout"),
        ("KEY_MISSING", "nodes[2].id"),
        ("TYPE_WRONG", "nodes[3]"),
        ("TYPE_WRONG", "connections[1]"),
        ("ID_DUPLICATE", "nodes[1].id"),
        ("NODE_TYPE_UNKNOWN", "nodes[2].type"),
        ("CONNECTION_DANGLING", "connections[0].to"),
    ]
