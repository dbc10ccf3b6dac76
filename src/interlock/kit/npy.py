"""Arrays of numpy as they lie in files, read without numpy: the numbers alone, nothing that could run."""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Sequence
from typing import Any

import msgspec

_MAGIC = b"\x93NUMPY"
_HEADER = re.compile(
    r"\{'descr': '([<>|])([a-z])(\d{1,2})', 'fortran_order': (True|False), "
    r"'shape': \(((?:\d{1,9}, ?)*\d{0,9})\), \} *\n"
)
_CODES = {"b1": "?", "f2": "e", "f4": "f", "f8": "d"} | {
    f"{kind}{size}": code if kind == "i" else code.upper()
    for kind in "iu"
    for size, code in ((1, "b"), (2, "h"), (4, "i"), (8, "q"))
}
_LONGEST, _MOST_AXES = 1_024, 32
"""Bytes of a head, and axes; those of honest arrays are shorter and fewer."""
_FEWEST = 2
"""Bytes of JSON that a number takes at least, and a pair of brackets: itself and what parts it from the next."""


def as_json(content: bytes, most: int) -> bytes | None:
    """The lists of numbers that an array is, as JSON.

    None for what is no such file, or holds what JSON has not (complex numbers, infinities …), or would be more than
    ``most`` bytes.
    """
    head = _head(content)
    if head is None:
        return None
    code, is_fortran, shape, start = head
    count = math.prod(shape)
    lists = sum(math.prod(shape[:axis]) for axis in range(len(shape)))
    if 0 in shape or (count + lists) * _FEWEST > most or len(content) - start != struct.calcsize(code) * count:
        return None
    numbers = struct.unpack_from(f"{code[0]}{count}{code[1]}", content, start)
    if code[1] in "efd" and not all(map(math.isfinite, numbers)):
        return None
    nested = _by_columns(numbers, shape, _strides(shape)) if is_fortran else _by_rows(numbers, shape)
    text = msgspec.json.encode(nested)
    return text if len(text) <= most else None


def _head(content: bytes) -> tuple[str, bool, list[int], int] | None:
    """How numbers are written (as ``struct`` says it), whether columns come first, the shape, where they begin."""
    if content[:6] != _MAGIC or len(content) < 12:
        return None
    width = 2 if content[6] == 1 else 4
    start = 8 + width + int.from_bytes(content[8 : 8 + width], "little")
    found = _HEADER.fullmatch(content[8 + width : start].decode("latin-1")) if start <= _LONGEST else None
    if found is None or (code := _CODES.get(found[2] + found[3])) is None:
        return None
    shape = [int(size) for size in re.findall(r"\d+", found[5])]
    order = "<" if found[1] == "|" else found[1]
    return (order + code, found[4] == "True", shape, start) if len(shape) <= _MOST_AXES else None


def _by_rows(numbers: Sequence[Any], shape: Sequence[int]) -> Any:
    """The numbers as lists of lists, from the innermost out: an image has a million of these."""
    for size in reversed(shape[1:]):
        numbers = list(zip(*[iter(numbers)] * size, strict=True))
    return numbers if shape else numbers[0]


def _strides(shape: Sequence[int]) -> list[int]:
    """How far apart the numbers of each axis are where columns come first."""
    return [math.prod(shape[:axis]) for axis in range(len(shape))]


def _by_columns(numbers: Sequence[Any], shape: Sequence[int], strides: Sequence[int], at: int = 0) -> Any:
    if not shape:
        return numbers[at]
    (size, *inner), (stride, *others) = shape, strides
    if not inner:
        return numbers[at : at + stride * (size - 1) + 1 : stride]
    return [_by_columns(numbers, inner, others, at + stride * index) for index in range(size)]
