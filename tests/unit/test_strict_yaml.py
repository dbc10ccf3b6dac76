"""Strict YAML: plain meanings, bounded work, and every refusal with its place."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from interlock.kit import strict_yaml
from interlock.kit.strict_yaml import StrictYamlError, load
from timing import least_cpu_seconds

LIMIT = 262_144

text = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**30), 10**30)
    | st.floats(allow_nan=False, allow_infinity=False)
    | text,
    lambda inner: st.lists(inner, max_size=6) | st.dictionaries(text, inner, max_size=6),
    max_leaves=40,
)


@pytest.fixture(params=["libyaml", "python"])
def parser(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Run a test with the parser in C and with the one in Python, which stands in where the first is missing."""
    name: str = request.param
    monkeypatch.setattr(strict_yaml, "_LOADER", {"libyaml": yaml.CSafeLoader, "python": yaml.SafeLoader}[name])
    return name


MEANINGS = [
    ("a: 1", {"a": 1}),
    ("- -0\n- 12\n- -3.5\n- 1e3\n- 1.5E-2", [0, 12, -3.5, 1000.0, 0.015]),
    ("[true, True, FALSE, false]", [True, True, False, False]),
    ("[null, Null, NULL, ~, ]", [None, None, None, None]),
    ("a:\nb: ''", {"a": None, "b": ""}),
    ("[on, off, yes, No, y, n, ON]", ["on", "off", "yes", "No", "y", "n", "ON"]),
    ("on: {off: yes}", {"on": {"off": "yes"}}),
    ("1: a\ntrue: b\n~: c\n2.0: d\n'': e", {"1": "a", "true": "b", "~": "c", "2.0": "d", "": "e"}),
    (
        "[2026-11-21, 2026-11-21T10:00:00Z, 12:30, 190:20:30]",
        ["2026-11-21", "2026-11-21T10:00:00Z", "12:30", "190:20:30"],
    ),
    (
        "[0123, 0x1F, 0o17, 0b1, 1_000, +1, .5, 1., .inf, -.inf, .nan, =]",
        ["0123", "0x1F", "0o17", "0b1", "1_000", "+1", ".5", "1.", ".inf", "-.inf", ".nan", "="],
    ),
    ("['1', \"true\", 'null']", ["1", "true", "null"]),
    ("a: |\n  1\n  2\nb: >-\n  x\n  y", {"a": "1\n2\n", "b": "x y"}),
    ("'<<': 1", {"<<": 1}),
    ("%YAML 1.1\n---\n- a\n...\n", ["a"]),
    ('\ufeffa: "\\u00e9 \U0001f600"', {"a": "\u00e9 \U0001f600"}),
    ("text", "text"),
    ("--- ", None),
    ('{"from":["a"], "to": "b"}', {"from": ["a"], "to": "b"}),
]


@pytest.mark.parametrize(("source", "value"), MEANINGS, ids=[source for source, _ in MEANINGS])
def test_scalars_mean_what_json_would_mean_and_else_text(parser: str, source: str, value: object) -> None:
    loaded = load(source)
    assert loaded == value
    assert json.dumps(loaded) == json.dumps(value)  # tells 1 from True and 1.0


def test_an_alias_is_a_copy_of_its_anchor(parser: str) -> None:
    loaded = load("a: &x {k: [1]}\nb: *x\nc: &x 2\nd: *x")
    assert loaded == {"a": {"k": [1]}, "b": {"k": [1]}, "c": 2, "d": 2}
    loaded["a"]["k"].append(2)
    assert loaded["b"] == {"k": [1]}


REFUSALS = [
    ("", "empty", 1, 1),
    ("# only a comment\n", "empty", 1, 1),
    ("a: !!python/object/apply:os.system ['true']", "tags", 1, 4),
    ("!!python/name:os.system", "tags", 1, 1),
    ("a: !!binary aGk=", "tags", 1, 4),
    ("a: !!set {x}", "tags", 1, 4),
    ("a: !!str 1", "tags", 1, 4),
    ("a: ! 1", "tags", 1, 4),
    ("a: !local 1", "tags", 1, 4),
    ("!!str a: 1", "tags", 1, 1),
    ("a: &x !!map {}", "tags", 1, 4),
    ("a: 1\nb: 2\na: 3", "'a' appears twice", 3, 1),
    ("x:\n  a: 1\n  'a': 2", "'a' appears twice", 3, 3),
    ("{1: a, '1': b}", "'1' appears twice", 1, 8),
    ("a: 1\n---\nb: 2", "second document", 2, 1),
    ("a: &x {k: 1}\nb:\n  <<: *x", "merge keys", 3, 3),
    ("? [a]\n: 1", "key must be plain", 1, 3),
    ("? {a: 1}\n: 1", "key must be plain", 1, 3),
    ("a: &x k\n*x : 1", "key must be plain", 2, 1),
    ("{? : 1}", "key is missing", 1, 4),
    ("a: *nowhere", "no anchor &nowhere", 1, 4),
    ("&x [1, *x]", "inside its own anchor", 1, 8),
    ("a: &x\n  b: {c: *x}", "inside its own anchor", 2, 10),
    ("a: 1e999", "out of range", 1, 4),
    ("- -1e999", "out of range", 1, 3),
    ("a: " + "9" * 5000, "digits", 1, 4),
    ('a: "x\\0"', "NUL", 1, 4),
    ("a: 1\nb: \x00", r"U\+0000", 2, 4),
    ("a: \ud800", r"U\+D800", 1, 4),
    ("a: b\x07", r"U\+0007", 1, 5),
    ("a: [1,\n  2}", "flow sequence that begins in line 1", 2, 4),
    ("a: b: c", "mapping values", 1, 5),
    ("a:\n\t- b", "token", 2, 1),
    ("a: 'open", "quoted scalar that begins in line 1", 1, 9),
    ("@a", "token", 1, 1),
]


@pytest.mark.parametrize(("source", "reason", "line", "column"), REFUSALS, ids=[case[0][:40] for case in REFUSALS])
def test_a_refusal_says_what_where_and_what_to_do(
    parser: str, source: str, reason: str, line: int, column: int
) -> None:
    with pytest.raises(StrictYamlError, match=reason) as refused:
        load(source)
    assert refused.value.hint
    assert refused.value.line == line
    assert abs(refused.value.column - column) <= 2  # the two parsers count a tab or the end of a text differently


def test_half_a_surrogate_pair_in_an_escape_is_refused(parser: str) -> None:
    with pytest.raises(StrictYamlError):
        load('"\\ud800"')


def test_the_limits_themselves_are_allowed() -> None:
    assert load("[" * 64 + "]" * 64) == json.loads("[" * 64 + "]" * 64)
    assert load("[&a 1" + ",*a" * 50 + "]") == [1] * 51
    assert load("a" * LIMIT) == "a" * LIMIT
    assert load("[a,a]", max_nodes=3) == ["a", "a"]


BOMBS = {
    "65 levels": "[" * 65 + "]" * 65,
    "65 levels of blocks": "- " * 65 + "a",
    "100,000 open brackets": "[" * 100_000,
    "80,000 open maps": "{a: " * 60_000,
    "100,000 dashes": "- " * 100_000,
    "depth by aliases": "a: &a " + "[" * 40 + "]" * 40 + "\nb: " + "[" * 40 + "*a" + "]" * 40,
    "51 aliases": "[&a 1" + ",*a" * 51 + "]",
    "billion laughs": "\n".join(
        [f"a0: &a0 [{','.join(['lol'] * 10)}]"]
        + [f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)]
    ),
    "doubling 50 times": "\n".join(["a0: &a0 [x, x]"] + [f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]" for n in range(1, 25)]),
    "doubling by maps": "\n".join(
        ["a0: &a0 {x: x}"] + [f"a{n}: &a{n} {{l: *a{n - 1}, r: *a{n - 1}}}" for n in range(1, 25)]
    ),
    "long text repeated": f"a: &a {'x' * 200_000}\nb: [{','.join(['*a'] * 50)}]",
    "long key repeated": f"a: &a {{? {'x' * 200_000} : 1}}\nb: [{','.join(['*a'] * 50)}]",
    "long text doubled": "\n".join(
        [f"a0: &a0 [{'x' * 1000}]"] + [f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]" for n in range(1, 25)]
    ),
    "too many values": "[" + "a," * 1000 + "]",
    "1 MB": "a: b\n" * 200_000,
    "10 MB": "a" * 10_000_000,
    "few characters, many bytes": "\U0001f600" * (LIMIT // 4 + 1),
}


@pytest.mark.parametrize("source", BOMBS.values(), ids=BOMBS.keys())
def test_a_bomb_is_refused_in_well_under_a_second(source: str) -> None:
    def refuse() -> None:
        with pytest.raises(StrictYamlError):
            load(source, max_nodes=1000 if source == BOMBS["too many values"] else 200_000)

    assert least_cpu_seconds(refuse) < 0.5


def test_only_a_text_over_its_byte_limit_is_too_large() -> None:
    with pytest.raises(StrictYamlError) as refused:
        load("a" * (LIMIT + 1))
    assert refused.value.too_large
    with pytest.raises(StrictYamlError) as refused:
        load(BOMBS["billion laughs"])
    assert not refused.value.too_large


@pytest.mark.parametrize(
    ("source", "count"),
    [
        ("- a\n" * (LIMIT // 4), LIMIT // 4),
        ("[" + "1," * (LIMIT // 2 - 2) + "]", LIMIT // 2 - 2),
        ("".join(f"k{n}: {{v: [{n}, x]}}\n" for n in range(10_000)), 10_000),
    ],
)
def test_the_largest_texts_load_in_under_a_second(source: str, count: int) -> None:
    assert len(source) <= LIMIT
    assert least_cpu_seconds(lambda: load(source)) < 1.0
    assert len(load(source)) == count


@given(json_values)
def test_every_json_value_can_be_written_as_yaml(value: Any) -> None:
    assert load(_as_yaml(value)) == value


@given(st.text(max_size=200))
def test_arbitrary_text_gives_a_json_value_or_a_strict_yaml_error(source: str) -> None:
    _value_or_refusal(source)


@given(st.lists(st.sampled_from([*"[]{}:,-?&*!|>'\"%@`#ab1~ \n", "\n  ", ": ", "- ", "&a ", "*a ", "---\n", "<<: "])))
def test_text_made_of_yaml_pieces_gives_a_json_value_or_a_strict_yaml_error(pieces: list[str]) -> None:
    _value_or_refusal("".join(pieces))


@pytest.mark.parametrize("source", ['"\\U00110000"', '"\\UFFFFFFFF"', "%YAML " + "9" * 5000 + ".1\n--- a"])
def test_numbers_that_no_parser_can_hold_are_refused(parser: str, source: str) -> None:
    with pytest.raises(StrictYamlError):
        load(source)


def _value_or_refusal(source: str) -> None:
    try:
        value = load(source)
    except StrictYamlError:
        return
    assert json.loads(json.dumps(value, allow_nan=False)) == value


def _as_yaml(value: Any) -> str:
    """Write JSON in flow style, with every unusual character of a text as an escape."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"? {_as_yaml(key)} : {_as_yaml(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_as_yaml, value)) + "]"
    if isinstance(value, str):
        return (
            '"' + "".join(char if char.isalnum() and char.isascii() else f"\\U{ord(char):08x}" for char in value) + '"'
        )
    return json.dumps(value)
