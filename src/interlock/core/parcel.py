"""Large values on their way from task to task: nobody on the way opens them.

What a sandbox gives is *packed*: bytes and what they are. Once these are stored they are a *parcel*, which is all that
the engine knows of them. Neither can be written as JSON by itself, so that none gets anywhere by mistake.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

JSON = "application/json"
DEEPEST = 3
"""Objects around a parcel at most, so that it lies no deeper in an event than large values are looked for."""
Place = tuple[int | str, ...]
"""Keys from the outermost object inwards; before them, in a list of objects, which one of these."""


class Packed:
    """The bytes of a value; JSON ones are its text."""

    __slots__ = ("content", "content_type")

    def __init__(self, content: bytes, content_type: str = JSON) -> None:
        self.content = content
        self.content_type = content_type

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Packed) and (self.content, self.content_type) == (other.content, other.content_type)

    def __hash__(self) -> int:
        return hash((self.content, self.content_type))


class Parcel:
    """A value by the digest of its bytes, which are stored as a blob of the tenant. ``size`` is bytes, 0: not known."""

    __slots__ = ("content_type", "sha256", "size")

    def __init__(self, sha256: str, size: int = 0, content_type: str = JSON) -> None:
        self.sha256 = sha256
        self.size = size
        self.content_type = content_type

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Parcel) and (self.sha256, self.content_type) == (other.sha256, other.content_type)

    def __hash__(self) -> int:
        return hash((self.sha256, self.content_type))


def find(value: Any, kind: type, depth: int = 0) -> Iterator[tuple[Place, Any]]:
    """Where in an object, or in the objects of a list, values of a kind are: under at most ``DEEPEST`` keys."""
    if type(value) is list and not depth:
        for member, each in enumerate(value):
            for place, item in find(each, kind, 1) if type(each) is dict else ():
                yield (member, *place), item
    elif type(value) is dict:
        for key, item in value.items():
            if type(item) is kind:
                yield (key,), item
            elif type(item) is dict and max(depth, 1) < DEEPEST:
                for place, inner in find(item, kind, max(depth, 1) + 1):
                    yield (key, *place), inner


def exchange(value: Any, kind: type, make: Callable[[Any], Any]) -> Any:
    """A copy of the value with another item for each of a kind in it; itself if there is none. The rest is shared."""
    for place, item in list(find(value, kind)):
        value = _put(value, place, make(item))
    return value


def insert(value: Any, place: Place, item: Any) -> None:
    """Put an item where ``find`` may find it. Raises LookupError or TypeError if the value has no such place."""
    for step in place[:-1]:
        value = value[step]
    if type(value) is not dict or not place or place[-1] not in value:
        raise LookupError("there is no such place")
    value[place[-1]] = item


def _put(value: Any, place: Place, item: Any) -> Any:
    if not place:
        return item
    copy = value.copy()
    copy[place[0]] = _put(value[place[0]], place[1:], item)
    return copy
