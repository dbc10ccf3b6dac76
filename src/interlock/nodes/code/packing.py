"""What a function gets and gives, as bytes: large values that another function reads and nobody between."""

from __future__ import annotations

from typing import Any

import msgspec

from interlock.core.parcel import DEEPEST, Packed, exchange

LEAST = 32 * 1024
"""Bytes of JSON of a list or a text that is worth being packed."""


def open_packed(arguments: Any) -> Any:
    """The arguments as JSON values."""
    return exchange(arguments, Packed, lambda packed: msgspec.json.decode(packed.content))


def pack_large(result: Any, depth: int = 0) -> Any:
    """A copy of a result, which is JSON, with its large lists and texts packed, in objects up to ``DEEPEST`` deep.

    A list is that of the results of a batch.
    """
    if type(result) is list:
        return [pack_large(each) for each in result]
    if type(result) is not dict:
        return result
    return {key: _packed(value, depth + 1) for key, value in result.items()}


def _packed(value: Any, depth: int) -> Any:
    if type(value) is dict and depth < DEEPEST:
        return pack_large(value, depth)
    if type(value) is list or (type(value) is str and len(value) * 4 > LEAST):
        content = msgspec.json.encode(value)
        return Packed(content) if len(content) >= LEAST else value
    return value
