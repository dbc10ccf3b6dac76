"""Every example of the expression reference is evaluated, and its lists are complete."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from interlock.core.engine.expressions import FUNCTIONS, ROOTS, ExpressionError, compile_template, limits, parse
from interlock.core.engine.expressions.operators import BINARY

PAGE = (Path(__file__).parents[2] / "docs/reference/expressions.md").read_text(encoding="utf-8")
_CELL = re.compile(r"(?<!\\)\|")
_CODE = re.compile(r"`([^`]*)`")


def _tables() -> Iterator[list[dict[str, str]]]:
    for block in re.findall(r"(?:^\|.*\|$\n?)+", PAGE, re.MULTILINE):
        rows = [
            [cell.strip().replace("\\|", "|") for cell in _CELL.split(line.strip())[1:-1]]
            for line in block.splitlines()
        ]
        yield [dict(zip(rows[0], row, strict=True)) for row in rows[2:]]


def _rows(*columns: str) -> list[tuple[str, ...]]:
    return [
        tuple(_only_code(row[column]) for column in columns)
        for table in _tables()
        for row in table
        if set(columns) <= row.keys()
    ]


def _only_code(cell: str) -> str:
    code = re.fullmatch(r"`([^`]*)`", cell)
    assert code, cell
    return code.group(1)


def _column(name: str) -> list[str]:
    return [row[name] for table in _tables() for row in table if name in row]


def _scope() -> dict[str, Any]:
    block = re.search(r"```json\n(.*?)```", PAGE, re.DOTALL)
    assert block is not None
    scope: dict[str, Any] = json.loads(block.group(1))
    return scope


def _same(left: Any, right: Any) -> bool:
    return json.dumps(left) == json.dumps(right)  # tells 1 from 1.0 and from true, as == does not


@pytest.mark.parametrize(("example", "result"), _rows("Example", "Result"))
def test_example_gives_the_documented_result(example: str, result: str) -> None:
    assert _same(parse(example).evaluate(_scope()), json.loads(result))


@pytest.mark.parametrize(("text", "rendered"), _rows("Text", "Rendered"))
def test_text_renders_as_documented(text: str, rendered: str) -> None:
    assert _same(compile_template(text).render(_scope()), json.loads(rendered))


@pytest.mark.parametrize(("example", "error"), _rows("Example", "Error"))
def test_example_fails_with_the_documented_error(example: str, error: str) -> None:
    with pytest.raises(ExpressionError) as caught:
        parse(example).evaluate(_scope())
    assert caught.value.message.startswith(error)


def test_every_function_is_documented_once_and_has_an_example_that_calls_it() -> None:
    names = [_CODE.findall(cell)[0].split("(")[0] for cell in _column("Function")]
    assert sorted(names) == sorted(FUNCTIONS)
    examples = [row["Example"] for table in _tables() for row in table if "Function" in row]
    assert all(f"{name}(" in example for name, example in zip(names, examples, strict=True))


@pytest.mark.parametrize("cell", [cell for cell in _column("Function") if " or " not in cell])
def test_signature_takes_as_many_arguments_as_the_function(cell: str) -> None:
    name, arguments = re.fullmatch(r"`(\w+)\((.*)\)`", cell).groups()  # type: ignore[union-attr]
    names = [argument for argument in arguments.split(", ") if argument]
    least = len([argument for argument in names if not argument.endswith("?") and argument != "…"])
    assert FUNCTIONS[name].least == least
    if "…" not in names:
        assert FUNCTIONS[name].most == len(names)


def test_every_operator_and_root_is_documented() -> None:
    operators = {word for cell in _column("Operators") for word in _CODE.findall(cell)}
    assert operators == set(BINARY) | {"===", "!==", "!", "not", "and", "&&", "or", "||", "?:"}
    assert {word for cell in _column("Root") for word in _CODE.findall(cell)} == ROOTS


def test_limits_are_those_of_the_code() -> None:
    documented = {row["Limit"]: int(row["Value"]) for table in _tables() for row in table if "Limit" in row}
    assert documented == {
        "source": limits.SOURCE_BYTES,
        "depth": limits.DEPTH,
        "parts": limits.NODES,
        "result": limits.RESULT_BYTES,
        "passed on": limits.REFERRED_BYTES,
        "items": limits.ITEMS,
        "nesting": limits.VALUE_DEPTH,
        "work": limits.WORK,
        "placeholders": limits.PLACEHOLDERS,
    }
