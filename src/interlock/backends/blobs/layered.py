"""Large values in a folder, small ones in the database: few rows stay few, and the database stays small."""

from __future__ import annotations

from interlock.core.errors import ErrorKind, InterlockError
from interlock.ports.blobs import Blobs

LARGE = 60 * 1024
"""Bytes above which a content goes to the folder."""


class LayeredBlobs:
    """Satisfies ``ports.blobs.Blobs`` over two stores. What was stored before there was a folder stays readable."""

    def __init__(self, folder: Blobs, database: Blobs) -> None:
        self._folder = folder
        self._database = database
        self.is_shared = folder.is_shared and database.is_shared

    async def put(self, tenant_id: str, content: bytes) -> str:
        """Store, where its size belongs. Raises UNAVAILABLE."""
        store = self._folder if len(content) > LARGE else self._database
        return await store.put(tenant_id, content)

    async def get(self, tenant_id: str, sha256: str) -> bytes:
        """The content, wherever it is. Raises NOT_FOUND, UNAVAILABLE; INTERNAL if it is not what it was."""
        try:
            return await self._folder.get(tenant_id, sha256)
        except InterlockError as error:
            if error.kind is not ErrorKind.NOT_FOUND:
                raise
        return await self._database.get(tenant_id, sha256)
