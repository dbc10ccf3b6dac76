"""Random texts and random data, JSON or not: nothing but strict JSON and ExpressionError ever comes out."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from decimal import Decimal
from enum import IntEnum, StrEnum
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from interlock.core.engine.expressions import (
    FUNCTIONS,
    ROOTS,
    ExpressionError,
    compile_errors,
    compile_template,
    parse,
)
from interlock.core.engine.expressions.operators import BINARY

NAMES = ("a", "b", "in", "x1")
TEXTS = st.text(alphabet="abAB 01'\"\\é😀{}\n\t", max_size=6)
SCALARS = st.one_of(st.none(), st.booleans(), st.integers(-9, 9), st.floats(-9, 9), TEXTS)
DATA = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.sampled_from(NAMES), inner, max_size=3)),
    max_leaves=10,
)
SIGNS = ("not", "!", "?", ":", ".", ",", "(", ")", "[", "]", "{", "}", "{{", "}}", "=", "//", "\\", "'", " ", "\n")
VALUES = ("1", "0.5", "1e9", "9" * 30, "'a'", '"b"', "true", "null", "__", "é", "\x00")
WORDS = st.sampled_from([*sorted(ROOTS), *FUNCTIONS, *BINARY, *NAMES, *SIGNS, *VALUES])
SOUP = st.lists(WORDS, max_size=25)


@settings(max_examples=250, deadline=None)
@given(st.one_of(st.text(max_size=60), SOUP.map(" ".join), SOUP.map("".join)))
def test_parsing_any_text_gives_an_expression_or_an_expression_error_with_its_place(text: str) -> None:
    error = refusal_of(lambda: parse(text))
    if error is None:
        assert parse(text).roots <= ROOTS
    else:
        assert 0 <= error.details["position"] <= len(text)
        assert error.details["column"] >= 1
    error = refusal_of(lambda: compile_template([text]))
    assert [found.message for _, found in compile_errors([text])[:1]] == ([] if error is None else [error.message])


def refusal_of(work: Callable[[], Any]) -> ExpressionError | None:
    try:
        work()
    except ExpressionError as error:
        return error
    return None


class Colour(StrEnum):
    RED = "red"


class Size(IntEnum):
    BIG = 3


class Hostile(Mapping[str, Any]):
    """A mapping of which every operation fails."""

    def __getitem__(self, key: str) -> Any:
        raise RuntimeError(key)

    def __iter__(self) -> Iterator[str]:
        raise ValueError

    def __len__(self) -> int:
        raise OSError

    def __eq__(self, other: object) -> bool:
        raise ArithmeticError

    __hash__ = None  # type: ignore[assignment]


def _fail() -> Any:
    raise LookupError


ODD = st.one_of(
    st.floats(allow_nan=True, allow_infinity=True),
    st.integers(),
    st.sampled_from([10**4000, -(10**400), Colour.RED, Size.BIG, Decimal(1), datetime(2026, 1, 1), object(), 1j]),
    st.sampled_from(
        [_fail, object, len, Hostile(), range(5), b"x", bytearray(b"y"), {1: 2}, {None: 1}, "\x00", "\udc80"]
    ),
    st.binary(max_size=3),
    st.frozensets(st.integers(), max_size=2),
    SCALARS,
)
ODD_DATA = st.recursive(
    ODD,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.lists(inner, max_size=3).map(tuple),
        st.dictionaries(st.sampled_from(NAMES), inner, max_size=3),
    ),
    max_leaves=8,
)
ODD_SCOPES = st.one_of(
    st.fixed_dictionaries({"$json": ODD_DATA, "data": ODD_DATA, "$node": ODD_DATA}), st.just(Hostile())
)


SOURCES = [
    *(f"data {operator} $json" for operator in [*BINARY, "and", "or", "===", "!=="]),
    *("-data", "!data", "data", "data.a", "data.a.b", "data[0]", "data[$json]", "data[$json.a][0]", "[data, $json]"),
    *("{a: data}", "data ? $json : $node", "'' + data", "data + data == $json", "[data] == [$json]", "data in [$json]"),
]


@settings(max_examples=250, deadline=None)
@given(st.sampled_from(SOURCES), ODD_SCOPES)
def test_evaluating_on_any_data_gives_strict_json_or_an_expression_error(source: str, scope: Any) -> None:
    for work in (parse(source).evaluate, compile_template(["{{" + source + "}}!"]).render):
        try:
            value = work(scope)
        except ExpressionError:
            continue
        json.dumps(value, allow_nan=False).encode()


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(sorted(FUNCTIONS)), st.lists(ODD_DATA, min_size=3, max_size=3))
def test_every_function_on_any_data_gives_strict_json_or_an_expression_error(name: str, data: list[Any]) -> None:
    function = FUNCTIONS[name]
    for count in range(function.least, min(function.most, 3) + 1):
        source = f"{name}({', '.join(['$json', 'data', '$node'][:count])})"
        try:
            value = parse(source).evaluate(dict(zip(("$json", "data", "$node"), data, strict=True)))
        except ExpressionError:
            continue
        json.dumps(value, allow_nan=False).encode()


@given(DATA)
def test_data_survives_the_way_to_json_text_and_back(data: Any) -> None:
    scope = {"data": data}
    assert json.dumps(parse("parseJson(json(data))").evaluate(scope)) == json.dumps(data)
    assert parse("parseJson(json(data)) == data").evaluate(scope) is True
