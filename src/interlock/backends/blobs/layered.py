"""Large values elsewhere, small ones in the database: few rows stay few, and the database stays small."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from interlock.core.errors import ErrorKind, InterlockError
from interlock.ports.blobs import BlobStore, StoredBlob

LARGE = 60 * 1024
"""Bytes above which a content goes elsewhere."""
_IN_DATABASE = "~"
"""Places in the database begin with it: it sorts behind those of folders and buckets, which do not."""
_ELSEWHERE = "."


class LayeredBlobs:
    """Satisfies ``ports.blobs.BlobStore`` over two. What was stored before there was another than the database stays
    readable; with ``is_far`` the database is asked first for all that is read.
    """

    def __init__(self, large: BlobStore, database: BlobStore, *, is_far: bool = False) -> None:
        self._large = large
        self._database = database
        self._readers = (database, large) if is_far else (large, database)
        self.is_shared = large.is_shared and database.is_shared
        self.kind = large.kind

    async def put(self, tenant_id: str, content: bytes) -> str:
        """Store, where its size belongs. Raises UNAVAILABLE."""
        store = self._large if len(content) > LARGE else self._database
        return await store.put(tenant_id, content)

    async def get(self, tenant_id: str, sha256: str) -> bytes:
        """The content, wherever it is. Raises NOT_FOUND, UNAVAILABLE; INTERNAL if it is not what it was."""
        first, second = self._readers
        try:
            return await first.get(tenant_id, sha256)
        except InterlockError as error:
            if error.kind is not ErrorKind.NOT_FOUND:
                raise
        return await second.get(tenant_id, sha256)

    async def check(self) -> None:
        """Return if both can store. Raises what they raise."""
        await self._large.check()
        await self._database.check()

    async def listed(self, after: str, limit: int) -> Sequence[StoredBlob]:
        """Those elsewhere, then those in the database. Raises UNAVAILABLE."""
        if not after.startswith(_IN_DATABASE):
            found = await self._large.listed(after[1:], limit)
            if found:
                return [blob._replace(place=_ELSEWHERE + blob.place) for blob in found]
            after = _IN_DATABASE
        return [
            blob._replace(place=_IN_DATABASE + blob.place) for blob in await self._database.listed(after[1:], limit)
        ]

    async def drop(self, blob: StoredBlob, before: datetime) -> bool:
        """Remove it where it is. Raises UNAVAILABLE."""
        store, inner = self._of(blob)
        return await store.drop(inner, before)

    async def keep(self, blob: StoredBlob) -> None:
        """Put it back where it is. Raises UNAVAILABLE."""
        store, inner = self._of(blob)
        await store.keep(inner)

    def _of(self, blob: StoredBlob) -> tuple[BlobStore, StoredBlob]:
        store = self._database if blob.place.startswith(_IN_DATABASE) else self._large
        return store, blob._replace(place=blob.place[1:])
