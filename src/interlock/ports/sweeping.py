"""What may be removed because nothing refers to it any more."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import NamedTuple, Protocol


class CodePlace(NamedTuple):
    """A piece of code, in the order of all of them."""

    tenant_id: str
    digest: str


class References(Protocol):
    """Knows what refers to what. Raises UNAVAILABLE or TIMEOUT if the database does not answer."""

    async def unreferenced(self, digests: Sequence[str]) -> set[str]:
        """Those of the SHA-256 of blobs that nothing refers to, of whatever tenant."""
        ...

    async def drop_code(self, after: CodePlace, limit: int, age: timedelta) -> tuple[CodePlace, int] | None:
        """Remove what is not named any more of ``limit`` pieces behind ``after`` and was last stored ``age`` ago.

        How far it came and how many went; None if there are no more.
        """
        ...
