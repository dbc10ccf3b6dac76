"""Signed tokens of the built-in directory."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Protocol
from uuid import UUID

from interlock.core.account import Account, Held


class AccessTokens(Protocol):
    """Signs and reads tokens with keys of its own; old keys stay good for a while after the next one was made."""

    def sign(self, account: Account, login_id: UUID, now: datetime) -> tuple[str, int]:
        """A token for an hour, and the epoch second at which it ends."""
        ...

    def read(self, bearer: str) -> Held:
        """What a token says, after its signature, issuer, audience and times held. Raises UNAUTHENTICATED."""
        ...

    def public_keys(self) -> list[dict[str, Any]]:
        """The keys that others may check tokens with, as JWKs."""
        ...
