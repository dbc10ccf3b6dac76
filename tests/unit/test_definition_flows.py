"""Flows: everything that must not be stored is refused, in the words that clients of flows know."""

from __future__ import annotations

from typing import Any

import pytest

from interlock.core.definition import check_definition
from interlock.core.workflow import FlowDefinition, TransitionDefinition
from unit.definition_house import FLOW, TYPES, compile_definition, flow, places, validate

GO = {"from": "a", "event": "GO", "to": "b"}
FORK = {"from": "a", "event": "E", "to": ["b", "c"]}
JOIN = {"from": ["b", "c"], "to": "d", "fan_in": True}


def states(*names: str, **more: Any) -> dict[str, Any]:
    return {"states": list(names), **more}


BAD: list[tuple[str, Any, str, str]] = [
    ("one state", states("a"), "states", "Flow must have at least 2 states"),
    ("no states", states(), "states", "Flow must have at least 2 states"),
    ("a state twice", states("a", "b", "a"), "states[2]", "The state 'a' is there twice"),
    ("a state with a space", states("a", "b c"), "states[1]", "The state name 'b c' is not allowed"),
    ("a state that is too long", states("a", "x" * 65), "states[1]", f"The state name '{'x' * 65}' is not allowed"),
    ("an unknown start", states("a", "b", initial_state="x"), "initial_state", "Unknown initial state: 'x'"),
    ("an unknown end", states("a", "b", terminal_states=["x"]), "terminal_states[0]", "Unknown terminal state: 'x'"),
    (
        "an unknown rest",
        states("a", "b", user_input_states=["a", "x"]),
        "user_input_states[1]",
        "Unknown user input state: 'x'",
    ),
    (
        "an unknown target",
        states("a", "b", transitions=[{**GO, "to": "zz"}]),
        "transitions[0].to",
        "Transition to unknown state: 'zz'",
    ),
    (
        "an unknown source",
        states("a", "b", transitions=[{**GO, "from": "x"}]),
        "transitions[0].from",
        "Transition from unknown state: 'x'",
    ),
    (
        "one of several unknown",
        states("a", "b", transitions=[{**GO, "to": ["b", "zz"]}]),
        "transitions[0].to",
        "Transition to unknown state: 'zz'",
    ),
    ("no sources", states("a", "b", transitions=[{**GO, "from": []}]), "transitions[0].from", "'from' names no state"),
    (
        "a target twice",
        states("a", "b", transitions=[{**GO, "to": ["b", "b"]}]),
        "transitions[0].to",
        "'to' names a state twice",
    ),
    (
        "an event with a space",
        states("a", "b", transitions=[{**GO, "event": "g o"}]),
        "transitions[0].event",
        "The event 'G O' is not allowed",
    ),
    (
        "an empty event",
        states("a", "b", transitions=[{**GO, "event": ""}]),
        "transitions[0].event",
        "The event '' is not allowed",
    ),
    (
        "two ways on one event",
        states("a", "b", transitions=[GO, {**GO, "to": "a"}]),
        "transitions[1]",
        "Two transitions leave 'a' on 'GO'",
    ),
    (
        "the same in a list",
        states("a", "b", transitions=[GO, {**GO, "from": ["b", "a"]}]),
        "transitions[1]",
        "Two transitions leave 'a' on 'GO'",
    ),
    (
        "the same in lower case",
        states("a", "b", transitions=[GO, {**GO, "event": "go"}]),
        "transitions[1]",
        "Two transitions leave 'a' on 'GO'",
    ),
    (
        "a wrong guard",
        states("a", "b", transitions=[{**GO, "when": "data."}]),
        "transitions[0].when",
        "Expression: the expression ends where a name should be at column 6",
    ),
    (
        "an unknown node",
        states("a", "b", state_node_map={"a": "nope"}),
        "state_node_map.a",
        "Unknown node reference: 'nope'",
    ),
    (
        "an unknown builtin",
        states("a", "b", state_node_map={"a": "builtin://nope"}),
        "state_node_map.a",
        "Unknown node reference: 'builtin://nope'",
    ),
    (
        "an unknown webhook",
        states("a", "b", state_node_map={"a": "webhook://nope"}),
        "state_node_map.a",
        "Unknown node reference: 'webhook://nope'",
    ),
    (
        "an unknown scheme",
        states("a", "b", state_node_map={"a": "ftp://x"}),
        "state_node_map.a",
        "Unknown node reference: 'ftp://x'",
    ),
    (
        "a node for no state",
        states("a", "b", state_node_map={"x": "echo"}),
        "state_node_map.x",
        "Unknown state in state_node_map: 'x'",
    ),
    (
        "parameters for no state",
        states("a", "b", state_params={"x": {}}),
        "state_params.x",
        "Unknown state in state_params: 'x'",
    ),
    ("retries for no state", states("a", "b", retry={"x": {}}), "retry.x", "Unknown state in retry: 'x'"),
    ("a timeout for no state", states("a", "b", timeouts={"x": 1}), "timeouts.x", "Unknown state in timeouts: 'x'"),
    ("a map", states("a", "b", state_node_map={"a": "map"}), "state_node_map.a", "A map node needs a graph around it"),
    (
        "a loop",
        states("a", "b", state_node_map={"a": "builtin://loop"}),
        "state_node_map.a",
        "A loop node needs a graph around it",
    ),
    (
        "a wait for a signal",
        states("a", "b", state_node_map={"a": "wait"}, state_params={"a": {"signal": "GO"}}),
        "state_node_map.a",
        "In a flow a signal is an event: a state without a node waits for it",
    ),
    (
        "a timeout of 0",
        states("a", "b", timeouts={"a": 0}),
        "timeouts.a",
        "0.0 seconds is out of range, allowed is more than 0 and at most 2592000",
    ),
    (
        "waits below zero",
        states("a", "b", retry={"a": {"base_seconds": -1}}),
        "retry.a.base_seconds",
        "-1.0 is out of range, allowed are 0 to 86400",
    ),
    (
        "too many attempts",
        states("a", "b", retry={"a": {"max_attempts": 1000}}),
        "retry.a.max_attempts",
        "1000 is out of range, allowed are 1 to 100",
    ),
    (
        "a timer of two years",
        states("a", "b", timers={"a": {"after": 63e6, "event": "GO"}}, transitions=[GO]),
        "timers.a.after",
        "63000000.0 seconds is out of range, allowed is more than 0 and at most 31622400",
    ),
    (
        "a timer for nothing",
        states("a", "b", timers={"a": {"after": 1, "event": "LATE"}}, transitions=[GO]),
        "timers.a.event",
        "No transition leaves 'a' on the event 'LATE' of its timer",
    ),
    (
        "a timer of another state",
        states("a", "b", timers={"b": {"after": 1, "event": "GO"}}, transitions=[GO]),
        "timers.b.event",
        "No transition leaves 'b' on the event 'GO' of its timer",
    ),
    (
        "a fan-in of one",
        states("a", "b", transitions=[{"from": "a", "to": "b", "fan_in": True}], state_node_map={"a": "echo"}),
        "transitions[0].from",
        "A fan-in joins at least two states",
    ),
    (
        "a fan-in without fork",
        states(
            "a",
            "b",
            "c",
            "d",
            transitions=[GO, {**GO, "event": "X", "to": "c"}, JOIN],
            state_node_map={"b": "echo", "c": "echo"},
        ),
        "transitions[2].from",
        "No fork leads to all of b, c",
    ),
    (
        "a fan-in with a guard",
        states(
            "a", "b", "c", "d", transitions=[FORK, {**JOIN, "when": "true"}], state_node_map={"b": "echo", "c": "echo"}
        ),
        "transitions[1].when",
        "A fan-in cannot have a guard",
    ),
    (
        "a fan-in twice",
        states(
            "a",
            "b",
            "c",
            "d",
            transitions=[FORK, JOIN, {**JOIN, "from": ["c", "b"], "to": "a"}],
            state_node_map={"b": "echo", "c": "echo"},
        ),
        "transitions[2]",
        "Two transitions leave 'c, b' on 'ALL_DONE'",
    ),
    (
        "a wrong parameter",
        states("a", "b", state_node_map={"a": "http_request"}, state_params={"a": {"method": "FETCH"}}),
        "state_params.a.method",
        "'method' of http_request: the value is none of GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS",
    ),
    (
        "an unknown root",
        states("a", "b", state_node_map={"a": "echo"}, state_params={"a": {"input": "{{ $jsn }}"}}),
        "state_params.a.input",
        "Expression: unknown name '$jsn' at column 4",
    ),
    (
        "a wrong text",
        states("a", "b", state_node_map={"a": "echo"}, state_params={"a": {"input": ["{{ order. }}"]}}),
        "state_params.a.input[0]",
        "Expression: the expression ends where a name should be at column 11",
    ),
    (
        "a set",
        states("a", "b", state_node_map={"a": "echo"}, state_params={"a": {"input": {1}}}),
        "state_params.a.input",
        "The value is not plain JSON: set is not a JSON value",
    ),
]


@pytest.mark.parametrize(("source", "path", "message"), [case[1:] for case in BAD], ids=[case[0] for case in BAD])
def test_a_bad_flow_is_refused_with_place_and_message(source: Any, path: str, message: str) -> None:
    verdict = validate(source)
    assert verdict.definition is None
    assert [(problem.path, problem.message) for problem in verdict.errors] == [(path, message)]


def test_problems_of_a_flow_come_in_the_order_of_the_document() -> None:
    source = states(
        "a", transitions=[{**GO, "to": "zz"}, {**GO, "from": "x", "to": "a"}], state_node_map={"a": "y://z"}
    )
    assert [problem.message for problem in validate(source).errors] == [
        "Flow must have at least 2 states",
        "Transition to unknown state: 'zz'",
        "Transition from unknown state: 'x'",
        "Unknown node reference: 'y://z'",
    ]


def test_parameters_of_states_without_a_node_are_checked_too() -> None:
    source = states("a", "b", state_params={"a": {"x": "{{ $jsn }}", "y": [float("nan")]}})
    assert places(source) == [("NOT_JSON", "state_params.a.y[0]")]
    source["state_params"]["a"].pop("y")
    assert places(source) == [("EXPRESSION_ERROR", "state_params.a.x")]


def test_a_sub_workflow_must_be_named_in_the_flow() -> None:
    source = states("a", "b", state_node_map={"a": "subworkflow"})
    assert places(source) == [("SUBWORKFLOW_NOT_CONSTANT", "state_params.a.workflow")]


GOOD: list[tuple[str, Any]] = [
    ("the whole example", FLOW),
    ("no transitions", states("a", "b")),
    ("a transition to itself", states("a", "b", transitions=[{**GO, "to": "a"}])),
    ("guards on one event", states("a", "b", transitions=[{**GO, "when": "data.n > 1"}, {**GO, "to": "a"}])),
    ("the first of two guards", states("a", "b", transitions=[{**GO, "when": "data.n"}, {**GO, "when": "data.m"}])),
    (
        "a fan-in behind longer branches",
        states(
            *"abcdef",
            transitions=[
                FORK,
                {"from": "b", "event": "STEP_DONE", "to": "d"},
                {"from": "c", "event": "STEP_DONE", "to": "e"},
                {"from": ["d", "e"], "to": "f", "fan_in": True},
            ],
            state_node_map=dict.fromkeys("bcde", "echo"),
        ),
    ),
    (
        "a fork in a fork",
        states(
            *"abcdefg",
            transitions=[
                FORK,
                {"from": "b", "event": "STEP_DONE", "to": ["d", "e"]},
                {"from": ["d", "e"], "to": "f", "fan_in": True},
                {"from": ["f", "c"], "to": "g", "fan_in": True},
            ],
            state_node_map=dict.fromkeys("bcdef", "echo"),
        ),
    ),
    (
        "parameters that the start completes",
        states("a", "b", state_node_map={"a": "http_request"}, state_params={"a": {}}),
    ),
    (
        "one of two that the start completes",
        states("a", "b", state_node_map={"a": "transform"}, state_params={"a": {}}),
    ),
]


@pytest.mark.parametrize("source", [case[1] for case in GOOD], ids=[case[0] for case in GOOD])
def test_a_good_flow_has_no_problems_and_compiles(source: Any) -> None:
    verdict = validate(source)
    assert (verdict.errors, verdict.warnings) == ((), ())
    assert verdict.definition is not None
    compile_definition(verdict.definition)


def test_state_parameters_may_name_keys_of_the_blackboard() -> None:
    parameters = {"a": {"input": {"x": "{{ order.total }}", "y": ["for {{ _params.who }} on {{ date.iso }}"]}}}
    assert places(states("a", "b", state_node_map={"a": "echo"}, state_params=parameters)) == []


def test_guards_read_the_blackboard_as_variables_only() -> None:
    problem = validate(states("a", "b", transitions=[{**GO, "when": "order.total > 3"}])).errors[0]
    assert (problem.code, problem.path) == ("EXPRESSION_ERROR", "transitions[0].when")


def test_a_source_of_a_fan_in_needs_no_node() -> None:
    verdict = validate(states("a", "b", "c", "d", transitions=[FORK, JOIN], state_node_map={"b": "echo"}))
    assert (verdict.errors, verdict.warnings) == ((), ())


def test_a_parameter_that_nobody_knows_is_a_warning() -> None:
    parameters = {"a": {"input": 1, "greeting": "hi"}}
    verdict = validate(states("a", "b", state_node_map={"a": "echo"}, state_params=parameters))
    assert verdict.errors == ()
    assert [(found.code, found.path) for found in verdict.warnings] == [
        ("PARAMETER_UNKNOWN", "state_params.a.greeting")
    ]


def test_hints_name_the_nearest_state() -> None:
    problem = validate(flow(initial_state="chek")).errors[0]
    assert problem.hint == "did you mean 'check'?"


def test_a_flow_made_by_a_door_is_checked_in_the_same_way() -> None:
    definition = FlowDefinition(
        states=("a", "b"),
        initial_state="a",
        nodes={"a": "nope"},
        transitions=(TransitionDefinition(source=("a",), event="go", target=("x",)),),
    )
    problems = check_definition(definition, TYPES, check_parameters=lambda node_type, parameters: [])
    assert [(found.code, found.path) for found in problems] == [
        ("STATE_UNKNOWN", "transitions[0].to"),
        ("ID_INVALID", "transitions[0].event"),
        ("NODE_TYPE_UNKNOWN", "state_node_map.a"),
    ]
