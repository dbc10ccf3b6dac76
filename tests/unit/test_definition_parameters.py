"""Parameters against schemas: placeholders may become anything, and everything else is checked when it is stored."""

from __future__ import annotations

from typing import Any

import pytest

from interlock.backends.schema.jsonschema_rs import JsonSchemas
from interlock.core.definition import check_definition
from interlock.core.errors import ErrorKind, InterlockError
from interlock.core.node_type import NodeType
from interlock.core.workflow import GraphDefinition, NodeDefinition
from unit.definition_house import SCHEMAS

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "count": {"type": "integer", "minimum": 1, "description": "How many."},
        "word": {"enum": ["yes", "no"]},
        "size": {"anyOf": [{"type": "integer", "minimum": 1}, {"type": "string", "pattern": r"\{\{"}]},
        "tags": {"type": "array", "items": {"type": "string", "maxLength": 3}, "contains": {"const": "a"}},
        "place": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
        "link": {"type": "string", "format": "uri"},
        "data": {},
    },
    "required": ["data"],
    "additionalProperties": False,
    "not": {"required": ["count", "size"]},
}
TYPE = NodeType(name="probe", title="Probe", description="", schema=SCHEMA, data_parameter="data")


def problems(**parameters: Any) -> list[tuple[str, str]]:
    """Paths (within the parameters) and messages for a node of TYPE."""
    definition = GraphDefinition(nodes=(NodeDefinition(id="a", type="probe", parameters=parameters),))
    types = {"probe": TYPE}
    found = check_definition(definition, types, check_parameters=JsonSchemas(types).check_parameters)
    prefix = "nodes[0].parameters"
    return [(problem.path.removeprefix(prefix), problem.message) for problem in found]


@pytest.mark.parametrize(
    "parameters",
    [
        {},
        {"count": "{{ $json.n }}", "word": "{{ $json.w }}", "tags": "{{ $json.t }}", "place": "{{ $json.p }}"},
        {"tags": ["{{ $json.a }}", "b"]},
        {"place": {"city": "{{ $json.c }}"}},
        {"link": "https://{{ $json.host }}/x"},
        {"word": "y{{ $json.rest }}"},
        {"size": "{{ $json.a }}{{ $json.b }}"},
    ],
)
def test_a_placeholder_fits_wherever_its_value_may(parameters: dict[str, Any]) -> None:
    assert problems(**parameters) == []


@pytest.mark.parametrize(
    ("parameters", "path", "message"),
    [
        ({"count": 0}, ".count", "'count' of probe: the value is less than the minimum of 1"),
        ({"count": "n {{ $json.n }}"}, ".count", "'count' of probe: the value is not of type \"integer\""),
        ({"word": "maybe"}, ".word", "'word' of probe: the value is none of yes, no"),
        ({"size": 0}, ".size", "'size' of probe: the value is less than the minimum of 1"),
        ({"size": "big"}, ".size", "'size' of probe: the value is not of type \"integer\""),
        (
            {"tags": ["a", "{{ $json.b }}", "long"]},
            ".tags[2]",
            "'tags' of probe: the value is longer than 3 characters",
        ),
        ({"place": {"ctiy": "{{ $json.c }}"}}, ".place.city", "'place' of probe: is missing"),
        ({"link": "no link"}, ".link", "'link' of probe: the value is not a \"uri\""),
        ({"nope": "{{ $json }}"}, ".nope", "'nope' of probe: is not known"),
        (
            {"count": 1, "size": 2},
            "",
            'The parameters of probe: {"required":["count","size"]} is not allowed for the value',
        ),
    ],
)
def test_what_no_placeholder_can_mend_is_refused(parameters: dict[str, Any], path: str, message: str) -> None:
    assert problems(**parameters) == [(path, message)]


def test_hints_come_from_the_schema() -> None:
    definition = GraphDefinition(nodes=(NodeDefinition(id="a", type="probe", parameters={"count": 0, "wrod": "yes"}),))
    types = {"probe": TYPE}
    found = check_definition(definition, types, check_parameters=JsonSchemas(types).check_parameters)
    assert sorted(problem.hint for problem in found) == ["How many.", "did you mean 'word'?"]


def test_values_are_not_repeated_in_messages() -> None:
    secret = "hunter2-hunter2"
    for parameters in ({"count": secret}, {"word": secret}, {"link": secret}, {"tags": [secret]}, {"place": [secret]}):
        assert all(secret not in message for _, message in problems(**parameters))


def test_check_value_says_everything_in_words() -> None:
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["m"]}
    assert sorted(SCHEMAS.check_value(schema, {"n": "x"})) == [
        "m: is missing",
        'n: the value is not of type "integer"',
    ]
    assert SCHEMAS.check_value(schema, {"n": 1, "m": 2}) == []


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "strin"},
        {"$ref": "http://127.0.0.1:9/schema.json"},
        {"$ref": "file:///etc/passwd"},
        {"$schema": "https://example.org/own"},
        {"pattern": "("},
        {"description": "x" * 70_000},
        {"const": object()},
    ],
)
def test_a_bad_schema_is_refused_and_nothing_outside_is_read(schema: dict[str, Any]) -> None:
    with pytest.raises(InterlockError) as caught:
        SCHEMAS.check_schema(schema)
    assert (caught.value.kind, caught.value.code) == (ErrorKind.RULE, "SCHEMA_INVALID")
    assert SCHEMAS.check_value(schema, 1) == [caught.value.message]


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"$ref": "#"}, {"a": 1}),
        ({"allOf": [{"$ref": "#"}, {"$ref": "#"}]}, 1),
        ({"properties": {"a": {"$ref": "#"}}}, {"a": {"a": {"a": 1}}}),
        ({"type": "string", "pattern": r"^(a+)+\1$"}, "a" * 40 + "!"),
        ({"type": "integer"}, 10**4000),
        ({"type": "array", "items": {"type": "array"}}, [[[]]]),
    ],
)
def test_hostile_schemas_and_values_end(schema: dict[str, Any], value: Any) -> None:
    assert isinstance(SCHEMAS.check_value(schema, value), list)


def test_values_that_are_no_json_are_a_mismatch() -> None:
    deep: Any = 1
    for _ in range(5000):
        deep = [deep]
    for value in ({1, 2}, object(), deep):
        (reason,) = SCHEMAS.check_value({"type": "object"}, value)
        assert reason


def test_a_live_catalogue_is_followed() -> None:
    types: dict[str, NodeType] = {}
    schemas = JsonSchemas(types)
    assert schemas.check_parameters("probe", {"nope": 1}) == []
    types["probe"] = TYPE
    assert schemas.check_parameters("probe", {"data": 1, "nope": 1}) != []
