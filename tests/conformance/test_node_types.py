"""What every node type promises, the shipped ones and those to come: closed, described and open to expressions."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from typing import Any

import pytest

from interlock.backends.schema.jsonschema_rs import JsonSchemas
from interlock.core.engine.expressions import compile_template, parse
from interlock.core.engine.kernels import KERNELS
from interlock.core.node_type import NodeType
from interlock.nodes import load
from interlock.nodes.testing import run_node
from interlock.ports.node import Done

REGISTRY = load()
TYPES = list(REGISTRY.types.values())
SCHEMAS = JsonSchemas(REGISTRY.types)
TEMPLATE = "{{ $json.x }}"

each_type = pytest.mark.parametrize("node_type", TYPES, ids=lambda each: each.name)


PROPERTIES = [
    pytest.param(node_type, name, schema, id=f"{node_type.name}.{name}")
    for node_type in TYPES
    for name, schema in node_type.schema["properties"].items()
]
CONSTANTS = {("subworkflow", "workflow"), ("webhook", "_webhook")}
"""Parameters that must be known before anything runs, beside bare expressions."""

SENDS_ALL = {"webhook"}
"""Types that send on whatever else they are given."""

EXAMPLES = [
    pytest.param(node_type, example, id=f"{node_type.name}-{number}")
    for node_type in TYPES
    for number, example in enumerate(node_type.examples)
]


def _is_open(node_type: NodeType, name: str, schema: dict[str, Any]) -> bool:
    return name not in node_type.expressions and (node_type.name, name) not in CONSTANTS


def _is_restricted(node_type: NodeType, name: str, schema: dict[str, Any]) -> bool:
    return "type" in schema or "anyOf" in schema


def _is_told(node_type: NodeType, example: dict[str, Any]) -> bool:
    """Whether the output of an example depends on nothing else."""
    return node_type.runs == "task" and "output" in example and "{{" not in json.dumps(example["parameters"])


each_open_property = pytest.mark.parametrize(
    ("node_type", "name", "schema"), [each for each in PROPERTIES if _is_open(*each.values)]
)
each_restricted_property = pytest.mark.parametrize(
    ("node_type", "name", "schema"), [each for each in PROPERTIES if _is_restricted(*each.values)]
)
each_example = pytest.mark.parametrize(("node_type", "example"), EXAMPLES)
each_told_example = pytest.mark.parametrize(
    ("node_type", "example"), [each for each in EXAMPLES if _is_told(*each.values)]
)


def _schemas_within(schema: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The schemas of objects in a schema, itself included."""
    if schema.get("type") == "object" and "properties" in schema:
        yield schema
    items = [schema["items"]] if "items" in schema else []
    for below in (*schema.get("anyOf", ()), *items, *schema.get("properties", {}).values()):
        yield from _schemas_within(below)


def test_all_types_of_the_first_release_are_there() -> None:
    tasks = {"echo", "transform", "http_request", "write_artifact", "python"}
    assert {each.name for each in TYPES if each.runs == "task"} >= tasks
    assert {each.name for each in TYPES if each.runs == "kernel"} == KERNELS.keys()
    assert REGISTRY.shipped == REGISTRY.types.keys()


@each_type
def test_a_type_says_what_it_is(node_type: NodeType) -> None:
    assert node_type.title
    assert node_type.description.endswith(".")
    assert node_type.ports
    assert node_type.examples
    assert node_type.default_timeout > 0
    assert node_type.expressions <= node_type.schema["properties"].keys()
    assert node_type.data_parameter is None or node_type.data_parameter in node_type.schema["properties"]


@each_type
def test_a_schema_is_valid_closed_and_described(node_type: NodeType) -> None:
    SCHEMAS.check_schema(node_type.schema)
    for schema in _schemas_within(node_type.schema):
        is_free = schema is node_type.schema and node_type.name in SENDS_ALL
        assert is_free or schema["additionalProperties"] is False
        assert all(described["description"].strip() for described in schema["properties"].values())
        assert set(schema.get("required", ())) <= schema["properties"].keys()


@each_type
def test_an_unknown_parameter_is_refused(node_type: NodeType) -> None:
    parameters = {**node_type.examples[0]["parameters"], "no_such_parameter": 1}
    found = SCHEMAS.check_parameters(node_type.name, parameters)
    wrong = [] if node_type.name in SENDS_ALL else [("no_such_parameter",)]
    assert [each.path for each in found] == wrong


@each_type
def test_required_parameters_are_missed(node_type: NodeType) -> None:
    for name in node_type.schema.get("required", ()):
        parameters = {key: value for key, value in node_type.examples[0]["parameters"].items() if key != name}
        assert SCHEMAS.check_parameters(node_type.name, parameters)


@each_example
def test_an_example_is_valid_and_its_expressions_parse(node_type: NodeType, example: dict[str, Any]) -> None:
    parameters = example["parameters"]
    assert SCHEMAS.check_parameters(node_type.name, parameters) == []
    compile_template({key: value for key, value in parameters.items() if key not in node_type.expressions})
    for name in node_type.expressions & parameters.keys():
        value = parameters[name]
        for source in [value] if isinstance(value, str) else [case["when"] for case in value]:
            parse(source)


@each_told_example
def test_an_example_of_a_task_gives_the_output_it_shows(node_type: NodeType, example: dict[str, Any]) -> None:
    outcome = run_node(REGISTRY.node(node_type.name), copy.deepcopy(example["parameters"]))
    assert isinstance(outcome, Done)
    assert outcome.output == example["output"]


@each_open_property
def test_an_expression_may_stand_for_every_value_known_at_run_time(
    node_type: NodeType, name: str, schema: dict[str, Any]
) -> None:
    assert _complaints(node_type, name, TEMPLATE) == []


@each_restricted_property
def test_a_value_of_a_kind_it_cannot_have_is_refused(node_type: NodeType, name: str, schema: dict[str, Any]) -> None:
    plain = schema["anyOf"][0] if "anyOf" in schema else schema
    taken = {plain["type"], "number" if plain["type"] == "integer" else ""}
    values = {"string": "no template", "number": 0.5, "array": [], "object": {}, "boolean": True, "null": None}
    for kind, value in values.items():
        assert bool(_complaints(node_type, name, value)) or kind in taken, value


def _complaints(node_type: NodeType, name: str, value: Any) -> list[Any]:
    """What is wrong with the value of one parameter; others that are missing do not matter."""
    found = SCHEMAS.check_parameters(node_type.name, {name: value})
    return [each for each in found if each.path[:1] == (name,) and each.keyword != "required"]
