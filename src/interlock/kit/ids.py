"""Time-ordered random ids (UUIDv7, RFC 9562): 48 bits of milliseconds, then 74 random bits. Never a secret."""

from __future__ import annotations

import hashlib
import json
import os
import time
from datetime import UTC, datetime
from typing import Protocol
from uuid import UUID, SafeUUID

_VERSION_AND_VARIANT = (0x7 << 76) | (0x2 << 62)
_NAMED = (0x8 << 76) | (0x2 << 62)
_RANDOM_MASK = ~((0xF << 76) | (0x3 << 62)) & ((1 << 80) - 1)
_DRAWN_AT_ONCE = 256
_tails: list[int] = []
"""Drawn already and not used yet, by any thread of this process. A forked one draws its own."""
os.register_at_fork(after_in_child=_tails.clear)


class Ids(Protocol):
    """Makes ids; tests pass one that counts."""

    def new(self) -> UUID: ...


class RandomIds:
    """Ids from the wall clock and the system's random source."""

    def new(self) -> UUID:
        milliseconds = time.time_ns() // 1_000_000
        return _uuid((milliseconds << 80) | _tail())


def _tail() -> int:
    """The 80 bits behind the milliseconds. The system is asked for many at once: to call it costs more."""
    while True:
        try:
            return _tails.pop()
        except IndexError:
            drawn = os.urandom(10 * _DRAWN_AT_ONCE)
            tails = (int.from_bytes(drawn[at : at + 10]) for at in range(0, len(drawn), 10))
            _tails.extend(tail & _RANDOM_MASK | _VERSION_AND_VARIANT for tail in tails)


_set_number = UUID.__dict__["int"].__set__
_set_safety = UUID.__dict__["is_safe"].__set__
_OF_UNKNOWN_SAFETY = SafeUUID.unknown


def _uuid(number: int) -> UUID:
    """``UUID(int=number)`` at a third of its cost: several ids are made for each request and step."""
    made = UUID.__new__(UUID)
    _set_number(made, number)
    _set_safety(made, _OF_UNKNOWN_SAFETY)
    return made


class CountingIds:
    """Ids 1, 2, 3 … in the shape of a UUIDv7, for tests that compare ids."""

    def __init__(self) -> None:
        self._count = 0

    def new(self) -> UUID:
        self._count += 1
        return UUID(int=(self._count << 80) | _VERSION_AND_VARIANT)


def first_id_at(instant: datetime) -> UUID:
    """The smallest UUIDv7 of the millisecond of ``instant``: a bound for ranges over time."""
    return UUID(int=(int(instant.timestamp() * 1000) << 80) | _VERSION_AND_VARIANT)


def made_at(identifier: UUID) -> datetime:
    """When an id was made (aware UTC, to the millisecond)."""
    return datetime.fromtimestamp((identifier.int >> 80) / 1000, UTC)


def named(*parts: str) -> UUID:
    """The id that these texts stand for, the same for ever and everywhere (UUIDv8)."""
    drawn = hashlib.sha256(json.dumps(parts).encode()).digest()[:16]
    free = ~((0xF << 76) | (0x3 << 62)) & ((1 << 128) - 1)
    return UUID(int=int.from_bytes(drawn) & free | _NAMED)
