"""What expressions mean: values, paths, operators, functions, scopes and the places of errors."""

from __future__ import annotations

from collections import UserDict, UserList
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from interlock.core.engine.expressions import ROOTS, ExpressionError, parse, truthy
from interlock.core.errors import InterlockError, unavailable

SCOPE: dict[str, Any] = {
    "$json": {
        "a": {"b": [10, 20, {"c": "deep"}]},
        "ok": True,
        "zero": 0,
        "name": "Ada",
        "tags": ["x", "y"],
        "and": "word",
        "$odd": "key",
        "__v": 3,
        "größe": 5,
        "none": None,
    },
    "$node": {"first step": {"result": {"n": 1}}},
    "$now": "2026-11-21T10:00:00Z",
    "data": {"n": 11},
}


def value_of(source: str, scope: Mapping[str, Any] = SCOPE) -> Any:
    return parse(source).evaluate(scope)


def refusal_of(source: str, scope: Mapping[str, Any] = SCOPE) -> ExpressionError:
    with pytest.raises(ExpressionError) as caught:
        parse(source).evaluate(scope)
    return caught.value


def assert_is(actual: Any, expected: Any) -> None:
    """Equal and of the same kind: True is not 1, and 1 is not 1.0."""
    assert (type(actual), actual) == (type(expected), expected)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("0", 0),
        ("0.5", 0.5),
        ("1e3", 1000.0),
        ("9223372036854775807", 2**63 - 1),
        ("''", ""),
        (r"'it\'s'", "it's"),
        (r'"\"\\\/\b\f\n\r\t"', '"\\/\b\f\n\r\t'),
        (r"'\u00e9\ud83d\ude00'", "é😀"),
        ("'ü😀'", "ü😀"),
        ("true", True),
        ("False", False),
        ("null", None),
        ("None", None),
        ("[]", []),
        ("[1, 'a', [$json.ok]]", [1, "a", [True]]),
        ("{}", {}),
        ("{a: 1, 'b c': {d: $json.name}}", {"a": 1, "b c": {"d": "Ada"}}),
        ("{null: 1, and: 2}", {"null": 1, "and": 2}),
        (" \t\r\n 1 \n", 1),
        ("{{ 1 + 1 }}", 2),
        ("  {{ {a: {b: 1}} }} ", {"a": {"b": 1}}),
    ],
)
def test_literals_are_values(source: str, expected: Any) -> None:
    assert_is(value_of(source), expected)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("$json.a.b[0]", 10),
        ("$json.a['b'][-1].c", "deep"),
        ("$json['a'].b[$json.zero + 1]", 20),
        ("$json.a.b[1.0]", 20),
        ("$json.a.b[3]", None),
        ("$json.a.b[-3]", 10),
        ("$json.a.b[-4]", None),
        ("$json.a.b[true]", None),
        ("$json.a.b['0']", None),
        ("$json.a[0]", None),
        ("$json[null]", None),
        ("$json[[1]]", None),
        ("$json.name[1]", "d"),
        ("$json.name.length", None),
        ("$json.ok.x", None),
        ("$json.none.x[0].y", None),
        ("$json.and", "word"),
        ("$json['$odd']", "key"),
        ("$json['__v']", 3),
        ("$json.größe", 5),
        ("$node['first step'].result.n", 1),
        ("$loop", None),
        ("$loop.item.x", None),
        ("[1, 2][1]", 2),
        ("{a: 1}.a", 1),
        ("'abc'[-1]", "c"),
        ("($json.a).b[0]", 10),
        ("keys($json.a)[0]", "b"),
        ("keys($json)[0][0][0]", "a"),
    ],
)
def test_paths_reach_data_and_end_in_null(source: str, expected: Any) -> None:
    assert_is(value_of(source), expected)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("1 + 2 * 3", 7),
        ("(1 + 2) * 3", 9),
        ("2 * 3 % 4", 2),
        ("10 - 4 - 3", 3),
        ("100 / 10 / 2", 5),
        ("-2 * -3", 6),
        ("- -2", 2),
        ("1--1", 2),
        ("-[3][0]", -3),
        ("!true || true", True),
        ("!!'x'", True),
        ("1 + 1 == 2", True),
        ("1 < 2 == true", True),
        ("true == 1 < 2", True),
        ("'a' + 'b' in ['ab']", True),
        ("not 1 == 2", True),
        ("not not 1", True),
        ("(!1) == 2", False),
        ("!1 == 2", False),
        ("not true or true", True),
        ("not true and false", False),
        ("true or false and false", True),
        ("(true or false) and false", False),
        ("true || false ? 1 : 2", 1),
        ("true ? 1 : true ? 2 : 3", 1),
        ("false ? 1 : false ? 2 : 3", 3),
        ("true ? false ? 1 : 2 : 3", 2),
        ("{a: true ? 1 : 2}.a", 1),
        ("1 not in [2] and 1 in [1]", True),
        ("true and not 1 in [2]", True),
    ],
)
def test_precedence_is_as_documented(source: str, expected: Any) -> None:
    assert_is(value_of(source), expected)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("1 == 1.0", True),
        ("1 === 1.0", True),
        ("'1' == 1", False),
        ("'1' === 1", False),
        ("true == 1", False),
        ("0 == false", False),
        ("null == false", False),
        ("null === null", True),
        ("'a' != 'a'", False),
        ("1 !== '1'", True),
        ("[1, [true]] == [1.0, [true]]", True),
        ("[1] == [true]", False),
        ("{a: 1, b: 2} == {b: 2, a: 1}", True),
        ("{a: null} == {}", False),
        ("{a: null} == {b: null}", False),
        ("[] == {}", False),
        ("1 < 1.5", True),
        ("'Z' < 'a'", True),
        ("'a' <= 'a'", True),
        ("2 > 2", False),
        ("2 >= 2", True),
    ],
)
def test_equality_never_converts_and_order_is_by_kind(source: str, expected: bool) -> None:
    assert_is(value_of(source), expected)


@pytest.mark.parametrize("pair", ["1 < '1'", "null < 1", "true < false", "[1] < [2]", "{} >= {}", "'a' > null"])
def test_unlike_kinds_have_no_order(pair: str) -> None:
    assert "cannot order" in refusal_of(pair).message


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("1 in [2, 1.0]", True),
        ("true in [1]", False),
        ("[1] in [[1]]", True),
        ("'x' in $json.tags", True),
        ("'d' in 'Ada'", True),
        ("1 in 'a1'", False),
        ("'ok' in $json", True),
        ("1 in {a: 1}", False),
        ("'x' in null", False),
        ("'z' not in $json.tags", True),
    ],
)
def test_membership_looks_into_lists_texts_and_objects(source: str, expected: bool) -> None:
    assert_is(value_of(source), expected)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("1 + 1.5", 2.5),
        ("'a' + 'b'", "ab"),
        ("'n' + 1 + 2", "n12"),
        ("1 + 2 + 'n'", "3n"),
        ("1.0 + ''", "1.0"),
        ("[1] + [] + ['a']", [1, "a"]),
        ("7 / 2", 3.5),
        ("8 / 2", 4),
        ("8 / 2.0", 4.0),
        ("-7 / 7", -1),
        ("-7 % 3", 2),
        ("7 % -3", -2),
        ("5.5 % 2", 1.5),
        ("9223372036854775807 - 1", 2**63 - 2),
    ],
)
def test_arithmetic(source: str, expected: Any) -> None:
    assert_is(value_of(source), expected)


@pytest.mark.parametrize(
    ("source", "part"),
    [
        ("1 / 0", "division by zero"),
        ("1 % 0.0", "division by zero"),
        ("9223372036854775807 + 1", "too large"),
        ("9223372036854775807 * 9223372036854775807", "too large"),
        ("1e308 * 10", "too large"),
        ("'a' + true", "cannot add text and true or false"),
        ("'a' + null", "cannot add text and null"),
        ("1 + [1]", "cannot add a number and a list"),
        ("{} + {}", "cannot add an object and an object"),
        ("'a' * 3", "cannot multiply"),
        ("true - 1", "cannot subtract"),
        ("null / 2", "cannot divide"),
        ("-'a'", "cannot change the sign of text"),
        ("-true", "cannot change the sign"),
        ("'a' in 5", "cannot look into a number"),
    ],
)
def test_operators_refuse_what_has_no_meaning(source: str, part: str) -> None:
    assert part in refusal_of(source).message


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("null and 1", None),
        ("0 && 1 / 0", 0),
        ("'' or 'x'", "x"),
        ("1 || 1 / 0", 1),
        ("[] or {}", {}),
        ("2 and 3", 3),
        ("true ? 1 : 1 / 0", 1),
        ("coalesce(null, $json.none, 5, 1 / 0)", 5),
    ],
)
def test_what_is_not_needed_is_not_evaluated(source: str, expected: Any) -> None:
    assert_is(value_of(source), expected)


def test_truthiness_is_that_of_json() -> None:
    false_like: list[Any] = [None, False, 0, 0.0, "", [], {}, (), UserDict(), UserList()]
    true_like: list[Any] = [True, 1, -0.5, "false", "0", [0], {"a": None}, (None,), UserDict(a=1)]
    assert [truthy(value) for value in false_like] == [False] * len(false_like)
    assert [truthy(value) for value in true_like] == [True] * len(true_like)


def test_roots_are_those_that_are_read_and_now_counts() -> None:
    assert parse("$json.a + data.n - $json.b").roots == {"$json", "data"}
    assert parse("date(now())").roots == {"$now"}
    assert parse("1 + 1").roots == frozenset()


def test_every_known_root_is_read_under_its_name_as_written() -> None:
    for root in ROOTS:
        assert value_of(root, {root: "here"}) == "here"
        assert value_of(root, {}) is None


def test_extra_roots_are_known_only_where_they_are_allowed() -> None:
    assert parse("event.kind == 'a'", extra_roots={"event"}).evaluate({"event": {"kind": "a"}}) is True
    assert "unknown name 'event'" in refusal_of("event.kind == 'a'").message


def test_parsing_the_same_short_source_again_gives_the_same_expression() -> None:
    assert parse("$json.cached + 1") is parse("$json.cached + 1")


class CountedMapping(Mapping[str, Any]):
    """A mapping that is no dict and says which keys were read."""

    def __init__(self, entries: dict[str, Any]) -> None:
        self.entries = entries
        self.read: list[str] = []

    def __getitem__(self, key: str) -> Any:
        self.read.append(key)
        return self.entries[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self.entries)

    def __len__(self) -> int:
        return len(self.entries)


def test_a_callable_root_is_called_once_and_only_if_it_is_read() -> None:
    calls: list[str] = []

    def load() -> dict[str, int]:
        calls.append("load")
        return {"n": 2}

    assert value_of("$node.n * $node.n + $node.n", {"$node": load}) == 6
    assert calls == ["load"]
    assert value_of("data.n", {"$node": load, "data": {"n": 1}}) == 1
    assert calls == ["load"]


def test_a_mapping_is_read_only_at_the_keys_that_are_asked_for() -> None:
    nodes = CountedMapping({"first": {"n": 1}, "second": {"n": 2}})
    assert value_of("$node.second.n + $node['second'].n", {"$node": nodes}) == 4
    assert nodes.read == ["second", "second"]


def test_any_mapping_and_sequence_is_data_and_results_are_plain() -> None:
    scope = {"data": CountedMapping({"t": (1, UserList([2])), "m": UserDict(a=1)})}
    assert_is(value_of("data.t[1][0]", scope), 2)
    result = value_of("data", scope)
    assert_is(result, {"t": [1, [2]], "m": {"a": 1}})
    assert type(result["t"][1]) is list
    assert type(result["m"]) is dict
    assert value_of("data.t == [1, [2]] and data.m == {a: 1}", scope) is True
    assert value_of("len(data) + len(data.t)", scope) == 4
    assert value_of("json(data.m)", scope) == '{"a":1}'
    assert value_of("keys(data)", scope) == ["t", "m"]
    assert value_of("data.t + [3]", scope) == [1, [2], 3]


@pytest.mark.parametrize("strange", [{1, 2}, b"x", object(), 1j, {1: 2}, {"a": object()}, [float("nan")], 10**30])
def test_data_that_is_not_json_is_refused_as_a_result(strange: Any) -> None:
    assert refusal_of("data", {"data": strange}).code == "EXPRESSION_ERROR"


@pytest.mark.parametrize("text", ["\x00", "\ud800"])
def test_a_text_that_cannot_be_stored_is_refused_as_a_result(text: str) -> None:
    assert refusal_of("data", {"data": text}).code == "EXPRESSION_ERROR"
    assert refusal_of("data", {"data": [{text: 1}]}).code == "EXPRESSION_ERROR"


def test_whole_numbers_of_64_bits_pass_through_with_and_without_sign() -> None:
    assert value_of("data", {"data": [2**64 - 1, -(2**63)]}) == [2**64 - 1, -(2**63)]
    assert value_of("data == data", {"data": 2**64 - 1}) is True


@pytest.mark.parametrize("source", ["data", "data + 1", "data * data", "'' + data", "str(data)", "abs(data)", "[data]"])
def test_a_whole_number_of_thousands_of_digits_costs_nothing(source: str) -> None:
    assert "64 bits" in refusal_of(source, {"data": 10**100_000}).message


def test_an_error_of_the_house_raised_by_lazy_data_passes_unchanged() -> None:
    problem = unavailable("the blob store is away")

    def load() -> Any:
        raise problem

    with pytest.raises(InterlockError) as caught:
        value_of("$node.x", {"$node": load})
    assert caught.value is problem


def test_any_other_error_raised_by_lazy_data_becomes_an_expression_error_that_keeps_its_cause() -> None:
    def load() -> Any:
        raise RuntimeError("secret detail")

    error = refusal_of("1 + $node.x", {"$node": load})
    assert error.message == "the data could not be read (RuntimeError) at column 5"
    assert isinstance(error.__cause__, RuntimeError)
