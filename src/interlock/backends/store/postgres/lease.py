"""A runner's sign of life. It has a thread and a connection of its own, so that a busy loop cannot silence it."""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import Any

import asyncpg

from interlock.backends.store.postgres.connection import connect_as_engine
from interlock.backends.store.postgres.queries import load

_SQL = load("ownership")
TIMEOUT = 3.0
"""Seconds a renewal may take."""


class PostgresLease:
    """Blocking calls for one thread; a private event loop drives the connection."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self._loop: asyncio.AbstractEventLoop | None = None
        self._connection: asyncpg.Connection[Any] | None = None

    def open(self) -> None:
        """Connect. Raises OSError or asyncpg errors."""
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
        self._connection = self._run(connect_as_engine(self._dsn))

    def hold(self, runner_id: int) -> None:
        """Take the advisory lock of this runner; it is free again as soon as this connection is gone."""
        self._run(self._open_connection().execute(_SQL["lock_runner"].replace("$1::int", str(int(runner_id)))))

    def renew(self, runner_id: int) -> datetime | None:
        """Renew the heartbeat: the database's clock, or None if the runner was reaped."""
        now: datetime | None = self._run(
            self._open_connection().fetchval(_SQL["heartbeat"], runner_id, timeout=TIMEOUT)
        )
        return now

    def close(self) -> None:
        """Give up the connection and with it the lock."""
        connection, self._connection = self._connection, None
        loop, self._loop = self._loop, None
        if loop is None:
            return
        if connection is not None:
            connection.terminate()
            loop.run_until_complete(asyncio.sleep(0.01))  # the loop itself closes the socket, a turn later
        loop.close()

    def _open_connection(self) -> asyncpg.Connection[Any]:
        if self._connection is None:
            raise ConnectionError("the lease has no connection")
        return self._connection

    def _run(self, awaitable: Any) -> Any:
        if self._loop is None:
            raise ConnectionError("the lease is closed")
        return self._loop.run_until_complete(asyncio.wait_for(awaitable, TIMEOUT + 2))
