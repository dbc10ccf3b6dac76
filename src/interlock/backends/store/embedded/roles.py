"""What a fresh server needs before migrations can run: two login roles and the database between them."""

from __future__ import annotations

from pathlib import Path

import asyncpg

from interlock.backends.store.embedded.passwords import Passwords
from interlock.core.errors import ErrorKind, InterlockError

DATABASE = "interlock"
OWNER = "interlock_owner"
SERVER = "interlock_server"
CONNECT_SECONDS = 15.0
GRANT_OPTIONS_SINCE = 16

HAS_ROLES = "select count(*) = 2 from pg_roles where rolname = any($1::text[])"
HAS_DATABASE = "select exists (select from pg_database where datname = $1)"
# The server quotes names and passwords: role statements take no parameters.
ROLE = "select format('create role %I login %s password %L', $1::text, $2::text, $3::text)"


async def ensure_roles(superuser_url: str, cluster: Path, passwords: Passwords) -> None:
    """Make what is missing of both roles and the database; whoever was interrupted here is healed.

    Raises UNAVAILABLE if the server does not let us in or serves another cluster than ``cluster``.
    """
    # A statement that fails is written to the log, and these carry passwords.
    quiet = {"log_min_error_statement": "panic"}
    try:
        connection = await asyncpg.connect(superuser_url, timeout=CONNECT_SECONDS, server_settings=quiet)
    except (asyncpg.PostgresError, OSError) as error:
        raise _unanswered(cluster, error) from error
    try:
        _refuse_foreign(Path(await connection.fetchval("show data_directory")), cluster)
        if not await connection.fetchval(HAS_ROLES, [OWNER, SERVER]):
            await _make_roles(connection, passwords)
        if not await connection.fetchval(HAS_DATABASE, DATABASE):
            await connection.execute(f"create database {DATABASE} owner {OWNER}")
    finally:
        await connection.close()


def _unanswered(cluster: Path, error: Exception) -> InterlockError:
    message = f"the Postgres server of {cluster} does not let its own superuser in: {error or type(error).__name__}."
    return InterlockError(ErrorKind.UNAVAILABLE, "EMBEDDED_POSTGRES_FOREIGN", message)


def _refuse_foreign(found: Path, cluster: Path) -> None:
    if found.resolve() != cluster:
        message = f"the server that answers for {cluster} serves {found}; stop that server or choose another directory."
        raise InterlockError(ErrorKind.UNAVAILABLE, "EMBEDDED_POSTGRES_FOREIGN", message)


async def _make_roles(connection: asyncpg.Connection[asyncpg.Record], passwords: Passwords) -> None:
    async with connection.transaction():
        for role, rights, password in (
            (OWNER, "createrole", passwords.owner),
            (SERVER, "noinherit", passwords.server),
        ):
            await connection.execute(await connection.fetchval(ROLE, role, rights, password))
        await connection.execute(f"grant {SERVER} to {OWNER} {_administration(connection)}")


def _administration(connection: asyncpg.Connection[asyncpg.Record]) -> str:
    # The owner administers the serving role and grants it others. Only since 16 that can be had without the rest of
    # a membership.
    if connection.get_server_version().major >= GRANT_OPTIONS_SINCE:
        return "with admin true, inherit false, set false"
    return "with admin option"
