"""What is taken for JSON without writing it is JSON, and is read back the same."""

from __future__ import annotations

import datetime
import math
from collections import OrderedDict
from enum import StrEnum
from typing import Any

import pytest
from hypothesis import given

from interlock.kit import strict_json
from interlock.kit.plain_json import is_plain
from timing import least_cpu_seconds
from unit.test_strict_json import json_values

BOUNDS = {"max_bytes": 1_048_576, "max_keys": 10_000}
LOOP: list[Any] = []
LOOP.append(LOOP)


class Word(StrEnum):
    A = "a"


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


FOREIGN = {
    "tuple": (1, 2),
    "set": {1},
    "bytes": b"a",
    "date": datetime.date(2026, 1, 1),
    "text of a kind": Word.A,
    "dict of a kind": OrderedDict(a=1),
    "key that is a number": {1: 2},
    "NaN": [1.0, math.nan],
    "infinity": {"a": math.inf},
    "infinities that cancel out": [math.inf, -math.inf],
    "NUL": ["a\0"],
    "NUL in a key": {"a\0": 1},
    "NUL among others": ["a", 1, {"b": ["\0"]}],
    "lone surrogate": "\ud800",
    "loop": LOOP,
    "too deep": nested(65),
    "too many keys": {str(number): 1 for number in range(10_001)},
    "too many bytes": "a" * 1_048_576,
    "too many bytes once written": "\1" * 200_000,
    "a whole number beyond 64 bits": 2**64,
}


@pytest.mark.parametrize("value", FOREIGN.values(), ids=FOREIGN.keys())
def test_what_is_not_read_back_the_same_is_not_plain(value: Any) -> None:
    assert not is_plain(value, **BOUNDS)
    assert not is_plain({"inside": [value]}, **BOUNDS)


@given(json_values)
def test_what_is_plain_is_read_back_the_same(value: Any) -> None:
    if is_plain(value, **BOUNDS):
        assert strict_json.decode(strict_json.encode(value), **BOUNDS) == value


@pytest.mark.parametrize("value", [None, True, 1, 1.5, 1e308, "ä", [], {}, [1e308, 1e308], nested(64), [2**63, 0.5]])
def test_plain_values_are_seen(value: Any) -> None:
    assert is_plain(value, **BOUNDS)


def test_a_large_list_of_numbers_costs_less_than_to_write_and_read_it() -> None:
    rows = {"rows": [number * 1.0000001 for number in range(200_000)]}
    bounds = {"max_bytes": 16 * 1_048_576, "max_keys": 10}
    quick = least_cpu_seconds(lambda: is_plain(rows, **bounds))
    assert quick < least_cpu_seconds(lambda: strict_json.decode(strict_json.encode(rows), **bounds))
