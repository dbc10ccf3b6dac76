"""Connections that run as the engine's database role: ``interlock_engine``, never the caller's."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg

from interlock.backends.store.postgres.url import plain_url

CONNECT_TIMEOUT = 5.0
"""Seconds to reach the database."""

_ENGINE_SETTINGS = {
    "application_name": "interlock-engine",
    "statement_timeout": "30000",
    "lock_timeout": "10000",
    "idle_in_transaction_session_timeout": "10000",
    "jit": "off",
}
# One plan for all flushes: planning anew costs more than the flush, and tables start empty, so that a plan made
# early must not prefer scans that become ruinous later.
_PLAN_ONCE = "set plan_cache_mode = force_generic_plan; set enable_seqscan = off; set enable_mergejoin = off"


async def connect_as_engine(dsn: str, *, plan_once: bool = False) -> asyncpg.Connection[Any]:
    """A dedicated connection as ``interlock_engine``. Raises OSError or asyncpg errors when that fails."""
    connection = await asyncpg.connect(plain_url(dsn), timeout=CONNECT_TIMEOUT, server_settings=_ENGINE_SETTINGS)
    await connection.execute("set role interlock_engine")
    if plan_once:
        await connection.execute(_PLAN_ONCE)
    return connection


async def connect_as_server(dsn: str) -> asyncpg.Connection[Any]:
    """A dedicated connection as the login role, which may read and write nothing: for LISTEN and NOTIFY."""
    return await asyncpg.connect(
        plain_url(dsn), timeout=CONNECT_TIMEOUT, server_settings={"application_name": "interlock-bus"}
    )


async def close_quietly(connection: asyncpg.Connection[Any]) -> None:
    """Close, by force after a second."""
    try:
        await connection.close(timeout=1.0)
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError):
        connection.terminate()


class EnginePool:
    """A few dedicated connections, handed out one at a time; no reset query, a broken one is replaced."""

    def __init__(self, dsn: str, size: int) -> None:
        self._dsn = dsn
        self._size = size
        self._idle: asyncio.LifoQueue[asyncpg.Connection[Any] | None] = asyncio.LifoQueue()
        self._is_open = False

    async def open(self) -> None:
        """Fill the pool; the first connection is made at once, so that a wrong URL shows here."""
        self._idle = asyncio.LifoQueue()
        self._is_open = True
        self._idle.put_nowait(await connect_as_engine(self._dsn))
        for _ in range(self._size - 1):
            self._idle.put_nowait(None)

    async def close(self) -> None:
        """Close all idle connections, and the others when they come back."""
        self._is_open = False
        while not self._idle.empty():
            connection = self._idle.get_nowait()
            if connection is not None:
                await close_quietly(connection)
        self._idle.put_nowait(None)  # whoever waits hears of it, and tells the next

    @asynccontextmanager
    async def use(self) -> AsyncIterator[asyncpg.Connection[Any]]:
        """A connection for a few statements outside a transaction. Waits at most 10 s for a free one.

        Raises ConnectionError once the pool is closed.
        """
        async with asyncio.timeout(10.0):
            connection = await self._idle.get()
        if not self._is_open:
            self._idle.put_nowait(connection)
            raise ConnectionError("the pool of connections is closed")
        usable: asyncpg.Connection[Any] | None = None
        try:
            if connection is None or connection.is_closed():
                connection = await connect_as_engine(self._dsn)
            yield connection
            usable = connection
        except asyncpg.PostgresError:
            usable = connection
            raise
        finally:
            if connection is not None and (usable is None or not self._is_open):
                connection.terminate()
            self._idle.put_nowait(usable if self._is_open else None)
