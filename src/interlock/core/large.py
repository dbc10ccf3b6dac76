"""Large values within others: where they are, and how they are taken out and put back.

A path names a value within the fields of an event or a row: the field, and behind each ``/`` a key of the objects in
it. ``~1`` in a key stands for ``/`` and ``~0`` for ``~``, as in a JSON Pointer.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

import msgspec

from interlock.core.parcel import Parcel

T = TypeVar("T", bound=msgspec.Struct)

OMITTED = "$omitted"
"""Key of an object that stands for a value too large to show: ``{"$omitted": {"sha256": …}}``."""

_DEEPEST = 4


def omitted(sha256: str) -> dict[str, Any]:
    """What is shown in the place of a large value."""
    return {OMITTED: {"sha256": sha256}}


def leaves(path: str, value: Any, depth: int = 0) -> Iterator[tuple[str, Any]]:
    """The lists, texts and parcels within the objects of a value, by path; what lies too deep is a leaf itself."""
    if type(value) is dict and depth < _DEEPEST:
        for key, item in value.items():
            yield from leaves(f"{path}/{_escaped(key)}", item, depth + 1)
    elif type(value) in (list, str, dict, Parcel):
        yield path, value


def put(value: Any, path: str, item: Any) -> Any:
    """A copy of the value of a field with ``item`` in the place the path names; the rest is shared."""
    _, *keys = path.split("/")
    return _put(value, [key.replace("~1", "/").replace("~0", "~") for key in keys], item)


def put_into(noun: T, path: str, item: Any) -> T:
    """The same for an event or a row: its fields are the first step of the path."""
    field = field_of(path)
    return msgspec.structs.replace(noun, **{field: put(getattr(noun, field), path, item)})


def put_back(noun: T, refs: Mapping[str, str], values: Mapping[str, Any]) -> T:
    """The event or row with its large values in place; ``values`` has them by SHA-256, what it lacks is omitted.

    A value that lies in another one comes behind it in ``refs``.
    """
    for path, sha256 in refs.items():
        noun = put_into(noun, path, values[sha256] if sha256 in values else omitted(sha256))
    return noun


def field_of(path: str) -> str:
    """The field a path begins with."""
    return path.partition("/")[0]


def _put(value: Any, keys: list[str], item: Any) -> Any:
    if not keys:
        return item
    if type(value) is not dict or keys[0] not in value:  # what it lies in is a large value itself, and is not shown
        return value
    return {**value, keys[0]: _put(value[keys[0]], keys[1:], item)}


def _escaped(key: Any) -> str:
    return str(key).replace("~", "~0").replace("/", "~1")
