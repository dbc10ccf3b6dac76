"""Definitions of the app door in the house's own form, and everything that is refused on the way."""

from __future__ import annotations

from typing import Any

import pytest

from interlock.core.definition import read_definition
from interlock.core.workflow import GraphDefinition
from interlock.doors.http.app.definitions import Translated, translate
from interlock.doors.http.app.node_words import FAMILY, WORDS
from interlock.nodes import load

CATALOGUE = load().types


def node(node_type: str, subtype: str | None = None, **parameters: Any) -> Translated:
    """The translation of a graph of one node."""
    words = {"type": node_type, **({"subtype": subtype} if subtype is not None else {})}
    return translate({"nodes": [{"id": "n", **words, "configurations": parameters}]}, CATALOGUE)


def native(translated: Translated) -> tuple[str, Any]:
    assert translated.problems == []
    (found,) = translated.native["nodes"]
    return found["type"], found.get("parameters", {})


@pytest.mark.parametrize(
    ("words", "parameters", "expected"),
    [
        (("TRIGGER", "MANUAL"), {"note": 1}, ("trigger", {})),
        (("trigger_node", "trigger_manual"), {}, ("trigger", {})),
        (
            ("ACTION", "ACTION_SEND_HTTP_REQUEST"),
            {"endpoint": "https://x.example", "method": "post", "data": {"a": 1}},
            ("http_request", {"url": "https://x.example", "method": "POST", "body": {"a": 1}}),
        ),
        (("EXTERNAL_ACTION", "api_call"), {"url": "https://x.example"}, ("http_request", {"url": "https://x.example"})),
        (
            ("Action_Node", "Data_Transformation"),
            {"mapping": {"a": "{{ $json.b }}"}},
            ("transform", {"mapping": {"a": "{{ $json.b }}"}}),
        ),
        (("FLOW", "IF"), {"condition": "data.n > 1"}, ("condition", {"condition_expression": "data.n > 1"})),
        (
            ("FLOW_NODE", "FLOW_SWITCH"),
            {"cases": {"big": "data.n > 9", "small": "true"}},
            ("condition", {"cases": [{"port": "big", "when": "data.n > 9"}, {"port": "small", "when": "true"}]}),
        ),
        (
            ("FLOW", "SWITCH"),
            {"switch_expression": "data.way", "cases": ["rail", "road"]},
            (
                "condition",
                {
                    "cases": [
                        {"port": "rail", "when": '(data.way) == "rail"'},
                        {"port": "road", "when": '(data.way) == "road"'},
                    ]
                },
            ),
        ),
        (("FLOW", "DELAY"), {"duration_seconds": 5}, ("wait", {"seconds": 5})),
        (("FLOW", "WAIT"), {"wait_condition": "timer", "seconds": 5}, ("wait", {"seconds": 5})),
        (
            ("FLOW", "WAIT"),
            {"wait_condition": {"type": "event", "name": "paid"}},
            ("wait", {"signal": "paid", "timeout_seconds": 300}),
        ),
        (("FLOW", "LOOP"), {"loop_type": "for_range", "end_value": 3}, ("loop", {"times": 3})),
        (
            ("FLOW", "LOOP"),
            {"loop_type": "for_range", "start_value": 2, "end_value": 5},
            ("loop", {"items": [2, 3, 4]}),
        ),
        (
            ("FLOW", "LOOP"),
            {"loop_type": "while", "loop_condition": "$loop.index < 3"},
            ("loop", {"while": "$loop.index < 3", "max_iterations": 100}),
        ),
        (("FLOW", "FOR_EACH"), {"array_path": "orders"}, ("loop", {"items": "{{ $json.orders }}"})),
        (("FLOW", "FOR_EACH"), {"array_path": "data.orders"}, ("loop", {"items": "{{ data.orders }}"})),
        (("FLOW", "FOR_EACH"), {"array_path": "$.orders[0].lines"}, ("loop", {"items": "{{ $json.orders[0].lines }}"})),
        (
            ("HUMAN_IN_THE_LOOP", "HUMAN_APP"),
            {"title": "Pay?", "approval_options": ["now"], "timeout_action": "continue", "channel_config": {}},
            (
                "approval",
                {"interaction_type": "approval", "title": "Pay?", "options": ["now"], "on_timeout": "continue"},
            ),
        ),
        (
            ("HUMAN_IN_THE_LOOP_NODE", "FORM_SUBMISSION"),
            {"title": "t"},
            ("approval", {"interaction_type": "input", "title": "t"}),
        ),
        (("transform", None), {"mapping": 1}, ("transform", {"mapping": 1})),
    ],
)
def test_types_and_subtypes_resolve_to_what_means_the_same(words: Any, parameters: Any, expected: Any) -> None:
    assert native(node(*words, **parameters)) == expected


def test_every_word_of_the_table_names_a_shipped_node_type() -> None:
    assert {word.node_type for word in WORDS.values()} <= set(CATALOGUE)
    assert {family for family, _ in WORDS} <= set(FAMILY)


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("TRIGGER", "CRON"), "NODE_TYPE_UNAVAILABLE"),
        (("AI_AGENT", "OPENAI_CHATGPT"), "NODE_TYPE_UNAVAILABLE"),
        (("FLOW", "MERGE"), "NODE_TYPE_UNAVAILABLE"),
        (("FLOW", "NONSENSE"), "NODE_TYPE_UNKNOWN"),
        (("FLOW", None), "KEY_MISSING"),
    ],
)
def test_what_is_not_there_is_refused_by_name(words: Any, code: str) -> None:
    (problem,) = node(*words).problems
    assert (problem.code, problem.path, problem.node_id) == (code, "nodes[0].subtype", "n")
    assert words[0] in problem.message


@pytest.mark.parametrize(
    ("words", "parameters"),
    [
        (("FLOW", "WAIT"), {"wait_condition": "webhook"}),
        (("FLOW", "DELAY"), {}),
        (("FLOW", "LOOP"), {"loop_type": "sideways"}),
        (("FLOW", "LOOP"), {"loop_type": "for_range", "start_value": 5, "end_value": 2}),
        (("FLOW", "WHILE"), {}),
    ],
)
def test_parameters_without_a_meaning_here_are_refused(words: Any, parameters: Any) -> None:
    (problem,) = node(*words, **parameters).problems
    assert (problem.code, problem.path) == ("PARAMETER_INVALID", "nodes[0].parameters")


def test_the_rest_of_a_node_is_said_in_our_words() -> None:
    source = {
        "id": "n",
        "name": "call it",
        "type": "echo",
        "configurations": {"input": 1},
        "input_params": {"a": 1},
        "retry_policy": {"max_tries": 3, "wait_between_tries": 2},
        "timeout_seconds": 9,
        "on_error": "CONTINUE_REGULAR_OUTPUT",
        "position": {"x": 1, "y": 2},
        "notes": "mine",
        "disabled": True,
    }
    translated = translate({"nodes": [source]}, CATALOGUE)
    definition, problems = read_definition(translated.native)
    assert (translated.problems, problems) == ([], [])
    assert isinstance(definition, GraphDefinition)
    (found,) = definition.nodes
    assert (found.parameters, found.input, found.timeout, found.on_error, found.disabled) == (
        {"input": 1},
        {"a": 1},
        9,
        "continue",
        True,
    )
    assert (found.retry.max_attempts, found.retry.backoff, found.retry.factor, found.retry.jitter) == (3, 2, 1, False)
    assert translated.nodes == [source]


def test_two_names_of_the_same_thing_must_agree() -> None:
    translated = translate(
        {"nodes": [{"id": "n", "type": "echo", "parameters": {"a": 1}, "configurations": {"a": 2}}]}, CATALOGUE
    )
    assert [problem.code for problem in translated.problems] == ["KEY_CONFLICT"]


def test_ids_are_made_from_names_and_stay_unique() -> None:
    nodes = [
        {"name": "My node!", "type": "echo"},
        {"name": "My node!", "type": "echo"},
        {"type": "echo"},
        {"id": "My_node", "type": "echo"},
    ]
    translated = translate({"nodes": nodes}, CATALOGUE)
    ids = [found["id"] for found in translated.nodes]
    assert len(set(ids)) == 4
    assert ids[3] == "My_node"
    assert ids[2] == "node_3"
    assert [warning.code for warning in translated.warnings] == ["NAME_WITH_SPACES"] * 2


TWO = [{"id": "a", "name": "first", "type": "echo"}, {"id": "b", "name": "second", "type": "echo"}]
IF = [
    {"id": "c", "name": "choose", "type": "FLOW", "subtype": "IF", "parameters": {"condition_expression": "true"}},
    *TWO,
]


def flat(nodes: Any, connections: Any) -> Any:
    translated = translate({"nodes": nodes, "connections": connections}, CATALOGUE)
    assert translated.problems == []
    return [(item["from_node"], item["to_node"], item["output_key"]) for item in translated.connections_list]


@pytest.mark.parametrize(
    "connections",
    [
        [{"from_node": "a", "to_node": "b"}],
        [{"from_node": "first", "to_node": "second", "output_key": "main"}],
        [{"from": "a", "to": "b"}],
        [{"source": "a", "target": "b"}],
        ["a -> b"],
        {"first": {"main": [[{"node": "second", "type": "main", "index": 0}]]}},
        {"a": {"success": [{"node": "b", "port": "main"}]}},
        {"a": {"connection_types": {"main": {"connections": [{"node": "b", "type": "main", "index": 0}]}}}},
    ],
)
def test_the_same_connection_in_every_form(connections: Any) -> None:
    assert flat(TWO, connections) == [("a", "b", "result")]


@pytest.mark.parametrize(
    ("connections", "expected"),
    [
        ({"choose": {"main": [[{"node": "a"}], [{"node": "b"}]]}}, [("c", "a", "true"), ("c", "b", "false")]),
        ({"choose": {"main": [None, [{"node": "b"}]]}}, [("c", "b", "false")]),
        ({"c": {"true": [{"node": "a"}], "false": [{"node": "b"}]}}, [("c", "a", "true"), ("c", "b", "false")]),
        ({"a": {"error": [{"node": "b"}]}}, [("a", "b", "error")]),
    ],
)
def test_positions_and_names_of_ports(connections: Any, expected: Any) -> None:
    assert flat(IF, connections) == expected


@pytest.mark.parametrize(
    "connections",
    [
        [{"from_node": "a", "to_node": "nowhere"}],
        [{"from_node": "a"}],
        [7],
        "a -> b",
        {"nowhere": {"main": [[{"node": "a"}]]}},
        {"a": {"main": [[{"node": "b"}], [{"node": "b"}]]}},
        {"a": {"main": "b"}},
        {"a": []},
        {"a": {"main": [["b"]]}},
        {"a": {"connection_types": {}}, "b": {"main": []}},
    ],
)
def test_connections_that_cannot_be_read_are_problems(connections: Any) -> None:
    translated = translate({"nodes": TWO, "connections": connections}, CATALOGUE)
    assert {problem.code for problem in translated.problems} == {"CONNECTION_INVALID"}
    assert all(problem.path.startswith("connections") for problem in translated.problems)


def test_a_name_used_twice_is_no_key() -> None:
    twins = [{"id": "a", "name": "x", "type": "echo"}, {"id": "b", "name": "x", "type": "echo"}]
    translated = translate({"nodes": twins, "connections": {"x": {"main": []}}}, CATALOGUE)
    assert "are called 'x'" in translated.problems[0].message
    assert flat(twins, [{"from_node": "a", "to_node": "b"}]) == [("a", "b", "result")]


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (None, None),
        ("", None),
        ("def convert(input_data): return input_data", None),
        ("def convert(input_data: Dict[str, Any]) -> Dict[str, Any]: return input_data", None),
        ("$json.order", "{{ $json.order }}"),
        ("order {{ $json.id }}", "order {{ $json.id }}"),
    ],
)
def test_a_conversion_is_an_expression_or_nothing(code: str | None, expected: str | None) -> None:
    translated = translate(
        {"nodes": TWO, "connections": [{"from_node": "a", "to_node": "b", "conversion_function": code}]}, CATALOGUE
    )
    assert translated.problems == []
    assert translated.native["connections"][0].get("mapping") == expected


def test_code_in_a_connection_is_refused() -> None:
    code = "def convert(input_data):\n    import os\n    return os.environ"
    translated = translate(
        {"nodes": TWO, "connections": [{"from_node": "a", "to_node": "b", "conversion_function": code}]}, CATALOGUE
    )
    assert [problem.code for problem in translated.problems] == ["CODE_DISABLED"]


def test_settings_are_said_in_our_words() -> None:
    words = [{"id": "t", "type": "TRIGGER", "subtype": "MANUAL"}]
    assert translate({"nodes": words}, CATALOGUE).native["settings"] == {"max_parallel": 10}
    assert translate({"nodes": TWO}, CATALOGUE).native["settings"] == {}
    told = {
        "timeout": 9,
        "error_policy": "CONTINUE",
        "timezone": "UTC",
        "save_execution_progress": True,
        "budget": None,
    }
    translated = translate({"nodes": TWO, "settings": told}, CATALOGUE)
    assert (translated.native["settings"], translated.problems) == ({"timeout": 9, "on_failure": "continue"}, [])
    wrong = translate({"nodes": TWO, "settings": {"budget": 3, "x": 1}}, CATALOGUE)
    assert sorted(problem.code for problem in wrong.problems) == ["KEY_UNKNOWN", "SETTING_UNAVAILABLE"]


def told(translated: Translated) -> list[tuple[str, str, Any, str]]:
    assert {warning.code for warning in translated.warnings} <= {"KEY_UNKNOWN"}
    return [(warning.path, warning.node_id or "", warning.value, warning.hint) for warning in translated.warnings]


def test_a_key_that_means_nothing_is_told_with_its_place_its_value_and_the_nearest_known_one() -> None:
    first = {**TWO[0], "on_eror": "continue", "retry_policy": {"max_trys": 3}}
    nodes = [first, {**TWO[1], "timout_seconds": 5}]
    listed = [{"from_node": "a", "to_node": "b", "wen": "false"}]
    translated = translate({"nodes": nodes, "connections": listed}, CATALOGUE)
    assert translated.problems == []
    assert told(translated) == [
        ("nodes[0].on_eror", "a", "continue", "did you mean 'on_error'?"),
        ("nodes[0].retry_policy.max_trys", "a", 3, "did you mean 'max_tries'?"),
        ("nodes[1].timout_seconds", "b", 5, "did you mean 'timeout_seconds'?"),
        ("connections[0].wen", "", "false", "did you mean 'when'?"),
    ]
    mapped = {"a": {"main": [[{"node": "b", "zzz": 1}]]}}
    (warning,) = told(translate({"nodes": TWO, "connections": mapped}, CATALOGUE))
    assert warning[0].endswith(".main[0].zzz")
    assert warning[3].startswith("known: node, port, ")


def test_words_of_the_clients_own_are_no_warnings() -> None:
    node = {
        **TWO[0],
        "description": "d",
        "position": {"x": 1},
        "notes": "n",
        "output_params": {},
        "subtype": "",
        "attached_nodes": [],
        "input_params": {},
        "configurations": {},
        "timeout_seconds": 3,
        "retry_policy": {"max_tries": 1, "wait_between_tries": 1},
    }
    connection = {"id": "c1", "from_node": "a", "to_node": "b", "conversion_function": None, "input_key": "main"}
    settings = {"timezone": "UTC", "save_execution_progress": True}
    source = {"nodes": [node, TWO[1]], "connections": [connection], "settings": settings, "states": [], "timers": None}
    assert told(translate(source, CATALOGUE)) == []


def test_parts_of_the_other_kind_are_told() -> None:
    graph = translate({"nodes": TWO, "timeouts": {"a": 3}}, CATALOGUE)
    assert [warning[0] for warning in told(graph)] == ["timeouts"]
    flow = translate({"kind": "flow", "states": ["a", "b"], "settings": {"timeout": 3}, "nodes": []}, CATALOGUE)
    assert [warning[0] for warning in told(flow)] == ["settings"]


@pytest.mark.parametrize(
    "connections",
    [
        [{"from_node": "a", "to_node": "b", "condition": "$json.n > 1"}],
        [{"from_node": "a", "to_node": "b", "condition": "$json.n > 1", "when": "$json.n > 1"}],
        {"a": {"main": [[{"node": "b", "condition": "$json.n > 1"}]]}},
    ],
)
def test_a_condition_is_another_word_for_when(connections: Any) -> None:
    translated = translate({"nodes": TWO, "connections": connections}, CATALOGUE)
    assert (translated.problems, translated.warnings) == ([], [])
    assert translated.native["connections"][0]["when"] == "$json.n > 1"
    (shown,) = translated.connections_list
    assert (shown["when"], "condition" in shown) == ("$json.n > 1", False)


def test_a_condition_and_a_when_that_differ_are_refused() -> None:
    both = [{"from_node": "a", "to_node": "b", "condition": "true", "when": "false"}]
    (problem,) = translate({"nodes": TWO, "connections": both}, CATALOGUE).problems
    assert (problem.code, problem.path) == ("KEY_CONFLICT", "connections[0].condition")


def test_a_flow_is_taken_as_it_is() -> None:
    source = {
        "kind": "flow",
        "states": ["a", "b"],
        "transitions": [{"from": "a", "event": "GO", "to": "b"}],
        "nodes": None,
    }
    translated = translate(source, CATALOGUE)
    assert translated.native == {"kind": "flow", "states": source["states"], "transitions": source["transitions"]}
    assert read_definition(translated.native)[1] == []
