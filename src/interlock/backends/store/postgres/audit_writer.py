"""Adds to the audit log over a connection of its own."""

from __future__ import annotations

from typing import Any

import asyncpg

from interlock.backends.store.postgres.connection import CONNECT_TIMEOUT, close_quietly
from interlock.backends.store.postgres.session import Connection, explained
from interlock.backends.store.postgres.url import plain_url

_COMMAND_SECONDS = 10.0  # above the statement timeout: this one is for a network that went silent
_SETTINGS = {"application_name": "interlock-audit", "statement_timeout": "8000", "jit": "off"}


class AuditWriter:
    """Has the role of access from its login on, so that entries are one statement and not a transaction of three."""

    def __init__(self, url: str) -> None:
        self._url = plain_url(url)
        self._idle: list[Connection] = []

    async def write(self, statement: str, *values: Any) -> None:
        """Commit one statement. Raises what ``explained`` raises; a connection that failed is not used again."""
        connection = self._idle.pop() if self._idle else None
        try:
            with explained(connection):
                if connection is None or connection.is_closed():
                    connection = await self._connect()
                await connection.execute(statement, *values)
        except BaseException:
            if connection is not None:
                connection.terminate()
            raise
        self._idle.append(connection)

    async def close(self) -> None:
        """Close the connection; the next entry would open another."""
        while self._idle:
            await close_quietly(self._idle.pop())

    async def _connect(self) -> Connection:
        connection: Connection = await asyncpg.connect(
            self._url, timeout=CONNECT_TIMEOUT, command_timeout=_COMMAND_SECONDS, server_settings=_SETTINGS
        )
        await connection.execute("set role interlock_access")
        return connection
