"""The functions of the language: results on every kind of argument, and what they refuse."""

from __future__ import annotations

from typing import Any

import pytest

from interlock.core.engine.expressions import FUNCTIONS, ExpressionError, parse

SCOPE: dict[str, Any] = {
    "$json": {
        "text": "  Grüße, Ada  ",
        "list": [3, 1.5, 2],
        "object": {"b": 1, "a": None},
        "null": None,
        "pair": (1, 2),
        "huge": 10**40,
        "infinite": float("inf"),
    },
    "$now": "2026-11-21T10:00:00.25Z",
}

RESULTS: list[tuple[str, Any]] = [
    ("len('äöü')", 3),
    ("len([])", 0),
    ("len({a: 1})", 1),
    ("len($json.pair)", 2),
    ("len($json.missing)", 0),
    ("lower('ÄB')", "äb"),
    ("upper('straße')", "STRASSE"),
    ("trim($json.text)", "Grüße, Ada"),
    ("contains('abc', 'bc')", True),
    ("contains([1, 2], 2)", True),
    ("contains({a: 1}, 'a')", True),
    ("contains(null, 'a')", False),
    ("startsWith('abc', 'ab')", True),
    ("startsWith('abc', '')", True),
    ("endsWith('abc', 'ab')", False),
    ("split('a, b', ', ')", ["a", "b"]),
    ("split('', ',')", [""]),
    ("join(['a', 1, null, true, 1.5, [1]], '-')", "a-1--true-1.5-[1]"),
    ("join(['a', 'b'])", "ab"),
    ("join([], ',')", ""),
    ("slice('abcdef', 1, 3)", "bc"),
    ("slice('abcdef', -2)", "ef"),
    ("slice('abcdef', null, -4)", "ab"),
    ("slice([1, 2, 3], 1)", [2, 3]),
    ("slice([1, 2, 3], 5, 9)", []),
    ("slice([1, 2, 3], 2, 1)", []),
    ("slice($json.pair, 0, 1)", [1]),
    ("replace('aXbX', 'X', '--')", "a--b--"),
    ("replace('abc', 'z', '')", "abc"),
    ("int('-12')", -12),
    ("int(' +7 ')", 7),
    ("int(-2.9)", -2),
    ("int(false)", 0),
    ("float('1.5')", 1.5),
    ("float('-2e-1')", -0.2),
    ("float(3)", 3.0),
    ("float(true)", 1.0),
    ("str('a')", "a"),
    ("str(null)", ""),
    ("str(true)", "true"),
    ("str(12)", "12"),
    ("str(0.1)", "0.1"),
    ("str({a: [1, null, 'ü']})", '{"a":[1,null,"ü"]}'),
    ("bool([])", False),
    ("bool('false')", True),
    ("bool(null)", False),
    ("round(2.5)", 3),
    ("round(-2.5)", -3),
    ("round(3.5)", 4),
    ("round(1.005, 2)", 1.01),
    ("round(2.0)", 2),
    ("round(1e17)", 10**17),
    ("round(123.456, 0)", 123),
    ("round(5, 2)", 5),
    ("round(1e300, 2)", 1e300),
    ("abs(-5)", 5),
    ("abs(-0.5)", 0.5),
    ("min($json.list)", 1.5),
    ("min(2, 1)", 1),
    ("min(['b', 'a'])", "a"),
    ("min([])", None),
    ("max($json.list)", 3),
    ("max('a', 'b')", "b"),
    ("sum($json.list)", 6.5),
    ("sum(1, 2)", 3),
    ("sum([])", 0),
    ("keys($json.object)", ["b", "a"]),
    ("values($json.object)", [1, None]),
    ("has($json.object, 'a')", True),
    ("has($json.object, 'z')", False),
    ("has($json.object, 1)", False),
    ("has($json.list, 2)", True),
    ("has($json.list, -4)", False),
    ("has(null, 'a')", False),
    ("coalesce(null, false, 1)", False),
    ("coalesce(null)", None),
    ("json({a: [1, 'x', null, 1.5, true]})", '{"a":[1,"x",null,1.5,true]}'),
    ("json('ü\"')", '"ü\\""'),
    ("parseJson(' [1, 2.0, {\"a\": null}] ')", [1, 2.0, {"a": None}]),
    ("parseJson(json($json.object)) == $json.object", True),
    ("date('2026-11-21T10:00:00Z')", "2026-11-21T10:00:00Z"),
    ("date('2026-11-21t10:00:00.120z')", "2026-11-21T10:00:00.12Z"),
    ("date('2026-11-21 10:00:00.123456789-02:30')", "2026-11-21T12:30:00.123456Z"),
    ("date('2026-11-21')", "2026-11-21T00:00:00Z"),
    ("date(0)", "1970-01-01T00:00:00Z"),
    ("date(-1.5)", "1969-12-31T23:59:58.5Z"),
    ("date(now(), 'YYYYMMDD')", "20261121"),
    ("date(now(), '[HH:mm:ss] YY M')", "[10:00:00] YY M"),
    ("now()", "2026-11-21T10:00:00.25Z"),
]


@pytest.mark.parametrize(("source", "expected"), RESULTS)
def test_function_gives(source: str, expected: Any) -> None:
    actual = parse(source).evaluate(SCOPE)
    assert (type(actual), actual) == (type(expected), expected)


def test_every_function_is_among_the_tested() -> None:
    assert all(any(f"{name}(" in source for source, _ in RESULTS) for name in FUNCTIONS)


def test_now_is_null_without_the_time_in_the_scope() -> None:
    assert parse("now()").evaluate({}) is None


@pytest.mark.parametrize(
    ("source", "part"),
    [
        ("len(true)", "len() needs text, a list or an object, not true or false"),
        ("lower(null)", "lower() needs text, not null"),
        ("upper(1)", "upper() needs text, not a number"),
        ("trim([])", "trim() needs text, not a list"),
        ("contains(1, 1)", "cannot look into a number"),
        ("startsWith('a', 1)", "startsWith() needs text"),
        ("endsWith({}, 'a')", "endsWith() needs text, not an object"),
        ("split('a', '')", "not empty"),
        ("replace('a', '', 'b')", "not empty"),
        ("join('ab', ',')", "join() needs a list, not text"),
        ("join([1], 2)", "join() needs text, not a number"),
        ("slice(1, 2)", "slice() needs text or a list"),
        ("slice('a', 'b')", "slice() takes whole numbers as places"),
        ("slice('a', 0.5)", "slice() takes whole numbers as places"),
        ("int('1.5')", "int(float(x)) cuts off the digits"),
        ("int('')", "cannot read this text"),
        ("int('١')", "cannot read this text"),
        ("int('9999999999999999999')", "too large"),
        ("int(1e300)", "too large"),
        ("int(null)", "int() needs a number, not null"),
        ("float('nan')", "cannot read this text"),
        ("float('1_0')", "cannot read this text"),
        ("float('1e999')", "too large"),
        ("float([])", "float() needs a number"),
        ("round('1')", "round() needs a number, not text"),
        ("round(1.5, 16)", "0 to 15 digits"),
        ("round(1.5, 0.5)", "0 to 15 digits"),
        ("round(1e300)", "too large"),
        ("abs('a')", "abs() needs a number"),
        ("abs($json.huge)", "beyond 64 bits"),
        ("abs($json.infinite)", "not finite"),
        ("min(1)", "min() needs a list, or several values, not only a number"),
        ("min([1, 'a'])", "only numbers or only texts, and got a number and text"),
        ("max([null])", "only numbers or only texts, and got null"),
        ("sum(['a'])", "sum() needs a number, not text"),
        ("sum([9223372036854775807, 1])", "too large"),
        ("keys([1])", "keys() needs an object, not a list"),
        ("values(null)", "values() needs an object, not null"),
        ("has('abc', 'a')", "contains() looks for items and parts"),
        ("json($json.infinite)", "not finite"),
        ("str($json.huge)", "beyond 64 bits"),
        ("parseJson(1)", "parseJson() needs text"),
        ("parseJson('')", "not JSON"),
        ("parseJson('{a: 1}')", "not JSON"),
        ("parseJson('[Infinity]')", "not JSON"),
        ("parseJson('[1] 2')", "not JSON"),
        ("parseJson('[1e999]')", "not finite"),
        ("parseJson('18446744073709551616')", "beyond 64 bits"),
        ('parseJson(\'{"a": 1, "a": 2}\')', "the same key twice"),
        (r"parseJson('\"\\ud800\"')", "not valid Unicode"),
        (r"parseJson('\"\\u0000\"')", "NUL"),
        ("date('21.11.2026')", "write 2026-11-21T10:00:00Z"),
        ("date('2026-11-21T10:00:00')", "with Z or an offset"),
        ("date('2026-02-30')", "does not exist"),
        ("date('2026-11-21T24:00:00Z')", "does not exist"),
        ("date('0001-01-01T00:00:00+01:00')", "does not exist"),
        ("date(1e15)", "does not exist"),
        ("date(null)", "date() needs a text or a number, not null"),
        ("date(0, 1)", "the form of date() is a text"),
    ],
)
def test_function_refuses(source: str, part: str) -> None:
    with pytest.raises(ExpressionError) as caught:
        parse(source).evaluate(SCOPE)
    assert part in caught.value.message
    assert caught.value.details["position"] == 0
