"""Values that are JSON already: told without writing and reading them, which for large ones costs much more."""

from __future__ import annotations

import math
from collections.abc import Collection
from typing import Any

import msgspec

_ATOMS = frozenset((type(None), bool, int, float, str))
_NUMBERS = frozenset((bool, int, float))
_CONTAINERS = frozenset((dict, list))
_PLAIN = _ATOMS | _CONTAINERS
_MANY = 4096
"""Lists and objects in one value, above which to look at each costs more than to write and read it."""
_ATOM = 25
"""Bytes that a number, true, false or null has at most, with what stands behind it."""
_CHARACTER = 6
"""Bytes of JSON that one character has at most: ``\u0001``."""
_AROUND = 4
"""Bytes around a text, a list or an object: what begins and ends it, and what stands behind it."""
_pack = msgspec.msgpack.Encoder().encode


def is_plain(value: Any, *, max_bytes: int, max_keys: int, max_depth: int = 64) -> bool:
    """Whether ``strict_json.decode`` would read the very same from the value's JSON, within the same bounds.

    False also means that this cannot be told quickly: then write it and read it back.
    """
    try:
        _pack(value)  # much the fastest way to meet whole numbers beyond 64 bits, lone surrogates and endless nesting
    except (TypeError, ValueError, OverflowError, RecursionError):
        return False
    most = _most_bytes(value, max_keys, max_depth)
    return most is not None and (most <= max_bytes or len(msgspec.json.encode(value)) <= max_bytes)


def _most_bytes(value: Any, max_keys: int, max_depth: int) -> int | None:
    """What the value's JSON has at most; None if it is not plain, or of too many parts."""
    most = keys = containers = 0
    level: list[Collection[Any]] = [[value]]
    for _ in range(max_depth + 1):
        below: list[Collection[Any]] = []
        for items in level:
            kinds = frozenset(map(type, items))
            if not _are_plain(items, kinds):
                return None
            most += _ATOM * len(items) + (_of_texts(items) if str in kinds else 0)
            inner = [item for item in items if type(item) in _CONTAINERS] if kinds & _CONTAINERS else []
            containers += len(inner)
            if containers > _MANY:
                return None
            for item in inner:
                if type(item) is dict:
                    keys += len(item)
                    if not _are_keys(item):
                        return None
                    most += _of_texts(item)
                    item = item.values()  # noqa: PLW2901 - what it holds is what matters
                below.append(item)
        if not below:
            return most if keys <= max_keys else None
        level = below
    return None


def _of_texts(items: Collection[Any]) -> int:
    return sum(_CHARACTER * len(item) + _AROUND for item in items if type(item) is str)


def _are_plain(items: Collection[Any], kinds: frozenset[type]) -> bool:
    """Whether the items are of JSON's types, and those that hold nothing else are what JSON can hold."""
    if not kinds <= _PLAIN or (float in kinds and not _are_finite(items, kinds)):
        return False
    return str not in kinds or not any("\0" in item for item in items if type(item) is str)


def _are_finite(items: Collection[Any], kinds: frozenset[type]) -> bool:
    """Whether no number is infinite or none at all. A finite sum says so at once."""
    if kinds <= _NUMBERS and math.isfinite(sum(items)):
        return True
    return all(math.isfinite(item) for item in items if type(item) is float)


def _are_keys(entries: dict[Any, Any]) -> bool:
    return all(type(key) is str and "\0" not in key for key in entries)
