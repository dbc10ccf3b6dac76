"""Parcels in lines between server and hosts, which are JSON: they stand beside the values that they belong to."""

from __future__ import annotations

from typing import Any

import msgspec

from interlock.core.parcel import Parcel, Place, exchange, find, insert


class Sent(msgspec.Struct, frozen=True):
    """A parcel and its place in the arguments, or the output, of its line."""

    place: Place
    sha256: str
    size: int
    content_type: str


def take_apart(value: Any) -> tuple[Any, tuple[Sent, ...]]:
    """The value with nothing in the places of parcels, and these."""
    found = tuple(Sent(place, one.sha256, one.size, one.content_type) for place, one in find(value, Parcel))
    return exchange(value, Parcel, lambda _: None) if found else value, found


def put_together(value: Any, parcels: tuple[Sent, ...]) -> None:
    """Put parcels in their places. Raises msgspec.ValidationError if there is none for one."""
    for sent in parcels:
        try:
            insert(value, sent.place, Parcel(sent.sha256, sent.size, sent.content_type))
        except (LookupError, TypeError, AttributeError) as error:
            raise msgspec.ValidationError("A parcel has no place") from error
