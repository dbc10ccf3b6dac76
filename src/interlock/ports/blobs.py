"""Large values by content: (tenant, SHA-256) names a blob."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple, Protocol


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


class StoredBlob(NamedTuple):
    """A blob as its store lists it: by ``place``, which only the store can read, with when it was last stored."""

    place: str
    sha256: str
    stored_at: datetime


class BlobStore(Blobs, Protocol):
    """Blobs with what looks after them. A blob that is stored again is as young as a new one."""

    kind: str
    """Where blobs are, in one word."""

    async def check(self) -> None:
        """Return if blobs can be stored now. Raises InterlockError with the reason."""
        ...

    async def listed(self, after: str, limit: int) -> Sequence[StoredBlob]:
        """Blobs of all tenants in an order of the store's own, behind the place ``after``; none at the end.

        Blobs that come or go meanwhile may be missed, others never.
        """
        ...

    async def drop(self, blob: StoredBlob, before: datetime) -> bool:
        """Remove a listed blob, unless it was stored at ``before`` or later, also just now; whether it is gone.

        A store that cannot tell that for certain sets the blob aside first, where ``get`` still finds it and
        ``listed`` lists it as just stored; dropped once more it is gone.
        """
        ...

    async def keep(self, blob: StoredBlob) -> None:
        """A listed blob is wanted: one that was set aside is put back."""
        ...
