"""Who is calling: a credential in, a principal out."""

from __future__ import annotations

from typing import Protocol

from interlock.core.principal import Principal


class Identity(Protocol):
    """Checks credentials. A wrong one is refused; no default takes its place."""

    async def authenticate(self, bearer: str) -> Principal:
        """The principal of a bearer token. Raises UNAUTHENTICATED with a reason in ``details``."""
        ...
