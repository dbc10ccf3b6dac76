"""Who is calling: a credential in, a principal out."""

from __future__ import annotations

from typing import Protocol

from interlock.core.principal import Principal


class Identity(Protocol):
    """Checks credentials. A credential that is present but wrong is refused, never replaced by a default."""

    async def authenticate(self, bearer: str) -> Principal:
        """The principal of a bearer token. Raises UNAUTHENTICATED with a reason in ``details``."""
        ...
