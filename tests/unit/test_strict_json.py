"""Strict JSON: what is refused, what is kept, and that nothing else ever comes out."""

from __future__ import annotations

import datetime
import json
import math
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.kit.strict_json import StrictJsonError, decode, encode, read_back
from timing import least_cpu_seconds

MIB = 1_048_576
BIGGEST_INT = 10**4300 - 1

LOOP: list[Any] = []
LOOP.append(LOOP)
_REFUSED = object()

text = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(10**400), 10**400)
    | st.floats(allow_nan=False, allow_infinity=False)
    | text
)
json_values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=8) | st.dictionaries(text, inner, max_size=8), max_leaves=60
)

BAD_BODIES = {
    "nothing": b"",
    "white space only": b" \r\n\t",
    "NaN": b"NaN",
    "NaN inside": b'{"a": NaN}',
    "Infinity": b"[Infinity]",
    "minus Infinity": b"[-Infinity]",
    "float out of range": b"1e999",
    "negative float out of range": b'{"a": -1e999}',
    "raw NUL in a string": b'"a\x00b"',
    "NUL between values": b"[1,\x00 2]",
    "escaped NUL": b'"a\\u0000b"',
    "escaped NUL after an escaped backslash": b'"\\\\\\u0000"',
    "escaped NUL in a key": b'{"\\u0000": 1}',
    "lone high surrogate": b'"\\ud800"',
    "lone high surrogate before text": b'"\\ud800abcdef"',
    "two high surrogates": b'"\\ud800\\ud800"',
    "lone low surrogate": b'"\\udc00"',
    "surrogate in UTF-8": b'"\xed\xa0\x80"',
    "overlong UTF-8": b'"\xc0\xaf"',
    "not UTF-8": b'"\xff"',
    "latin-1": '"\u00e9"'.encode("latin-1"),
    "UTF-8 byte order mark": b"\xef\xbb\xbf{}",
    "UTF-16": '{"a": 1}'.encode("utf-16"),
    "UTF-16 without mark": '{"a": 1}'.encode("utf-16-le"),
    "UTF-32": '{"a": 1}'.encode("utf-32"),
    "duplicate key": b'{"a": 1, "a": 1}',
    "duplicate key, deep": b'[{"b": [{"a": 1, "c": 2, "a" : 3}]}]',
    "duplicate key, one spelt with escapes": b'{"a": 1, "\\u0061": 2}',
    "duplicate key, colon after a line break": b'{"a"\n: 1, "a"\r\n\t: 2}',
    "depth 65": b"[" * 65 + b"]" * 65,
    "depth 65 by objects": b'{"a":' * 65 + b"1" + b"}" * 65,
    "depth 900": b"[" * 900 + b"]" * 900,
    "depth 100,000": b"[" * 100_000 + b"]" * 100_000,
    "depth 100,000, never closed": b'{"a":[' * 50_000,
    "10,001 keys": encode({str(n): n for n in range(10_001)}),
    "100,000 keys": encode({str(n): 0 for n in range(100_000)}),
    "10,001 keys in many objects": b"[" + b",".join([b'{"a":1}'] * 10_001) + b"]",
    "integer of 5,000 digits": b"9" * 5000,
    "negative integer of 5,000 digits": b"[-" + b"9" * 5000 + b"]",
    "1 MiB of digits": b"9" * MIB,
    "trailing value": b"{} {}",
    "trailing comma": b"[1,]",
    "trailing text": b"[1] x",
    "cut off": b'{"a": [1, 2',
    "single quotes": b"{'a': 1}",
    "comment": b"[1] // one",
    "number as key": b"{1: 2}",
    "leading zero": b"01",
    "plus sign": b"+1",
    "bare point": b"1.",
    "line break in a string": b'"a\nb"',
    "unknown escape": b'"\\x41"',
    "Python literal": b"True",
    "10 MB string": b'"' + b"a" * 10_000_000 + b'"',
}


@pytest.mark.parametrize("body", BAD_BODIES.values(), ids=BAD_BODIES.keys())
def test_a_bad_body_is_refused_within_100_ms_of_cpu(body: bytes) -> None:
    def refuse() -> None:
        with pytest.raises(StrictJsonError) as refused:
            decode(body)
        assert refused.value.reason

    assert least_cpu_seconds(refuse) < 0.1


@pytest.mark.parametrize(
    ("body", "value"),
    [
        (b" \r\n\t{} ", {}),
        (b"null", None),
        (b"[true, false]", [True, False]),
        (b'{"a": 1, "b": {"a": 2}}', {"a": 1, "b": {"a": 2}}),
        (b'[{"a": 1}, {"a": 1}]', [{"a": 1}, {"a": 1}]),
        (b'{"a": "\\"b\\": : :", "b" : "x :"}', {"a": '"b": : :', "b": "x :"}),
        (b'{"": 1, " ": 2}', {"": 1, " ": 2}),
        (b'"\\\\u0000"', "\\u0000"),
        (b'"\\ud83d\\ude00"', "\U0001f600"),
        ('"\U0001f600\ufeff\x7f"'.encode(), "\U0001f600\ufeff\x7f"),
        (b"18446744073709551616", 2**64),
        (b"1e-999", 0.0),
        (b"9" * 4300, BIGGEST_INT),
    ],
)
def test_a_good_body_keeps_its_value(body: bytes, value: object) -> None:
    decoded = decode(body)
    assert decoded == value
    assert type(decoded) is type(value)


def test_the_limits_themselves_are_allowed() -> None:
    deepest = b"[" * 64 + b"]" * 64
    assert decode(deepest) == json.loads(deepest)
    assert len(decode(encode({str(n): n for n in range(10_000)}))) == 10_000
    longest = b'"' + b"a" * (MIB - 2) + b'"'
    assert len(decode(longest)) == MIB - 2


def test_the_limits_can_be_changed_by_the_caller() -> None:
    assert decode(b"[[[]]]", max_depth=3) == [[[]]]
    assert decode(b'{"a": 1}', max_keys=1) == {"a": 1}
    assert decode(b"[]", max_bytes=2) == []
    assert decode(b"1", max_depth=0) == 1
    for body, limit in ((b"[[[]]]", "max_depth"), (b'{"a": 1, "b": {"c": 2}}', "max_keys"), (b"[1]", "max_bytes")):
        with pytest.raises(StrictJsonError):
            decode(body, **{limit: 2})


def test_only_a_body_over_its_byte_limit_is_too_large() -> None:
    with pytest.raises(StrictJsonError) as refused:
        decode(b" " * (MIB + 1))
    assert refused.value.too_large
    assert str(MIB) in str(refused.value)
    with pytest.raises(StrictJsonError) as refused:
        decode(b"[" * MIB)
    assert not refused.value.too_large


@pytest.mark.parametrize(
    ("body", "reason", "position"),
    [
        (b"", "empty body", None),
        (b'{"a": x}', "invalid character", 6),
        (b'["ok", "\\u0000"]', "NUL", 8),
        (b'["ok", "\xff"]', "not UTF-8", 8),
        (b"\xef\xbb\xbf{}", "byte order mark", 0),
        (b'{"twice": 1, "twice": 2}', "'twice'", None),
        (b'"\\ud800"', "surrogate", None),
    ],
)
def test_the_error_says_what_is_wrong_and_where(body: bytes, reason: str, position: int | None) -> None:
    with pytest.raises(StrictJsonError, match=reason) as refused:
        decode(body)
    assert refused.value.position == position


@given(json_values)
def test_every_json_value_comes_back_from_its_own_encoding(value: Any) -> None:
    assert decode(encode(value)) == value


@pytest.mark.parametrize("style", [{}, {"indent": 1}, {"separators": (" ,\n", "\t:\r\n")}, {"ensure_ascii": False}])
@given(value=json_values)
def test_every_json_value_is_read_in_any_layout(style: dict[str, Any], value: Any) -> None:
    assert decode(json.dumps(value, **style).encode()) == value


@given(st.binary(max_size=200))
def test_arbitrary_bytes_give_a_value_or_a_strict_json_error(body: bytes) -> None:
    _value_or_refusal(body)


@given(st.lists(st.sampled_from([*'[]{}:,"\\0123u.eE-+ntrd \n', "null", '"a":', "\\ud800"]), max_size=40))
def test_text_made_of_json_pieces_is_read_as_the_standard_library_reads_it_or_refused(pieces: list[str]) -> None:
    body = "".join(pieces).encode()
    value = _value_or_refusal(body)
    if value is not _REFUSED:
        assert json.loads(body) == value


@given(st.dictionaries(text, scalars, min_size=1, max_size=5), st.data())
def test_a_repeated_key_is_found_wherever_it_stands(members: dict[str, Any], data: st.DataObject) -> None:
    pairs = data.draw(st.permutations([*members, data.draw(st.sampled_from(list(members)))]))
    spelt = data.draw(st.sampled_from(["%s:%s", "%s :\t%s", "%s\n: %s"]))
    body = "{" + ",".join(spelt % (json.dumps(key), json.dumps(members[key])) for key in pairs) + "}"
    with pytest.raises(StrictJsonError, match="twice"):
        decode(body.encode())


@pytest.mark.parametrize("make", [lambda: "\ud800", object, lambda: {None: 1}, lambda: 10**4300, lambda: LOOP])
def test_what_json_cannot_hold_is_not_written(make: Callable[[], object]) -> None:
    with pytest.raises(StrictJsonError):
        encode(make())


def test_numbers_json_does_not_know_are_written_as_null() -> None:
    assert encode([math.nan, math.inf, -math.inf]) == b"[null,null,null]"


def _value_or_refusal(body: bytes) -> Any:
    try:
        return decode(body)
    except StrictJsonError:
        return _REFUSED


@pytest.mark.parametrize("value", [None, True, 1.5, "text", [1, {"a": [None]}], {}, {"k": "v"}, 2**60])
def test_json_is_read_back_as_it_is(value: object) -> None:
    assert read_back(value, max_bytes=100, max_keys=10) == value


@pytest.mark.parametrize(
    "value",
    [
        float("nan"),
        [float("inf")],
        {1, 2},
        (1, 2),
        {1: "a"},
        b"bytes",
        {"d": datetime.date(2026, 1, 1)},
        object(),
        "x" * 200,
    ],
)
def test_what_json_would_change_is_not_read_back(value: object) -> None:
    with pytest.raises(StrictJsonError):
        read_back(value, max_bytes=100, max_keys=10)
