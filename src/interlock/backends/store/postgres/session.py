"""Statements on one connection, whose failures are told in our words."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeAlias

import asyncpg

from interlock.core.errors import ErrorKind, InterlockError, conflict, invalid, unavailable

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"

_AWAY = (
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.InvalidCatalogNameError,
    OSError,
)
_BUSY = (
    asyncpg.InsufficientResourcesError,
    asyncpg.TransactionRollbackError,
    asyncpg.LockNotAvailableError,
    asyncpg.InvalidCachedStatementError,  # the schema was migrated a moment ago; the driver has forgotten its plans
)


class Session:
    """A connection inside one transaction. Its methods raise what ``explained`` raises."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def rows(self, statement: str, *values: Any) -> list[asyncpg.Record]:
        """All rows of a query."""
        with explained(self._connection):
            return await self._connection.fetch(statement, *values)

    async def row(self, statement: str, *values: Any) -> asyncpg.Record | None:
        """The first row of a query, or None."""
        with explained(self._connection):
            return await self._connection.fetchrow(statement, *values)

    async def value(self, statement: str, *values: Any) -> Any:
        """The first column of the first row, or None."""
        with explained(self._connection):
            return await self._connection.fetchval(statement, *values)

    async def run(self, statement: str, *values: Any) -> None:
        """A statement without an answer."""
        with explained(self._connection):
            await self._connection.execute(statement, *values)

    async def commit(self, statement: str) -> None:
        """End the transaction with ``statement``. Raises RuntimeError if it had failed: then nothing was committed."""
        with explained(self._connection):
            outcome = await self._connection.execute(statement)
        if outcome != "COMMIT":
            raise RuntimeError(
                "a statement of this transaction failed and its error was swallowed; nothing is committed"
            )


@contextmanager
def explained(connection: Connection | None = None) -> Iterator[None]:
    """Turns what the driver raises into InterlockError; what can only be a mistake of ours passes as it is.

    TIMEOUT: the statement was too slow. UNAVAILABLE: the database is away, busy or read-only. DENIED: row-level
    security. CONFLICT: the id exists. INVALID: a value that Postgres cannot hold, such as a NUL character.
    """
    try:
        yield
    except (asyncpg.QueryCanceledError, TimeoutError) as error:
        message = "The database took too long to answer; try again"
        raise InterlockError(ErrorKind.TIMEOUT, "DATABASE_TIMEOUT", message, retryable=True, retry_after=1.0) from error
    except _AWAY as error:
        raise unavailable("The database cannot be reached now; try again") from error
    except asyncpg.InternalClientError as error:  # the server has just ended the connection
        raise unavailable("The connection to the database is lost; try again") from error
    except asyncpg.InterfaceError as error:
        if connection is None or not connection.is_closed():
            raise
        raise unavailable("The connection to the database is lost; try again") from error
    except _BUSY as error:
        raise unavailable("The database is too busy now; try again") from error
    except asyncpg.ReadOnlySQLTransactionError as error:
        raise unavailable("The database takes no writes now; try again", retry_after=5.0) from error
    except asyncpg.InsufficientPrivilegeError as error:
        message = "The database does not let this caller do that"
        raise InterlockError(ErrorKind.DENIED, "AUTHORIZATION_FAILED", message) from error
    except asyncpg.UniqueViolationError as error:
        raise conflict("ALREADY_EXISTS", "Something with this id exists already") from error
    except asyncpg.DataError as error:
        raise invalid("INVALID_VALUE", "A value holds characters or a number that cannot be stored") from error
