"""A few connections of the serving role. Between two uses each is as it was after login."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg

from interlock.backends.store.postgres.queries import load
from interlock.backends.store.postgres.session import Connection, explained
from interlock.backends.store.postgres.url import plain_url
from interlock.core.errors import unavailable

_SQL = load("session")
_CONNECT_SECONDS = 5.0
_WAIT_SECONDS = 5.0
_COMMAND_SECONDS = 10.0  # above the statement timeout: this one is for a network that went silent
_SETTINGS = {"application_name": "interlock", "idle_in_transaction_session_timeout": "15000", "jit": "off"}


class Connections:
    """At most ``size`` connections, opened when needed, given out one at a time, the last used first.

    No reset query is sent: whoever takes one leaves no session setting behind, and a connection whose transaction did
    not end in order is rolled back or thrown away. ``cached_statements`` is 0 behind a pooler in transaction mode.
    """

    def __init__(self, url: str, size: int, cached_statements: int) -> None:
        self._url = plain_url(url)
        self._size = size
        self._cached_statements = cached_statements
        self._free: asyncio.LifoQueue[Connection | None] = asyncio.LifoQueue()
        self._is_open = False

    def open(self) -> None:
        """Take up work. Nothing is connected yet."""
        self._is_open = True
        for _ in range(self._size):
            self._free.put_nowait(None)

    async def close(self) -> None:
        """Close what is free now, and the rest when it comes back."""
        self._is_open = False
        while not self._free.empty():
            if connection := self._free.get_nowait():
                await connection.close(timeout=_CONNECT_SECONDS)

    @asynccontextmanager
    async def use(self) -> AsyncIterator[Connection]:
        """A connection outside any transaction, to be left so. Raises UNAVAILABLE if none is to be had."""
        connection = await self._take()
        usable: Connection | None = None
        try:
            yield connection
            usable = connection
        except Exception:
            usable = await _rolled_back(connection)
            raise
        finally:  # a cancelled caller comes straight here: nothing of its claims survives the connection
            self._give_back(connection, usable)

    async def _take(self) -> Connection:
        if not self._is_open:
            raise unavailable("The store is closed")
        try:
            async with asyncio.timeout(_WAIT_SECONDS):
                connection = await self._free.get()
        except TimeoutError as error:
            raise unavailable(f"All {self._size} database connections are busy; try again") from error
        if connection is not None and not connection.is_closed():
            return connection
        try:
            with explained():
                return await self._connect()
        except BaseException:
            self._free.put_nowait(None)
            raise

    async def _connect(self) -> Connection:
        return await asyncpg.connect(
            self._url,
            timeout=_CONNECT_SECONDS,
            command_timeout=_COMMAND_SECONDS,
            statement_cache_size=self._cached_statements,
            server_settings=_SETTINGS,
        )

    def _give_back(self, connection: Connection, usable: Connection | None) -> None:
        is_fit = usable is not None and not usable.is_closed() and not usable.is_in_transaction()
        if not is_fit or not self._is_open:
            connection.terminate()
        if self._is_open:
            self._free.put_nowait(connection if is_fit else None)


async def _rolled_back(connection: Connection) -> Connection | None:
    """The connection after a rollback, or None if it cannot be had back."""
    try:
        if not connection.is_closed() and connection.is_in_transaction():
            await connection.execute(_SQL["rollback"])
    except (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError):
        # It is thrown away; the cause is what is raised.
        return None
    return connection
