"""The store of Postgres: every query under its caller's claims, behind row-level security."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from uuid import UUID

import asyncpg
import structlog

from interlock.backends.store.postgres.approvals import ApprovalQueries
from interlock.backends.store.postgres.audit import AuditQueries
from interlock.backends.store.postgres.batch import Batch, Recent
from interlock.backends.store.postgres.claims import NO_CLAIMS, begin, claims_of
from interlock.backends.store.postgres.connections import Connections
from interlock.backends.store.postgres.drafts import DraftQueries
from interlock.backends.store.postgres.executions import ExecutionQueries
from interlock.backends.store.postgres.keys import KeyQueries
from interlock.backends.store.postgres.migrate import SCHEMA_VERSION
from interlock.backends.store.postgres.queries import load
from interlock.backends.store.postgres.registry import RegistryQueries
from interlock.backends.store.postgres.session import Session
from interlock.backends.store.postgres.webhooks import WebhookQueries
from interlock.backends.store.postgres.workflows import WorkflowQueries
from interlock.core.errors import ErrorKind, InterlockError, unavailable
from interlock.core.ids import VersionId, WorkflowId
from interlock.core.principal import Principal
from interlock.core.workflow import Version
from interlock.ports.store import WorkflowHead

_SQL = load("session")
_VERSIONS_KEPT = 32 << 20  # characters of definitions
_KEPT_OVERHEAD = 1_000
_HEADS_KEPT = 10_000

_REFUSED = (
    ("is_migrated", False, "finds no schema `interlock`; run `interlock migrate` first"),
    ("is_unbound", True, "is a superuser or bypasses row-level security, so nothing would separate the tenants"),
    ("is_owner", True, "owns the schema; serve with one that owns nothing"),
    ("may_serve", False, "may not become `authenticated`; run `interlock migrate` for this role"),
    ("may_decide", False, "may not become `interlock_access`; run `interlock migrate` for this role"),
    (
        "inherits_engine",
        True,
        "inherits rights of system roles; run `alter role … noinherit` for it, and from Postgres 16 on grant it those "
        "roles `with inherit false`",
    ),
    ("quotes_are_plain", False, "has standard_conforming_strings off; turn it on"),
)


class PostgresTransaction(
    WorkflowQueries,
    ExecutionQueries,
    ApprovalQueries,
    KeyQueries,
    AuditQueries,
    RegistryQueries,
    WebhookQueries,
    DraftQueries,
):
    """Queries of one transaction; of no use after its end."""

    def __init__(self, session: Session) -> None:
        self._session = session


class PostgresStore:
    """Satisfies ``ports.store.Store`` over the serving URL, which may name a driver (``postgresql+asyncpg://``).

    ``cached_statements`` is 0 behind a pooler in transaction mode.
    """

    def __init__(self, url: str, *, connections: int = 10, cached_statements: int = 200) -> None:
        self._connections = Connections(url, connections, cached_statements)
        self._heads = Batch(self._fetch_heads)
        self._versions = Batch(self._fetch_versions)
        self._recent: Recent[Version] = Recent(_VERSIONS_KEPT)
        self._recent_heads: Recent[WorkflowHead] = Recent(_HEADS_KEPT)

    async def open(self) -> None:
        """Take up work, if row-level security binds the login role. Raises UNAVAILABLE or RULE."""
        self._connections.open()
        try:
            await self._check_login()
        except BaseException as error:
            await self._connections.close()
            if isinstance(error.__cause__, (asyncpg.PostgresError, OSError)):
                raise unavailable(f"Cannot open the database to serve from: {error.__cause__}.") from error
            raise

    async def close(self) -> None:
        """Give up what is under way and close all connections."""
        await self._heads.close()
        await self._versions.close()
        await self._connections.close()

    @asynccontextmanager
    async def transaction(self, principal: Principal, *, read_only: bool = False) -> AsyncIterator[PostgresTransaction]:
        """One transaction as ``principal``: committed at the end, rolled back by any exception or cancellation.

        Three round trips for one query. A statement may take 8 s. Its queries raise TIMEOUT, UNAVAILABLE, DENIED,
        CONFLICT or INVALID for what the database refuses.
        """
        async with self._session(claims_of(principal), read_only=read_only) as session:
            yield PostgresTransaction(session)

    async def head(self, principal: Principal, workflow_id: WorkflowId) -> WorkflowHead | None:
        """What starting an execution needs to know; concurrent callers with equal claims share a transaction."""
        head = await self._heads.ask(claims_of(principal), workflow_id)
        if head is not None:
            self._recent_heads.put((principal.tenant_id, principal.subject, workflow_id), head, 1)
        return head

    def recent_head(self, principal: Principal, workflow_id: WorkflowId) -> WorkflowHead | None:
        """What ``head`` last answered this tenant and subject, if it is remembered; it may be out of date."""
        return self._recent_heads.get((principal.tenant_id, principal.subject, workflow_id))

    async def version(self, principal: Principal, version_id: VersionId) -> Version | None:
        """An immutable version, also of a deleted workflow. It is remembered for this tenant and subject."""
        key = (principal.tenant_id, principal.subject, version_id)
        kept = self._recent.get(key)
        if kept is not None:
            return kept
        answer = await self._versions.ask(claims_of(principal), version_id)
        if answer is None:
            return None
        version, size = answer
        self._recent.put(key, version, size + _KEPT_OVERHEAD)
        return version

    async def is_writable(self) -> bool:
        """Whether the database takes writes and has the schema of this code, or a newer one. Never raises."""
        try:
            async with self._session(NO_CLAIMS, read_only=False) as session:
                row = await session.row(_SQL["readiness"])
        except InterlockError as error:
            structlog.get_logger(__name__).warning("store.not_ready", reason=str(error.__cause__ or error))
            return False
        return row is not None and row["takes_writes"] and row["version"] >= SCHEMA_VERSION

    @asynccontextmanager
    async def _session(self, claims: str, *, read_only: bool) -> AsyncIterator[Session]:
        async with self._connections.use() as connection:
            session = Session(connection)
            await session.run(begin(claims, read_only=read_only))
            yield session
            await session.commit(_SQL["commit"])

    async def _check_login(self) -> None:
        async with self._connections.use() as connection:
            row = await Session(connection).row(_SQL["self_check"])
        for column, bad, problem in _REFUSED:
            if row is None or row[column] is bad:
                message = f"Cannot serve from this database: the login role {row and row['role']!r} {problem}."
                raise InterlockError(ErrorKind.RULE, "DATABASE_UNFIT", message, details={"check": column})

    async def _fetch_heads(self, claims: str, workflow_ids: Sequence[UUID]) -> dict[UUID, WorkflowHead]:
        async with self._session(claims, read_only=True) as session:
            return await PostgresTransaction(session).heads(workflow_ids)

    async def _fetch_versions(self, claims: str, version_ids: Sequence[UUID]) -> dict[UUID, tuple[Version, int]]:
        async with self._session(claims, read_only=True) as session:
            return await PostgresTransaction(session).versions_by_id(version_ids)
