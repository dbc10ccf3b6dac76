"""The reference of definitions is true: its examples are valid, its lists of keys, limits and codes are complete."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest

from interlock.core.definition import WARNINGS, Code, limits
from interlock.core.workflow import ConnectionDefinition, GraphSettings, NodeDefinition
from interlock.kit.strict_yaml import load
from unit.definition_house import compile_definition, nodes, validate

PAGE = (Path(__file__).parents[2] / "docs/reference/definitions.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
_CODE = re.compile(r"`([^`]*)`")


def rows(column: str) -> list[dict[str, str]]:
    """The rows of the table whose first column is called so."""
    for block in re.findall(r"(?:^\|.*\|$\n?)+", PAGE, re.MULTILINE):
        table = [[cell.strip() for cell in line.strip()[1:-1].split("|")] for line in block.splitlines()]
        head = table[0]
        if head[0] == column:
            return [dict(zip(head, row, strict=True)) for row in table[2:]]
    raise AssertionError(f"no table of {column}")


def keys(column: str) -> set[str]:
    return {word for row in rows(column) for word in _CODE.findall(row[column])}


@pytest.mark.parametrize("text", EXAMPLES)
def test_examples_have_no_problems(text: str) -> None:
    verdict = validate(load(text))
    assert (verdict.errors, verdict.warnings) == ((), ())
    assert verdict.definition is not None


def test_there_is_a_graph_and_a_flow_and_the_graph_compiles() -> None:
    graph, flow = (validate(load(text)).definition for text in EXAMPLES)
    assert graph is not None
    compile_definition(graph)
    assert flow is not None
    assert len(flow.transitions) == 7  # type: ignore[union-attr]


def test_all_keys_are_named() -> None:
    only_inside = {"arguments"}  # of graphs that are built by calls
    assert keys("Key of a node") == set(NodeDefinition.__struct_fields__) - only_inside
    assert keys("Key of the settings") == set(GraphSettings.__struct_fields__)
    renamed = {"source": "from", "target": "to"}
    assert keys("Key of a connection") == {renamed.get(key, key) for key in ConnectionDefinition.__struct_fields__}
    assert hinted(nodes(name="x")) | {"nodes"} == keys("Key of a graph") | {"nodes"}
    assert hinted({"states": ["a", "b"]}) == keys("Key of a flow")
    step = {"from": "a", "event": "E", "to": "b"}
    assert hinted({"states": ["a", "b"], "transitions": [step]}, "transitions") == keys("Key of a transition")


def hinted(source: dict[str, Any], inside: str = "") -> set[str]:
    """The keys that the hint about an unknown one lists."""
    (source[inside][0] if inside else source)["qqqqqqqqq"] = 1
    verdict = validate(source)
    found = [problem for problem in (*verdict.errors, *verdict.warnings) if problem.path.endswith("qqqqqqqqq")]
    return set(found[0].hint.removeprefix("known: ").split(", "))


def test_all_codes_are_explained() -> None:
    assert [*keys_in_order("Code")] == sorted(get_args(Code))
    explained = {_CODE.findall(row["Code"])[0] for row in rows("Code") if row["Meaning"].startswith("warning: ")}
    assert explained == WARNINGS


def keys_in_order(column: str) -> list[str]:
    return [_CODE.findall(row[column])[0] for row in rows(column)]


def test_limits_are_those_of_the_code() -> None:
    assert {row["Limit"]: int(row["Value"]) for row in rows("Limit")} == {
        "nodes": limits.MAX_NODES,
        "connections": limits.MAX_CONNECTIONS,
        "loops": limits.MAX_LOOPS,
        "states": limits.MAX_STATES,
        "transitions": limits.MAX_TRANSITIONS,
        "ends": limits.MAX_ENDS,
        "values": limits.MAX_VALUES,
        "nesting": limits.MAX_DEPTH,
        "expressions": limits.MAX_EXPRESSION_TEXT,
        "id": limits.MAX_ID,
        "state name": limits.MAX_STATE_NAME,
        "name": limits.MAX_NAME,
        "description": limits.MAX_DESCRIPTION,
        "tags": limits.MAX_TAGS,
        "attempts": limits.MAX_ATTEMPTS,
        "backoff": limits.MAX_BACKOFF,
        "factor": limits.MAX_FACTOR,
        "timeout": limits.MAX_DURATION,
        "timer": limits.MAX_TIMER,
        "parallel": limits.MAX_PARALLEL,
        "problems": limits.MAX_PROBLEMS,
    }


def test_defaults_of_the_page_are_those_of_the_code() -> None:
    defaults = {key: value for key, value in msgspec.structs.asdict(GraphSettings()).items() if value is not None}
    documented = {
        _CODE.findall(row["Key of the settings"])[0]: row["Default"].strip("`") for row in rows("Key of the settings")
    }
    assert {key: documented[key] for key in defaults} == {key: str(value) for key, value in defaults.items()}
