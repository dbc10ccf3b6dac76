"""Arrays of numpy as lists: what numpy itself says, and nothing for what is no array or no JSON."""

from __future__ import annotations

import io
import json
import math
from typing import Any

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.kit.npy import as_json

MOST = 1 << 20
TYPES = [
    "?",
    *(f"{order}{kind}{size}" for order in "<>" for kind in "iu" for size in (1, 2, 4, 8)),
    "<f2",
    ">f4",
    "<f8",
]


def saved(array: Any) -> bytes:
    file = io.BytesIO()
    numpy.save(file, array, allow_pickle=False)
    return file.getvalue()


@given(
    type_=st.sampled_from(TYPES),
    shape=st.lists(st.integers(1, 4), max_size=4),
    by_columns=st.booleans(),
    seed=st.integers(0, 2**32 - 1),
)
def test_they_are_the_lists_of_numpy(type_: str, shape: list[int], by_columns: bool, seed: int) -> None:
    numbers = numpy.random.default_rng(seed).integers(0, 100, size=shape)
    array = numpy.asarray(numbers / 7 if "f" in type_ else numbers, dtype=type_, order="F" if by_columns else "C")
    text = as_json(saved(array), MOST)
    assert text is not None
    assert json.loads(text) == array.tolist()


@pytest.mark.parametrize(
    "array",
    [
        numpy.array([1.0, math.nan]),
        numpy.array([[math.inf]]),
        numpy.array([1j]),
        numpy.zeros((0, 5)),
        numpy.array(["text"]),
        numpy.array([1], dtype="M8[s]"),
        numpy.zeros(2, dtype=[("a", "<i4")]),
        numpy.zeros(1, dtype=numpy.longdouble),
        numpy.zeros(MOST, dtype="u1"),
        numpy.full(MOST // 3, 1 / 3),
        numpy.zeros((MOST // 8, *(1,) * 31)),
    ],
    ids=lambda array: f"{array.dtype} {array.shape[:2]}",
)
def test_what_has_no_lists_is_left(array: Any) -> None:
    assert as_json(saved(array), MOST) is None


GOOD = saved(numpy.arange(3.0))


@given(
    st.binary(max_size=200)
    | st.builds(lambda at, more: GOOD[:at] + more + GOOD[at + len(more) :], st.integers(0, 200), st.binary(max_size=4))
)
def test_no_bytes_break_it(content: bytes) -> None:
    text = as_json(content, MOST)
    assert text is None or isinstance(json.loads(text), int | float | bool | list)


@pytest.mark.parametrize(
    "shape", ["(" + "9" * 900 + ")", "(9999999, 9999999, 9999999)", "(" + "1, " * 40 + ")", "(-1,)"]
)
def test_a_head_that_lies_costs_nothing(shape: str) -> None:
    head = f"{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    assert as_json(b"\x93NUMPY\x01\x00" + len(head).to_bytes(2, "little") + head + bytes(64), MOST) is None
