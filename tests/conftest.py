"""What most tests need: a real Postgres for the session, a migrated database, a store, and a tenant of one's own.

Every test gets a fresh tenant instead of a fresh database: commits are real, and row-level security is always tested
along. ``--postgres-bindir`` runs everything on another Postgres than the installed wheel.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg
import msgspec
import pytest
import structlog

from interlock.backends.store.embedded import EmbeddedPostgres, EmbeddedUrls
from interlock.backends.store.embedded.roles import DATABASE, OWNER, SERVER
from interlock.backends.store.postgres.migrate import migrate
from interlock.backends.store.postgres.store import PostgresStore
from interlock.core.events import Event, ExecutionStarted, TaskProgressed, encode_data
from interlock.core.ids import VersionId, WorkflowId
from interlock.core.principal import Principal, Scope
from interlock.core.workflow import Definition, FlowDefinition, GraphDefinition, NodeDefinition, Version, Workflow
from interlock.kit.ids import RandomIds

pytest_plugins = [
    "served",
    "valkey_house",
    "figures",
    "model_gateway",
    "together",
    "wire_house",
    "ray_house",
    "s3_house",
]
ALL_BUT_ADMIN = frozenset(Scope) - {Scope.ADMIN}


def pytest_configure(config: pytest.Config) -> None:
    """Log lines go past pytest: what a command prints must not have those of a server in this process in it."""
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(file=sys.__stderr__))


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


class Planted(msgspec.Struct, frozen=True, kw_only=True):
    """An execution as the engine would have left it in the tables, with one row of everything that hangs on it."""

    execution_id: UUID
    tenant_id: str
    user_id: str = "user-1"
    is_private: bool = False
    workflow_id: UUID | None = None
    version_id: UUID = UUID(int=7)
    status: str = "running"
    kind: str = "graph"
    owner: int | None = None
    wake_at: datetime | None = None
    events: int = 3
    approval_id: UUID = UUID(int=0)
    approval_status: str = "pending"
    assignees: tuple[str, ...] = ()

    def log(self) -> list[Event]:
        """Its events: it started, and then it told how far it is."""
        started = ExecutionStarted(workflow_id=self.workflow_id, version_id=self.version_id, kind=self.kind, input=[1])
        rest = [TaskProgressed(task_id="t", node_id="n", message=f"{i} 'é\\") for i in range(1, self.events)]
        return [started, *rest]


AT = datetime(2026, 11, 21, 12, 30, 15, 250_000, UTC)
PLANTED = """
with planted as (
  insert into interlock.executions (execution_id, tenant_id, user_id, visibility, workflow_id, version_id,
    workflow_number, kind, status, input, mode, started_by, root_id, trace_id, metadata, created_at, updated_at)
  values ($1, $2, $3, $4, $5, $6, 1, $7, $8, '{"a": [1, "x"]}', 'manual', $3, $1, 'trace-1', '{"m": null}', $9, $9)
), living as (
  insert into interlock.live (execution_id, tenant_id, private_to, owner, wake_at, format)
  select $1, $2, $10, $11, $12, 1 where $8 not in ('succeeded', 'failed', 'cancelled')
), signalled as (
  insert into interlock.inbox (execution_id, inbox_seq, tenant_id, kind, trace_id) values ($1, 1, $2, 'signal', 't')
), asked as (
  insert into interlock.approvals (approval_id, execution_id, tenant_id, private_to, workflow_id, task_id, node_id,
    kind, interaction_type, title, description, request, options, assignees, priority, on_timeout, status)
  values ($13, $1, $2, $10, $5, 't', 'n', 'node', 'approval', 'May I?', '', '{"q": 1}', '{later}', $14, 'normal',
    'fail', $15)
), written as (
  insert into interlock.artifacts (execution_id, name, tenant_id, private_to, task_id, sha256, size, content_type)
  values ($1, 'report.md', $2, $10, 't', 'ab12', 1234567890123, 'text/markdown')
), printed as (
  insert into interlock.task_logs (execution_id, tenant_id, private_to, task_id, attempt, stream, content)
  values ($1, $2, $10, 't', 1, 'stdout', 'what the task printed')
), keyed as (
  insert into interlock.keys (tenant_id, scope, key, digest, execution_id, expires_at)
  values ($2, 'start', $1::text, 'd', $1, $9 + interval '1 day')
)
insert into interlock.events (execution_id, seq, tenant_id, private_to, type, data, at, trace_id, format)
select $1, e.seq, $2, $10, e.type, e.data::json, $9, 'trace-1', 1
from unnest($16::text[], $17::text[]) with ordinality as e(type, data, seq)
"""


async def plant(database: Database, planted: Planted) -> Planted:
    """Write the rows of an execution, as the engine's role."""
    private_to = planted.user_id if planted.is_private else None
    log = planted.log()
    connection = await asyncpg.connect(database.serve_url)
    try:
        await connection.execute("set role interlock_engine")
        await connection.execute(
            PLANTED,
            planted.execution_id,
            planted.tenant_id,
            planted.user_id,
            "private" if planted.is_private else "tenant",
            planted.workflow_id,
            planted.version_id,
            planted.kind,
            planted.status,
            AT,
            private_to,
            planted.owner,
            planted.wake_at,
            planted.approval_id,
            planted.assignees,
            planted.approval_status,
            [event.type for event in log],
            [encode_data(event).decode() for event in log],
        )
    finally:
        await connection.close()
    return planted


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


@asynccontextmanager
async def further_database(postgres: Postgres) -> AsyncIterator[Database]:
    """A new database, not migrated, that is gone afterwards."""
    name = f"test_{RandomIds().new().hex}"
    await postgres.order(f"create database {name} owner {OWNER}")
    yield postgres.database(name)
    await postgres.order(f"drop database {name} with (force)")


@pytest.fixture
async def empty_database(postgres: Postgres) -> AsyncIterator[Database]:
    """A database of this test alone, not migrated."""
    async with further_database(postgres) as database:
        yield database


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


Plant = Callable[..., Awaitable[Planted]]


@pytest.fixture(scope="session")
def plant_in() -> Plant:
    """Plants an execution in the database given; the fields of ``Planted`` by name, ids are made."""

    async def make(database: Database, **fields: object) -> Planted:
        ids = {"execution_id": RandomIds().new(), "approval_id": RandomIds().new()}
        return await plant(database, msgspec.convert({**ids, **fields}, Planted))

    return make


@pytest.fixture(scope="session")
def planted(database: Database, plant_in: Plant) -> Plant:
    """Plants an execution of a tenant in the main database."""

    async def make(tenant: Tenant, **fields: object) -> Planted:
        return await plant_in(database, tenant_id=tenant.tenant_id, **fields)

    return make


GRAPH = GraphDefinition(nodes=(NodeDefinition(id="a", type="echo", parameters={"text": "'quoted' \\ é"}),))


def make_workflow(
    owner: Principal,
    *,
    name: str = "Sums",
    number: int = 1,
    definition: Definition = GRAPH,
    visibility: Any = "tenant",
    tags: tuple[str, ...] = (),
    description: str = "",
    updated_at: datetime = AT,
) -> Workflow:
    """A workflow that ``owner`` could add."""
    workflow_id = WorkflowId(RandomIds().new())
    version = Version(
        version_id=VersionId(RandomIds().new()),
        workflow_id=workflow_id,
        number=number,
        digest=f"digest-{number}",
        definition=definition,
        created_at=AT,
        created_by=owner.subject,
    )
    return Workflow(
        workflow_id=workflow_id,
        tenant_id=owner.tenant_id,
        user_id=owner.subject,
        visibility=visibility,
        kind="flow" if isinstance(definition, FlowDefinition) else "graph",
        name=name,
        description=description,
        tags=tags,
        icon_url=None,
        version=version,
        source={"as": ["sent", number]},
        created_at=AT,
        updated_at=updated_at,
    )


@pytest.fixture(scope="session")
def made() -> Callable[..., Workflow]:
    """Makes a workflow that its first argument, a principal, could add; see ``make_workflow``."""
    return make_workflow


@pytest.fixture(scope="session")
def added(store: PostgresStore) -> Callable[..., Awaitable[Workflow]]:
    """Adds what ``made`` makes to the main database."""

    async def add(owner: Principal, **wishes: Any) -> Workflow:
        workflow = make_workflow(owner, **wishes)
        async with store.transaction(owner) as transaction:
            await transaction.add_workflow(workflow)
        return workflow

    return add


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
