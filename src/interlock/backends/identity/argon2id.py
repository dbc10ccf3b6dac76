"""Passwords by argon2id, in threads: one hash takes tens of milliseconds and megabytes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from interlock.core.errors import unavailable

_AT_ONCE = 2
_WAITING = 64
_Answer = TypeVar("_Answer")


class Argon2Passwords:
    """Satisfies ``ports.passwords.Passwords``. At most two hashes are under way, and 64 callers wait their turn."""

    def __init__(self, hasher: PasswordHasher | None = None) -> None:
        self._hasher = hasher or PasswordHasher()
        self._seats = asyncio.Semaphore(_AT_ONCE)
        self._waiting = 0
        self._nobodys = self._hasher.hash("nobody's password")

    async def hash(self, password: str) -> str:
        """A new hash with a salt of its own."""
        return await self._in_turn(lambda: self._hasher.hash(password))

    async def matches(self, password: str, password_hash: str | None) -> bool:
        """Whether the password is the one; without a hash another one is compared, for the time it takes."""
        is_it = await self._in_turn(lambda: self._verify(password, password_hash or self._nobodys))
        return is_it and password_hash is not None

    def _verify(self, password: str, password_hash: str) -> bool:
        try:
            return self._hasher.verify(password_hash, password)
        except (VerificationError, InvalidHashError):
            return False

    async def _in_turn(self, work: Callable[[], _Answer]) -> _Answer:
        if self._waiting >= _WAITING:
            raise unavailable("Too many people are logging in now; try again")
        self._waiting += 1
        try:
            async with self._seats:
                return await asyncio.to_thread(work)
        finally:
            self._waiting -= 1
