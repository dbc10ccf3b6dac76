"""Large values by content: (tenant, SHA-256) names a blob."""

from __future__ import annotations

from typing import Protocol


class Blobs(Protocol):
    """A store of immutable byte strings. A blob is durable when ``put`` returns."""

    is_shared: bool
    """Whether several servers see the same blobs."""

    async def put(self, tenant_id: str, content: bytes) -> str:
        """Store; the lower-case hex SHA-256 comes back. Storing the same twice is one blob."""
        ...

    async def get(self, tenant_id: str, sha256: str) -> bytes:
        """The content. Raises InterlockError NOT_FOUND."""
        ...


class BlobStore(Blobs, Protocol):
    """Blobs with what looks after them."""

    kind: str
    """Where blobs are, in one word."""

    async def check(self) -> None:
        """Return if blobs can be stored now. Raises InterlockError with the reason."""
        ...
