"""Problems are told so that the author knows what to write: the place, the value, the nearest name."""

from __future__ import annotations

from typing import Any

from unit.definition_house import call, joined, nodes, places, step, validate


def hint(source: Any) -> str:
    return validate(source).errors[0].hint


def test_hints_say_what_to_write() -> None:
    assert hint(nodes({"id": "a", "type": "Htp_Request"})) == "did you mean 'http_request'?"
    assert hint(nodes({"id": "a", "type": "qqqqqq"})).startswith("known: approval, code, condition")
    assert hint(nodes({"id": "fetch"}, {"id": "b"}, connections=["b -> fetsh"])) == "did you mean 'fetch'?"
    assert hint(call(metod="GET")) == "did you mean 'method'?"
    assert hint(joined({"from": "a", "port": "error", "to": "b"})) == "give the node on_error: error_output"
    assert "$json" in hint(step({"mapping": "{{ $jsn.a }}"}))


def test_messages_name_the_value_and_the_place() -> None:
    problem = validate(step({"mapping": "a {{ $jsn.b }}"})).errors[0]
    assert problem.message == "Expression: unknown name '$jsn' at column 6"
    assert problem.value == "a {{ $jsn.b }}"
    assert problem.node_id == "a"
    timeout = validate(call(timeout=0)).errors[0]
    assert timeout.message == "'timeout' of http_request: the value is less than or equal to the minimum of 0"
    neither = validate(nodes({"id": "a", "type": "transform"})).errors[0]
    assert neither.message == (
        "The parameters of transform: mapping: is missing or source: is missing or source_artifact: is missing or "
        "template: is missing"
    )


def test_a_circle_is_told_by_its_nodes() -> None:
    problem = validate(joined("a -> b", "b -> c", "c -> a")).errors[0]
    assert problem.message == "The nodes a -> b -> c -> a form a circle"
    assert "loop" in problem.hint


def test_values_are_shortened_and_plain() -> None:
    long = validate(nodes({"id": "x" * 500})).errors[0]
    assert isinstance(long.value, str)
    assert len(long.value) == 100
    assert validate(nodes({"id": "a", "timeout": 10**5000})).errors[0].value == "a very large number"
    assert validate(call(headers=[1, 2])).errors[0].value == "a list of 2"


def test_an_unknown_node_in_an_expression_is_a_warning() -> None:
    verdict = validate(step({"mapping": '{{ $node["fetch"].result }}'}))
    assert verdict.errors == ()
    assert [(found.code, found.path, found.value) for found in verdict.warnings] == [
        ("NODE_REFERENCE_UNKNOWN", "nodes[0].parameters.mapping", "fetch")
    ]


def test_expressions_are_checked_even_if_the_type_is_not_known() -> None:
    assert places(nodes({"id": "a", "type": "nope", "parameters": {"x": "{{ $jsn }}"}})) == [
        ("NODE_TYPE_UNKNOWN", "nodes[0].type"),
        ("EXPRESSION_ERROR", "nodes[0].parameters.x"),
    ]


def test_all_problems_come_at_once() -> None:
    source = nodes(
        {"id": "a", "type": "ecko"},
        {"id": "a", "timeout": -1},
        {"id": "c", "type": "http_request"},
        connections=["a -> c", "c -> a", "c -> d", {"from": "c", "to": "a", "when": "("}],
        settings={"max_parallel": 0},
    )
    assert {code for code, _ in places(source)} == {
        "NODE_TYPE_UNKNOWN", "ID_DUPLICATE", "OUT_OF_RANGE", "PARAMETER_INVALID", "CYCLE", "CONNECTION_DANGLING",
        "EXPRESSION_ERROR",
    }  # fmt: skip
