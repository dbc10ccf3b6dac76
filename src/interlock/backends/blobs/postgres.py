"""Blobs in the database: seen by every server, in the same backup as the events that name them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from importlib import resources
from typing import Any

import asyncpg

from interlock.backends.blobs.content import checked, is_name, missing, sha256_of
from interlock.core.errors import unavailable
from interlock.ports.blobs import StoredBlob

_SQL = resources.files(__package__).joinpath("sql")
_PUT = _SQL.joinpath("put.sql").read_text(encoding="utf-8")
_PUT_PARTS = _SQL.joinpath("put_parts.sql").read_text(encoding="utf-8")
_TOUCH = _SQL.joinpath("touch.sql").read_text(encoding="utf-8")
_LISTED = _SQL.joinpath("listed.sql").read_text(encoding="utf-8")
_DROP = _SQL.joinpath("drop.sql").read_text(encoding="utf-8")
_GET = _SQL.joinpath("get.sql").read_text(encoding="utf-8")

PART = 60 * 1024
"""Bytes of content in one row at most."""

Use = Callable[[], AbstractAsyncContextManager["asyncpg.Connection[Any]"]]
"""Lends a connection that acts as ``interlock_engine``, outside any transaction."""


class PostgresBlobs:
    """Satisfies ``ports.blobs.BlobStore`` in tables ``interlock.blobs`` and ``interlock.blob_parts``."""

    is_shared = True
    kind = "database"

    def __init__(self, use: Use) -> None:
        self._use = use

    async def put(self, tenant_id: str, content: bytes) -> str:
        """Store; committed when it returns. Raises UNAVAILABLE."""
        sha256 = sha256_of(content)
        if len(content) <= PART:
            await self._run(_PUT, tenant_id, sha256, len(content), content)
        elif not await self._run(_TOUCH, tenant_id, sha256):  # a question is cheaper than sending it again
            parts = [content[at : at + PART] for at in range(0, len(content), PART)]
            await self._run(_PUT_PARTS, tenant_id, sha256, len(content), parts)
        return sha256

    async def get(self, tenant_id: str, sha256: str) -> bytes:
        """The content. Raises NOT_FOUND, or UNAVAILABLE."""
        rows = await self._run(_GET, tenant_id, sha256) if is_name(sha256) else []
        if not rows:
            raise missing(sha256)
        return checked(sha256, b"".join(row["content"] for row in rows))

    async def check(self) -> None:
        """Return if the database answers. Raises UNAVAILABLE."""
        await self._run(_GET, "", "")

    async def listed(self, after: str, limit: int) -> Sequence[StoredBlob]:
        """Rows by tenant and digest. Raises UNAVAILABLE."""
        sha256, _, tenant_id = after.partition("/")
        rows = await self._run(_LISTED, tenant_id, sha256, limit)
        return [StoredBlob(f"{row['sha256']}/{row['tenant_id']}", row["sha256"], row["created_at"]) for row in rows]

    async def drop(self, blob: StoredBlob, before: datetime) -> bool:
        """Remove a blob with its parts, unless a ``put`` made it young again. Raises UNAVAILABLE."""
        sha256, _, tenant_id = blob.place.partition("/")
        return bool(await self._run(_DROP, tenant_id, sha256, before))

    async def keep(self, blob: StoredBlob) -> None:
        """Nothing is ever set aside here."""

    async def _run(self, statement: str, *values: object) -> list[asyncpg.Record]:
        try:
            async with self._use() as connection:
                return await connection.fetch(statement, *values)
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as error:
            raise unavailable("The database does not answer for blobs now; try again") from error
