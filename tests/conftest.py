"""What most tests need: a real Postgres for the session, a migrated database, a store, and a tenant of one's own.

Every test gets a fresh tenant instead of a fresh database: commits are real, and row-level security is always tested
along. ``--postgres-bindir`` runs everything on another Postgres than the installed wheel.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path

import asyncpg
import pytest

from interlock.backends.store.embedded import EmbeddedPostgres, EmbeddedUrls
from interlock.backends.store.embedded.roles import DATABASE, OWNER, SERVER
from interlock.backends.store.postgres.migrate import migrate
from interlock.backends.store.postgres.store import PostgresStore
from interlock.core.principal import Principal, Scope
from interlock.kit.ids import RandomIds

ALL_BUT_ADMIN = frozenset(Scope) - {Scope.ADMIN}


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--postgres-bindir", type=Path, default=None, help="folder of the Postgres programs to test with")


@dataclass(frozen=True)
class Database:
    """The addresses of one database: as its owner, as the serving role, and all-powerful."""

    name: str
    migrate_url: str
    serve_url: str
    superuser_url: str
    server_role: str = SERVER


@dataclass(frozen=True)
class Postgres:
    """A running server of this test session."""

    server: EmbeddedPostgres
    urls: EmbeddedUrls

    def database(self, name: str = DATABASE) -> Database:
        """Addresses of the database ``name``, whether or not it exists."""
        here, there = f"@/{DATABASE}?", f"@/{name}?"
        return Database(
            name=name,
            migrate_url=self.urls.migrate_url.replace(here, there),
            serve_url=self.urls.serve_url.replace(here, there),
            superuser_url=self.server.superuser_url(name),
        )

    async def order(self, statement: str) -> None:
        """One statement of the superuser, outside any transaction."""
        connection = await asyncpg.connect(self.server.superuser_url("postgres"))
        try:
            await connection.execute(statement)
        finally:
            await connection.close()


@dataclass(frozen=True)
class Tenant:
    """A tenant that nothing else uses."""

    tenant_id: str
    principal: Principal

    def member(self, subject: str, *, email: str | None = None, role: str = "member") -> Principal:
        """Another principal of the same tenant."""
        return Principal(subject, self.tenant_id, ALL_BUT_ADMIN, email, role)


@pytest.fixture(scope="session")
async def postgres(request: pytest.FixtureRequest) -> AsyncIterator[Postgres]:
    """The server of this session (one per xdist worker); its main database is migrated."""
    root = Path(tempfile.mkdtemp(prefix="interlock-test-"))
    root.chmod(0o755)  # root's Postgres may have to run as another user, who must get here
    server = EmbeddedPostgres(root / "data", request.config.getoption("--postgres-bindir"), root / "shared")
    try:
        urls = await server.start()
        await migrate(urls.migrate_url, SERVER)
        yield Postgres(server, urls)
    finally:
        await server.stop()
        shutil.rmtree(root)


@pytest.fixture(scope="session")
def database(postgres: Postgres) -> Database:
    """The migrated main database, shared by the session."""
    return postgres.database()


@pytest.fixture
async def empty_database(postgres: Postgres) -> AsyncIterator[Database]:
    """A database of this test alone, not migrated."""
    name = f"test_{RandomIds().new().hex}"
    await postgres.order(f"create database {name} owner {OWNER}")
    yield postgres.database(name)
    await postgres.order(f"drop database {name} with (force)")


@pytest.fixture
async def own_database(empty_database: Database) -> Database:
    """A migrated database of this test alone."""
    await migrate(empty_database.migrate_url, empty_database.server_role)
    return empty_database


@pytest.fixture(scope="session")
async def store(database: Database) -> AsyncIterator[PostgresStore]:
    """The store over the main database."""
    store = PostgresStore(database.serve_url)
    await store.open()
    yield store
    await store.close()


@pytest.fixture
def new_tenant() -> Callable[[], Tenant]:
    """Makes tenants that nothing else uses."""

    def make() -> Tenant:
        tenant_id = f"tenant-{RandomIds().new()}"
        return Tenant(tenant_id, Principal("user-1", tenant_id, ALL_BUT_ADMIN, "user-1@example.org"))

    return make


@pytest.fixture
def tenant(new_tenant: Callable[[], Tenant]) -> Tenant:
    """A fresh tenant with one principal."""
    return new_tenant()
