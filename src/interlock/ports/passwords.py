"""Passwords as they may be stored: a slow hash, made and compared away from the event loop."""

from __future__ import annotations

from typing import Protocol


class Passwords(Protocol):
    """Hashes with their own salt. Raises UNAVAILABLE while too many are waiting."""

    async def hash(self, password: str) -> str: ...

    async def matches(self, password: str, password_hash: str | None) -> bool:
        """Whether the password is the one. Without a hash it is not, and that takes just as long."""
        ...
