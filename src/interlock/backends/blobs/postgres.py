"""Blobs in the database: seen by every server, in the same backup as the events that name them."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from importlib import resources
from typing import Any

import asyncpg

from interlock.backends.blobs.content import checked, is_name, missing, sha256_of
from interlock.core.errors import unavailable

_SQL = resources.files(__package__).joinpath("sql")
_PUT = _SQL.joinpath("put.sql").read_text(encoding="utf-8")
_GET = _SQL.joinpath("get.sql").read_text(encoding="utf-8")

Use = Callable[[], AbstractAsyncContextManager["asyncpg.Connection[Any]"]]
"""Lends a connection that acts as ``interlock_engine``, outside any transaction."""


class PostgresBlobs:
    """Satisfies ``ports.blobs.Blobs`` in table ``interlock.blobs``."""

    is_shared = True

    def __init__(self, use: Use) -> None:
        self._use = use

    async def put(self, tenant_id: str, content: bytes) -> str:
        """Store; committed when it returns. Raises UNAVAILABLE."""
        sha256 = sha256_of(content)
        await self._run(_PUT, tenant_id, sha256, len(content), content)
        return sha256

    async def get(self, tenant_id: str, sha256: str) -> bytes:
        """The content. Raises NOT_FOUND, or UNAVAILABLE."""
        rows = await self._run(_GET, tenant_id, sha256) if is_name(sha256) else []
        if not rows:
            raise missing(sha256)
        return checked(sha256, rows[0]["content"])

    async def _run(self, statement: str, *values: object) -> list[asyncpg.Record]:
        try:
            async with self._use() as connection:
                return await connection.fetch(statement, *values)
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as error:
            raise unavailable("The database does not answer for blobs now; try again") from error
