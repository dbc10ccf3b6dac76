"""Mail to people."""

from __future__ import annotations

from typing import Protocol


class Mail(Protocol):
    """Sends mail, one message at a time."""

    async def send(self, address: str, subject: str, text: str) -> None:
        """Hand a message over. Raises UNAVAILABLE if nobody takes it."""
        ...
