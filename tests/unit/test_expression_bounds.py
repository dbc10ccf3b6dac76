"""Hostile input: escapes of other languages mean nothing here, and no source or data costs much time or memory."""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest

from interlock.core.engine.expressions import ExpressionError, compile_errors, compile_template, parse
from interlock.core.engine.expressions.limits import ITEMS, RESULT_BYTES, SOURCE_BYTES

SECONDS = 0.15  # of this thread's processor time: three times the promise, for a slow machine
MEGABYTES = 16


def bounded(work: Callable[[], Any]) -> Any:
    """The value of the work, or its ExpressionError; fails if it took too much time or memory."""
    seconds, outcome = _timed(work)
    for _ in range(3):  # a busy machine may disturb a measurement, but not all of them
        if seconds > SECONDS:
            seconds, outcome = _timed(work)
    assert seconds < SECONDS
    tracemalloc.start()
    try:
        _timed(work)
        assert tracemalloc.get_traced_memory()[1] < MEGABYTES * 1_000_000
    finally:
        tracemalloc.stop()
    return outcome


def _timed(work: Callable[[], Any]) -> tuple[float, Any]:
    start = time.thread_time()
    try:
        outcome = work()
    except ExpressionError as error:
        outcome = error
    return time.thread_time() - start, outcome


ESCAPES = [
    "$json.__class__",
    "$json.__class__.__mro__[1].__subclasses__()",
    "''.__class__.__base__",
    "$json.constructor.constructor('return process')()",
    "$json.items()",
    "$json['get']('a')",
    "len.__globals__",
    "now.__code__",
    "__import__('os').system('id')",
    "import os",
    "eval('1')",
    "exec('1')",
    "open('/etc/passwd')",
    "getattr($json, 'a')",
    "globals()",
    "locals()['x']",
    "type($json)",
    "vars()",
    "self",
    "this",
    "process.env",
    "require('fs')",
    "Function('return 1')()",
    "constructor",
    "lambda: 1",
    "lambda x: x",
    "(x := 1)",
    "[x for x in $json]",
    "{x: 1 for x in $json}",
    "f'{$json}'",
    "b'bytes'",
    "r'raw'",
    "'''triple'''",
    "`${$json}`",
    "'{0.__class__}'.format($json)",
    "*$json",
    "**$json",
    "{**$json}",
    "{...$json}",
    "[...$json]",
    "9**9**9",
    "1 << 999999",
    "1 // 0",
    "1 if true else 2",
    "yield 1",
    "await now()",
    "$json; $json",
    "$json = 1",
    "$json.a = 1",
    "del $json",
    "() => 1",
    "x => x",
    "function() {}",
    "new Date()",
    "@decorator",
    "$json.a as a",
    "$json | upper",
    "$json!a",
    "{% for a in b %}",
    "{{ {{ 1 }} }}",
    "#{1}",
    "<% 1 %>",
    "${7*7}",
    "$$",
    "$",
    "$json..a",
    "..",
    "\\x41",
    "0x10",
    "1j",
    "1n",
    "...",
    "Ellipsis",
    "NaN",
    "Infinity",
    "undefined",
    "typeof $json",
    "$json instanceof data",
    "/re/",
    "'a'.repeat(10)",
    "' '.join(['a'])",
    "range(10)",
    "map($json)",
    "sorted($json)",
    "print(1)",
    "str.format('a')",
    "json.loads('1')",
    "date.fromtimestamp(1)",
]


@pytest.mark.parametrize("source", ESCAPES)
def test_escapes_of_other_languages_are_refused_when_parsed(source: str) -> None:
    with pytest.raises(ExpressionError):
        parse(source)
    assert compile_errors("{{ " + source + " }}") != []


@pytest.mark.parametrize(
    "key", ["__class__", "__globals__", "items", "keys", "get", "__dict__", "format", "upper", "real"]
)
def test_no_attribute_of_any_value_can_be_read(key: str) -> None:
    class Holder:
        secret = "s"

    values: list[Any] = [{}, [], "text", 1, 1.5, True, None, Holder(), Holder, print, (1,), {1}, b"x"]
    for value in values:
        scope = {"data": {"v": value}, "$json": key}
        assert parse(f"data.v['{key}']").evaluate(scope) is None
        assert parse("data.v[$json]").evaluate(scope) is None


def test_a_format_text_in_the_data_stays_a_text() -> None:
    scope = {"data": "{0.__class__} {{ 1 + 1 }} ${7*7} %s"}
    assert compile_template("<{{ data }}>").render(scope) == "<{0.__class__} {{ 1 + 1 }} ${7*7} %s>"


def test_nothing_of_the_data_is_called() -> None:
    def never() -> None:
        raise AssertionError("was called")

    scope = {"data": {"f": never}}
    for source in ("data.f", "data.f == 1", "str(data.f)", "[data.f]", "data.f + 1", "len(data.f)"):
        with pytest.raises(ExpressionError, match="the data holds a value of type function, which is not JSON"):
            parse(source).evaluate(scope)
    assert parse("[data.f[0], data.f.x, len(data), has(data, 'f')]").evaluate(scope) == [None, None, 1, True]


MEGABYTE = 1 << 20

SOURCES = {
    "sum": "1+" * (MEGABYTE // 2) + "1",
    "parentheses": "(" * MEGABYTE,
    "brackets": "[" * MEGABYTE,
    "open text": "'" + "a" * MEGABYTE,
    "escapes": "'" + "\\u00e9" * (MEGABYTE // 6),
    "name": "a" * MEGABYTE,
    "digits": "9" * MEGABYTE,
    "spaces": " " * MEGABYTE,
    "path": "data" + ".a" * (MEGABYTE // 2),
    "braces": "{{" * (MEGABYTE // 2),
    "nots": "!" * SOURCE_BYTES,
    "signs": "-" * SOURCE_BYTES,
    "digits that fit": "9" * (SOURCE_BYTES - 1),
    "many names": "$jso+" * (SOURCE_BYTES // 5),
    "choices": "1?" * (SOURCE_BYTES // 2),
    "unicode": "é" * SOURCE_BYTES,
}


@pytest.mark.parametrize("name", SOURCES)
def test_a_hostile_source_is_refused_quickly(name: str) -> None:
    assert isinstance(bounded(lambda: parse(SOURCES[name])), ExpressionError)


TEMPLATES: dict[str, Any] = {
    "openings": "{{" * (MEGABYTE // 2),
    "placeholders": "{{1}}" * (MEGABYTE // 5),
    "empty placeholders": "{{}}" * (MEGABYTE // 4),
    "open texts": "{{ ' }}" * (MEGABYTE // 7),
    "list": ["{{1}}"] * (MEGABYTE // 9),
}


@pytest.mark.parametrize("name", TEMPLATES)
def test_a_hostile_template_is_refused_quickly(name: str) -> None:
    assert isinstance(bounded(lambda: compile_template(TEMPLATES[name])), ExpressionError)
    assert bounded(lambda: compile_errors(TEMPLATES[name])) != []


def test_limits_of_a_source_are_met_exactly() -> None:
    longest = "'" + "a" * (SOURCE_BYTES - 2) + "'"
    assert len(parse(longest).evaluate({})) == SOURCE_BYTES - 2
    assert compile_template("{{" + longest + "}}").render({}) == longest[1:-1]
    for source in (longest + " ", longest[:-1] + "é'"):
        with pytest.raises(ExpressionError, match="longer than 4096 bytes"):
            parse(source)
    with pytest.raises(ExpressionError, match="longer than 4096 bytes"):
        compile_template("{{ " + longest + "}}")
    assert parse("(" * 31 + "1" + ")" * 31).evaluate({}) == 1
    with pytest.raises(ExpressionError, match="nested deeper than 32 at column 33"):
        parse("(" * 32 + "1" + ")" * 32)
    assert parse("+".join(["1"] * 128)).evaluate({}) == 128
    with pytest.raises(ExpressionError, match="more than 256 parts"):
        parse("!!" + "+".join(["data"] * 128))


def test_limits_of_a_result_are_met_exactly() -> None:
    fits = "x" * (RESULT_BYTES - 8)
    assert parse("data").evaluate({"data": fits}) == fits
    assert len(parse("data").evaluate({"data": [0] * (ITEMS - 1)})) == ITEMS - 1
    for too_large in (fits + "x", [0] * ITEMS, {"k": fits[:-8]}, ["é" * (RESULT_BYTES // 2)]):
        with pytest.raises(ExpressionError, match="larger than 1 MiB"):
            parse("data").evaluate({"data": too_large})


def test_a_result_may_not_be_nested_too_deep_or_contain_itself() -> None:
    deep: Any = 0
    for _ in range(64):
        deep = [deep]
    assert parse("data").evaluate({"data": deep}) == deep
    around: list[Any] = []
    around.append(around)
    for source, data in (("[data]", deep), ("data", around), ("data == data", around), ("json(data)", around)):
        with pytest.raises(ExpressionError, match="nested deeper than 64"):
            parse(source).evaluate({"data": data})


class Endless(Mapping[str, Any]):
    """A mapping without an end, whatever it says of its length."""

    def __init__(self, length: int) -> None:
        self.length = length

    def __getitem__(self, key: str) -> Any:
        return 1

    def __iter__(self) -> Iterator[str]:
        number = 0
        while True:
            number += 1
            yield str(number)

    def __len__(self) -> int:
        return self.length


LARGE: dict[str, Any] = {
    "text": "a" * MEGABYTE,
    "half": "a" * (MEGABYTE // 2),
    "short": "a" * 100_000,
    "pairs": "ab" * (MEGABYTE // 4),
    "accents": "é" * (MEGABYTE // 2),
    "faces": "😀" * (MEGABYTE // 4),
    "control": "\x01" * (MEGABYTE // 2),
    "gigantic": "a" * 30_000_000,
    "needle": "a" * 99 + "b",
    "spaces": " " * (MEGABYTE - 8),
    "wholes": list(range(100_000)),
    "million": list(range(1_000_000)),
    "floats": [0.1] * 100_000,
    "texts": ["x"] * 100_000,
    "objects": [{}] * 100_000,
    "lists": [[]] * 120_000,
    "object": {str(number): number for number in range(60_000)},
    "other": {str(number): number for number in range(60_000)},
    "nested": [[[number] for number in range(100)] for _ in range(300)],
    "nested2": [[[number] for number in range(100)] for _ in range(300)],
    "json": "[" + ",".join(["1"] * 120_000) + "]",
    "json objects": "[" + ",".join(['{"a":1}'] * 30_000) + "]",
    "json lists": "[" + ",".join(["[]"] * 60_000) + "]",
    "json deep": "[" * 500_000,
    "json digits": "9" * 5000,
    "endless": Endless(1 << 40),
    "lying": Endless(5),
}


def repeated(part: str, glue: str, times: int) -> str:
    return glue.join([part] * times)


WORK = [
    repeated("data.wholes == data.million || data.nested == data.nested2", " && ", 20),
    repeated("data.object == data.other", " && ", 30),
    repeated("(-1 in data.wholes)", " || ", 30),
    repeated("('y' in data.texts)", " || ", 30),
    repeated("([1] in data.objects)", " || ", 25),
    repeated("(data.needle in data.text)", " || ", 25),
    repeated("len(upper(data.accents))", "+", 40),
    repeated("len(lower(data.faces))", "+", 40),
    repeated("len(trim(data.spaces))", "+", 40),
    repeated("len(replace(data.half, 'a', 'bc'))", "+", 25),
    repeated("len(replace(data.pairs, 'ab', 'ba'))", "+", 25),
    repeated("len(split(data.short, 'a'))", "+", 30),
    repeated("len(join(data.floats, ','))", "+", 30),
    repeated("len(join(data.lists, ','))", "+", 30),
    repeated("len(json(data.object))", "+", 40),
    repeated("len(json(data.control))", "+", 40),
    *(repeated(f"len(parseJson(data['{name}']))", "+", 40) for name in LARGE if name.startswith("json")),
    repeated("sum(data.million)", "+", 40),
    repeated("sum(data.wholes)", "+", 40),
    repeated("max(data.texts)", " + ", 40),
    repeated("data.wholes", "+", 40),
    "[" + repeated("data.half + 'x'", ",", 50) + "]",
    "[" + repeated("data.faces + 'x'", ",", 50) + "]",
    "[" + repeated("split(data.short, 'a')", ",", 50) + "]",
    "[" + repeated("keys(data.object)", ",", 50) + "]",
    "[" + repeated("slice(data.wholes, 0)", ",", 50) + "]",
    "[" + repeated("parseJson(data['json objects'])", ",", 50) + "]",
    "[" + repeated("data.text", ",", 80) + "]",
    "data",
    "data.million",
    "data.gigantic",
    "data.gigantic + data.gigantic",
    "upper(data.gigantic)",
    "replace(data.gigantic, 'a', data.half)",
    "replace(data.half, 'a', data.half)",
    "join(data.wholes, data.text)",
    "split(data.gigantic, 'a')",
    "slice(data.gigantic, 1)",
    "json(data.gigantic)",
    "data.endless",
    "json(data.endless)",
    "json(data.lying)",
    "data.lying",
    "keys(data.endless)",
    "data.endless == data.object",
    "str(data.endless)",
]


@pytest.mark.parametrize("source", WORK)
def test_work_on_large_data_is_bounded(source: str) -> None:
    expression = parse(source)
    outcome = bounded(lambda: expression.evaluate({"data": LARGE}))
    assert isinstance(outcome, ExpressionError | int | bool)


@pytest.mark.parametrize(
    ("source", "part"),
    [
        ("len(json(data.control))", "larger than 1 MiB"),
        ("len(replace(data.short, 'a', '0123456789012345'))", "larger than 1 MiB"),
        ("len(join(data.texts, '01234567890123456789'))", "larger than 1 MiB"),
        ("len(data.half + data.half + 'x')", "larger than 1 MiB"),
        ("len(slice(data.gigantic, 1, 1100000))", "larger than 1 MiB"),
        ("join([data.half, data.half, 'x'])", "larger than 1 MiB"),
        ("replace(data.half, 'a', data.half)", "larger than 1 MiB"),
        ("join(data.texts, data.text)", "larger than 1 MiB"),
        ("len(data.wholes + data.wholes)", "more than 131072 items"),
        ("len(split(replace(data.short, 'a', 'bb'), 'b'))", "more than 131072 items"),
        ("len(slice(data.million, 0))", "more than 131072 items"),
        ("data.lists == slice(data.lists, 0)", "too much work"),
        ("sum(data.million)", "too much work"),
        ("[1] in data.million", "too much work"),
        ("json(data.endless)", "larger than 1 MiB"),
        ("json(data.lying)", "too much work"),
        ("keys(data.endless)", "more than 131072 items"),
    ],
)
def test_too_large_is_said_before_the_work_is_done(source: str, part: str) -> None:
    with pytest.raises(ExpressionError) as caught:
        parse(source).evaluate({"data": LARGE})
    assert part in caught.value.message


def test_the_same_expression_on_the_same_data_always_ends_the_same_way() -> None:
    for size in (99_000, 100_000, 101_000, 200_001):
        ends = set()
        for _ in range(3):
            try:
                ends.add(str(parse("sum(data) + sum(data)").evaluate({"data": [1] * size})))
            except ExpressionError as error:
                ends.add(error.message)
        assert len(ends) == 1
