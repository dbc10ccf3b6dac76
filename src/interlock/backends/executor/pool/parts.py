"""Packed values in messages: their bytes stand behind it as they are, and in it where they belong.

Such a message is a zero byte, four bytes that give the length of the message by itself, this, and the contents.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from interlock.core.parcel import Packed, Place, exchange, find, insert

LENGTH = 4
MARK = b"\0"
"""What a message with contents begins with; no other does."""


class Part(msgspec.Struct, frozen=True):
    """Where a packed value belongs. ``size`` is bytes."""

    place: Place
    size: int
    content_type: str


def take_apart(value: Any) -> tuple[Any, tuple[Part, ...], list[bytes]]:
    """The value with nothing in the places of packed values, which places these are, and their contents."""
    found = list(find(value, Packed))
    if not found:
        return value, (), []
    parts = tuple(Part(place, len(packed.content), packed.content_type) for place, packed in found)
    return exchange(value, Packed, lambda _: None), parts, [packed.content for _, packed in found]


def put_together(value: Any, parts: Sequence[Part], contents: bytes | memoryview) -> None:
    """Put packed values in their places.

    Raises msgspec.ValidationError if they do not fit.
    """
    at = 0
    for part in parts:
        try:
            insert(value, part.place, Packed(bytes(contents[at : at + part.size]), part.content_type))
        except (LookupError, TypeError, AttributeError) as error:
            raise msgspec.ValidationError("A packed value has no place") from error
        at += part.size
    if at != len(contents) or any(part.size < 0 for part in parts):
        raise msgspec.ValidationError("The packed values are not as long as they should be")


def join(encoded: bytes, contents: Sequence[bytes]) -> bytes:
    """A message and what stands behind it."""
    return b"".join((MARK, len(encoded).to_bytes(LENGTH, "big"), encoded, *contents)) if contents else encoded


def split(body: bytes | bytearray) -> tuple[bytes | bytearray | memoryview, memoryview]:
    """A message by itself, and what stands behind it."""
    if not body.startswith(MARK):
        return body, memoryview(b"")
    start = len(MARK) + LENGTH
    end = start + int.from_bytes(body[len(MARK) : start], "big")
    view = memoryview(body)
    return view[start:end], view[end:]
