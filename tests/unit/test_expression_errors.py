"""Errors of expressions: what is refused, where the message points, and what it says to do."""

from __future__ import annotations

from typing import Any

import pytest

from interlock.core.engine.expressions import ExpressionError, parse
from interlock.core.errors import ErrorKind

SCOPE: dict[str, Any] = {"$json": {"name": "Ada"}, "data": {"n": 4711}}


def refusal_of(source: str) -> ExpressionError:
    with pytest.raises(ExpressionError) as caught:
        parse(source).evaluate(SCOPE)
    return caught.value


@pytest.mark.parametrize(
    ("source", "column", "part"),
    [
        ("", 1, "the expression is empty"),
        ("   ", 4, "the expression is empty"),
        ("1 +", 4, "ends where a value should be"),
        ("1 2", 3, "an operator or the end should be here, not 2"),
        ("$json.a.", 9, "ends where a name should be"),
        ("$json.$a", 7, "a name should be here, not $a"),
        ("$json.a[1", 10, "ends where ']' should be"),
        ("(1", 3, "ends where ')' should be"),
        ("[1 2]", 4, "',' or ']' should be here, not 2"),
        ("[1,]", 4, "a value should be here"),
        ("{a 1}", 4, "':' should be here"),
        ("{1: 2}", 2, "a key should be here"),
        ("{a: 1, a: 2}", 8, "the key 'a' is there twice"),
        ("true ? 1", 9, "ends where ':' should be"),
        ("nope + 1", 1, "unknown name 'nope'"),
        ("1 + $jsn", 5, "did you mean '$json'?"),
        ("len", 1, "len is a function at column 1; call it: len(…)"),
        ("1 + foo(1)", 5, "unknown function 'foo' at column 5; known: abs, bool"),
        ("startswith('a', 'b')", 1, "did you mean 'startsWith'?"),
        ("split('a')", 1, "split() takes 2 arguments, not 1"),
        ("slice('a', 1, 2, 3)", 1, "slice() takes 2 to 3 arguments, not 4"),
        ("coalesce()", 1, "coalesce() takes at least 1 argument, not 0"),
        ("now(1)", 1, "now() takes no arguments, not 1"),
        ("$json.a()", 8, "only the functions of the language can be called"),
        ("'abc", 1, "the text is not closed"),
        ("'a\nb'", 1, "the text is not closed"),
        (r"'a\x'", 3, r"there is no escape \x"),
        (r"'\ud800'", 1, "half of a surrogate pair"),
        (r"'\u0000'", 1, "the character NUL"),
        ("007", 1, "a number is badly written"),
        ("1_000", 1, "a number is badly written"),
        ("9223372036854775808", 1, "a number is too large"),
        ("1e999", 1, "a number is too large"),
        ("1 = 1", 3, "compare with =="),
        ("a ?? b", 3, "use coalesce(a, b)"),
        ("$json?.a", 6, "a plain dot is enough"),
        ("1 & 2", 3, "use && or and"),
        ("1 == not 2", 6, "'not' needs parentheses here"),
        ("1 < 2 < 3", 7, "comparisons cannot be chained"),
        ("1 == 2 != 3", 8, "comparisons cannot be chained"),
        ("1 \u00a0+ 1", 3, "the character U+00A0 has no meaning"),
        ("1 $", 3, "the character $ has no meaning"),
        ("{{ 1 }} x", 9, "there is more behind the }}"),
        ("{{ 1 ", 1, "the {{ is not closed"),
        ("$json.name < 5", 12, "cannot order text and a number"),
        ("1 + len(5)", 5, "len() needs text, a list or an object, not a number"),
    ],
)
def test_errors_point_at_the_place(source: str, column: int, part: str) -> None:
    error = refusal_of(source)
    assert part in error.message
    assert (error.details["position"], error.details["line"], error.details["column"]) == (column - 1, 1, column)


def test_an_error_in_several_lines_names_line_and_column() -> None:
    error = refusal_of("$json.ok\n  && zebra")
    assert error.message.startswith("unknown name 'zebra' at line 2, column 6; known: ")
    assert (error.details["position"], error.details["line"], error.details["column"]) == (14, 2, 6)
    assert error.details["source"] == "$json.ok\n  && zebra"


def test_an_error_is_of_the_kind_rule_with_a_stable_code_and_a_hint() -> None:
    error = refusal_of("data.n / 0")
    assert (error.kind, error.code, error.retryable) == (ErrorKind.RULE, "EXPRESSION_ERROR", False)
    assert error.details["hint"] in error.message
    assert error.details["hint"]


def test_an_expression_that_is_no_text_is_refused() -> None:
    with pytest.raises(ExpressionError, match="an expression is a text"):
        parse(5)  # type: ignore[arg-type]


def test_an_error_shows_the_beginning_of_a_long_source_only() -> None:
    shown = refusal_of("$json.name + " * 200).details["source"]
    assert len(shown) == 256
    assert shown.startswith("$json.name + ")
    assert shown.endswith("…")


def test_an_error_never_shows_the_data() -> None:
    for source in ("data.n < $json.name", "int($json.name)", "parseJson($json.name)", "date($json.name)", "data.n / 0"):
        assert "Ada" not in refusal_of(source).message
        assert "4711" not in refusal_of(source).message
