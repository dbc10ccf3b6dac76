"""Brings the schema of a database to that of this code: forward only, one transaction per file.

Killed at any statement, a migrator leaves whole files or nothing; the next one carries on from there.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from importlib import resources
from importlib.resources.abc import Traversable
from typing import TypeAlias

import asyncpg
import msgspec

from interlock.backends.store.postgres.queries import load
from interlock.backends.store.postgres.url import plain_url
from interlock.core.errors import ErrorKind, InterlockError, conflict, rule_broken, unavailable

_SQL = load("migrations")
_FILE = re.compile(r"(\d{4})_\w+\.sql")
_CONNECT_SECONDS = 15.0
_TURN = "10min"  # how long another migrator may take
_LOCK = "5s"  # how long a migration may wait for a table, while others queue up behind it

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"


class Migration(msgspec.Struct, frozen=True):
    """One numbered file. ``checksum`` is the SHA-256 of its text."""

    number: int
    name: str
    text: str
    checksum: str


class MigrationStatus(msgspec.Struct, frozen=True):
    """Names of the migrations a database has, and of those this code would add, each in order."""

    applied: list[str]
    pending: list[str]


def read_migrations(directory: Traversable) -> list[Migration]:
    """The migrations in ``directory``, by number. Raises ValueError unless they are numbered 1, 2, 3 …"""
    files = sorted((entry for entry in directory.iterdir() if _FILE.fullmatch(entry.name)), key=lambda file: file.name)
    migrations = [_read(file) for file in files]
    numbers = [migration.number for migration in migrations]
    if numbers != list(range(1, len(numbers) + 1)):
        raise ValueError(f"migrations are numbered {numbers}, not one by one from 1")
    return migrations


def _read(file: Traversable) -> Migration:
    content = file.read_bytes()
    name = file.name.removesuffix(".sql")
    return Migration(int(name[:4]), name, content.decode(), hashlib.sha256(content).hexdigest())


MIGRATIONS = read_migrations(resources.files(__package__).joinpath("migrations"))

SCHEMA_VERSION = MIGRATIONS[-1].number
"""The schema this code needs. A newer one serves it too: a migration keeps the release before it working."""


async def migrate(migrate_url: str, server_role: str, known: Sequence[Migration] = MIGRATIONS) -> list[str]:
    """Apply what is missing and return the names of what was applied now; nothing if the database is up to date.

    ``migrate_url`` logs in as the owner-to-be of schema ``interlock``, who needs CREATEROLE and no superuser;
    ``server_role`` names the login role of ``serve``. Of two migrators one waits. Raises CONFLICT for a database that
    another or a newer code migrated, RULE for an unfit ``server_role``, UNAVAILABLE if the database is away or busy.
    """
    async with _connected(migrate_url) as connection:
        await _take_turn(connection)
        await _check_server_role(connection, server_role)
        if await connection.fetchval(_SQL["may_read_record"]) is None:
            async with connection.transaction():
                await connection.execute(_SQL["make_record"])
        applied = await _applied(connection, known)
        pending = list(known[len(applied) :])
        for migration in pending:
            await _apply(connection, migration, server_role)
        return [migration.name for migration in pending]


async def status(url: str, known: Sequence[Migration] = MIGRATIONS) -> MigrationStatus:
    """What a database has and lacks. Changes nothing.

    The owner's login compares all checksums and raises like ``migrate``. The serving login is only told how far the
    schema is; a newer one than this code knows is fine for it.
    """
    async with _connected(url) as connection:
        may_read_record = await connection.fetchval(_SQL["may_read_record"])
        if may_read_record is None:
            applied = []
        elif may_read_record:
            applied = await _applied(connection, known)
        else:
            applied = [migration.name for migration in known[: await _version(connection)]]
    return MigrationStatus(applied, [migration.name for migration in known[len(applied) :]])


async def _version(connection: Connection) -> int:
    async with connection.transaction(readonly=True):
        await connection.execute(_SQL["become_caller"])
        return int(await connection.fetchval(_SQL["schema_version"]))


@asynccontextmanager
async def _connected(url: str) -> AsyncIterator[Connection]:
    try:
        connection = await asyncpg.connect(plain_url(url), timeout=_CONNECT_SECONDS)
    except (asyncpg.PostgresError, OSError) as error:
        raise unavailable(f"Cannot reach the database to migrate it: {error or type(error).__name__}.") from error
    try:
        yield connection
    except asyncpg.InsufficientPrivilegeError as error:
        raise InterlockError(
            ErrorKind.DENIED, "MIGRATION_DENIED", f"The database refuses this login: {error}. Migrate as its owner."
        ) from error
    except (asyncpg.PostgresConnectionError, asyncpg.InterfaceError, asyncpg.AdminShutdownError, OSError) as error:
        raise unavailable(f"The connection was lost while migrating; start again: {error}.") from error
    finally:
        connection.terminate() if connection.is_in_transaction() else await connection.close(timeout=_CONNECT_SECONDS)


async def _take_turn(connection: Connection) -> None:
    await connection.execute(f"set statement_timeout = 0; set lock_timeout = '{_TURN}'")
    try:
        await connection.execute(_SQL["wait_for_turn"])
    except asyncpg.LockNotAvailableError as error:
        raise unavailable(f"Another migrator has been at work for {_TURN}; look at it, then start again.") from error
    await connection.execute(f"set lock_timeout = '{_LOCK}'")


async def _check_server_role(connection: Connection, role: str) -> None:
    found = await connection.fetchrow(_SQL["server_role"], role)
    problem = None
    if found is None:
        problem = "does not exist; make it with: create role … login noinherit password …"
    elif not found["can_login"]:
        problem = "may not log in"
    elif found["is_unbound"]:
        problem = "is a superuser or bypasses row-level security, so nothing would separate the tenants"
    elif found["is_owner"]:
        problem = "is the one that migrates; the serving role must own nothing"
    elif found["inherits"]:
        problem = f"would inherit the rights of the roles it is to become one by one; run: alter role {role} noinherit"
    if problem:
        raise rule_broken("SERVER_ROLE_UNFIT", f"The serving role {role!r} {problem}.", role=role)


async def _applied(connection: Connection, known: Sequence[Migration]) -> list[str]:
    """The names of what was applied, which must be a beginning of what is known."""
    rows = await connection.fetch(_SQL["applied"])
    for row, migration in zip(rows, known, strict=False):
        if (row["number"], row["checksum"]) != (migration.number, migration.checksum):
            raise conflict(
                "MIGRATION_CHANGED",
                f"The database was migrated with another {row['name']} than this code has; an applied migration never "
                "changes. Install the release that migrated the database, or restore the file.",
                migration=row["name"],
            )
    if len(rows) > len(known):
        raise conflict(
            "DATABASE_NEWER",
            f"The database has migration {rows[-1]['name']}, this code knows {len(known)}; install a newer release.",
            migration=rows[-1]["name"],
        )
    return [row["name"] for row in rows]


async def _apply(connection: Connection, migration: Migration, server_role: str) -> None:
    try:
        async with connection.transaction():
            await connection.execute(_SQL["set_server_role"], server_role)
            await connection.execute(migration.text)
            await connection.execute(_SQL["record"], migration.number, migration.name, migration.checksum)
    except asyncpg.LockNotAvailableError as error:
        message = f"Migration {migration.name} waited {_LOCK} for a lock and was undone; start again when all is quiet."
        raise unavailable(message) from error
    except (asyncpg.InsufficientPrivilegeError, asyncpg.PostgresConnectionError, asyncpg.AdminShutdownError):
        raise
    except asyncpg.PostgresError as error:
        message = f"Migration {migration.name} failed and was undone: {error}."
        raise InterlockError(ErrorKind.INTERNAL, "MIGRATION_FAILED", message) from error
