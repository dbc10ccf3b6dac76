"""Time-ordered random ids (UUIDv7, RFC 9562): 48 bits of milliseconds, then 74 random bits. Never a secret."""

from __future__ import annotations

import hashlib
import json
import os
import time
from datetime import UTC, datetime
from typing import Protocol
from uuid import UUID

_VERSION_AND_VARIANT = (0x7 << 76) | (0x2 << 62)
_NAMED = (0x8 << 76) | (0x2 << 62)
_RANDOM_MASK = ~((0xF << 76) | (0x3 << 62)) & ((1 << 80) - 1)


class Ids(Protocol):
    """Makes ids; tests pass one that counts."""

    def new(self) -> UUID: ...


class RandomIds:
    """Ids from the wall clock and the system's random source."""

    def new(self) -> UUID:
        milliseconds = time.time_ns() // 1_000_000
        tail = int.from_bytes(os.urandom(10), "big") & _RANDOM_MASK | _VERSION_AND_VARIANT
        return UUID(int=(milliseconds << 80) | tail)


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
