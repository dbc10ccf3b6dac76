"""The engine's side of Postgres: flushes, ownership and inboxes as ``interlock_engine``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg
import msgspec

from interlock.backends.store.postgres.connection import EnginePool, close_quietly, connect_as_engine
from interlock.backends.store.postgres.flush import FlushStatements
from interlock.backends.store.postgres.lease import PostgresLease
from interlock.backends.store.postgres.load_logs import load_logs
from interlock.backends.store.postgres.queries import load
from interlock.backends.store.postgres.read_back import approval_of
from interlock.backends.store.postgres.rows import definition_of
from interlock.backends.store.postgres.signals import Posting, Signals
from interlock.backends.store.postgres.totals import TotalsQueries
from interlock.backends.store.postgres.workers import WorkerQueries
from interlock.core.approval import Approval
from interlock.core.events import FORMAT
from interlock.core.workflow import Definition
from interlock.ports.ledger import (
    Claim,
    Claimed,
    Flush,
    FlushRejected,
    FlushResult,
    Head,
    InboxRow,
    Lease,
    Loaded,
    OutcomeUnknown,
    Sent,
    StoredKey,
)

_JOURNAL = load("journal")
_OWNERSHIP = load("ownership")
_INBOX = load("inbox")
_LOAD = load("load")
DEADLOCK_TRIES = 3
FLUSH_TIMEOUT = 5.0
"""Seconds after which the outcome of a flush counts as unknown."""


class PostgresLedger(TotalsQueries, WorkerQueries):
    """One per process: a connection for the journal, a few for everything else."""

    def __init__(self, dsn: str, *, connections: int = 4) -> None:
        self._dsn = dsn
        self._pool = EnginePool(dsn, connections)
        self._signals = Signals(self._pool)
        self._journal: asyncpg.Connection[Any] | None = None
        self._flushes: FlushStatements | None = None
        self._is_heard = False
        self.on_published: Callable[[], None] = lambda: None
        """Called after each flush that put something into the outbox."""

    async def open(self) -> None:
        await self._pool.open()
        await self.reopen_journal()

    async def close(self) -> None:
        journal, self._journal = self._journal, None
        if journal is not None:
            await close_quietly(journal)
        await self._signals.close()
        await self._pool.close()

    def lease(self) -> Lease:
        return PostgresLease(self._dsn)

    def connection(self) -> AbstractAsyncContextManager[asyncpg.Connection[Any]]:
        """Lend a connection of the engine's role, for what else belongs to the engine (blobs)."""
        return self._pool.use()

    async def settings(self) -> dict[str, Any]:
        """What the start-up self-check wants to know of the server and the login role."""
        async with self._pool.use() as connection:
            return dict(await connection.fetchrow(_JOURNAL["settings"]) or {})

    async def reopen_journal(self) -> None:
        """A new journal connection; whatever the old one still had open may or may not commit."""
        old, self._journal, self._flushes = self._journal, None, None
        if old is not None:
            old.terminate()
        connection = await connect_as_engine(self._dsn, plan_once=True)
        self._journal, self._flushes = connection, FlushStatements(connection)

    async def flush(self, runner_id: int, flush: Flush) -> FlushResult:
        """Commit a flush. Raises FlushRejected for a bad value, OutcomeUnknown without an answer."""
        if self._flushes is None:
            raise OutcomeUnknown("the journal has no connection")
        try:
            row = await self._run(self._flushes, runner_id, flush)
        except (asyncpg.DataError, asyncpg.IntegrityConstraintViolationError) as error:
            raise FlushRejected(f"{type(error).__name__}: {error}") from error
        except (TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as error:
            raise OutcomeUnknown(f"{type(error).__name__}: {error}") from error
        if not row["alive"]:
            return FlushResult(alive=False)
        if row.get("published"):
            self.on_published()
        woken = zip(row.get("woken", ()), row.get("woken_owners", ()), strict=True)
        return FlushResult(
            alive=True,
            lost=frozenset(row.get("lost", ())),
            foreign=frozenset(row["foreign_ids"]),
            parked=frozenset(row.get("parked", ())),
            woken=tuple((key, owner or None) for key, owner in woken),
        )

    async def _run(self, flushes: FlushStatements, runner_id: int, flush: Flush) -> Any:
        """Two runners that tell each other's executions something may lock each other out; then one begins anew."""
        for _ in range(DEADLOCK_TRIES):
            try:
                return await self._tell(flushes, runner_id, flush)
            except asyncpg.DeadlockDetectedError:  # nothing of it was written, and the connection is sound
                continue
        return await self._tell(flushes, runner_id, flush)

    async def _tell(self, flushes: FlushStatements, runner_id: int, flush: Flush) -> Any:
        """Send it without the outbox as long as nobody listens: the database refuses that once somebody does."""
        if not self._is_heard:
            row = await flushes.run(runner_id, flush, FLUSH_TIMEOUT)
            if row["alive"]:
                return row
        row = await flushes.run(runner_id, flush, FLUSH_TIMEOUT, publishes=True)
        self._is_heard = row.get("is_heard", self._is_heard)
        return row

    async def last_flush(self, runner_id: int) -> int | None:
        value: int | None = await self._value(_JOURNAL["last_flush"], runner_id)
        return value

    async def recheck(
        self, runner_id: int, starts: Sequence[UUID], parks: Sequence[UUID]
    ) -> tuple[frozenset[UUID], frozenset[UUID]]:
        """After a flush that was committed unseen: which starts were lost, and which parks held."""
        async with self._pool.use() as connection:
            lost = await connection.fetch(_JOURNAL["missing_starts"], list(starts))
            parked = await connection.fetch(_JOURNAL["not_owned"], runner_id, list(parks))
        return frozenset(row[0] for row in lost), frozenset(row[0] for row in parked)

    async def register(self, name: str) -> tuple[int, datetime]:
        row = (await self._rows(_OWNERSHIP["register"], name, FORMAT))[0]
        return row["runner_id"], row["now"]

    async def claim(
        self, runner_id: int, slots: int, per_tenant: int, share: int, promised: Mapping[str, int]
    ) -> Claim:
        tenants, counts = list(promised), list(promised.values())
        told = runner_id, slots, per_tenant, share, FORMAT, tenants, counts
        rows = await self._rows(_OWNERSHIP["claim"], *told)
        return Claim(
            [Claimed(*row) for row in rows if row["execution_id"] is not None],
            frozenset(row["tenant_id"] for row in rows if row["execution_id"] is None),
        )

    async def next_due(self) -> tuple[datetime | None, datetime]:
        row = (await self._rows(_OWNERSHIP["next_due"]))[0]
        return row["wake_at"], row["now"]

    async def poll_owned(self, runner_id: int) -> dict[UUID, int]:
        return dict(await self._rows(_OWNERSHIP["poll_owned"], runner_id))

    async def queue_depths(self, most: int) -> dict[str, int]:
        return dict(await self._rows(_OWNERSHIP["queue_depths"], most))

    async def find_dead(self, runner_id: int, lease: float, quiet: float) -> list[tuple[int, float]]:
        rows = await self._rows(_OWNERSHIP["find_dead"], runner_id, timedelta(seconds=lease), timedelta(seconds=quiet))
        return [(row["runner_id"], row["silent"]) for row in rows]

    async def reap(self, runner_id: int, older_than: float | None) -> list[UUID]:
        age = timedelta(seconds=older_than) if older_than is not None else None
        return [row[0] for row in await self._rows(_OWNERSHIP["reap"], runner_id, age)]

    async def namesakes(self, name: str, runner_id: int) -> list[int]:
        return [row[0] for row in await self._rows(_OWNERSHIP["namesakes"], name, runner_id)]

    async def runners(self) -> list[int]:
        return [row["runner_id"] for row in await self._rows(_OWNERSHIP["runners"])]

    async def count_runners(self) -> int:
        return len(await self.runners())

    async def adopt_orphans(self) -> int:
        return len(await self._rows(_OWNERSHIP["orphans"]))

    async def load(self, execution_ids: Sequence[UUID]) -> list[Loaded]:
        async with self._pool.use() as connection:
            return await load_logs(connection, execution_ids)

    async def version(self, version_id: UUID) -> Definition:
        text = await self._value(_LOAD["version"], version_id)
        if text is None:
            raise LookupError(f"version {version_id} is gone")
        return definition_of(text)

    async def head_version(self, tenant_id: str, reference: str, user_id: str) -> Head | None:
        async with self._pool.use() as connection:
            row = await connection.fetchrow(_LOAD["head_version"], tenant_id, reference, user_id)
        if row is None:
            return None
        return Head(row["workflow_id"], row["version_id"], row["number"], row["kind"], row["timeout"])

    async def standing(self, execution_id: UUID) -> dict[str, Any] | None:
        async with self._pool.use() as connection:
            row = await connection.fetchrow(_LOAD["status"], execution_id)
        if row is None:
            return None
        found = dict(row)
        for name in ("output", "output_refs", "error"):
            found[name] = msgspec.json.decode(found[name]) if found[name] is not None else None
        return found

    async def send(
        self,
        execution_id: UUID,
        tenant_id: str,
        kind: str,
        name: str,
        payload: Any,
        dedupe_key: str | None,
        sent_by: str,
        expected_state: str | None,
        trace_id: str,
        adopter: int | None,
    ) -> Sent | None:
        """Record a signal; None if the execution is not live and knows no such dedupe key."""
        posting = Posting(
            execution_id, tenant_id, kind, name, _json(payload), dedupe_key, sent_by, expected_state, trace_id, adopter
        )
        return await self._signals.send(posting)

    async def outcome(self, execution_id: UUID, inbox_seq: int) -> Any:
        text = await self._value(_INBOX["outcome"], execution_id, inbox_seq)
        return msgspec.json.decode(text) if text is not None else None

    async def open_inbox(self, execution_id: UUID, after: int) -> tuple[int, list[InboxRow]] | None:
        """How far the inbox goes and what of it is not folded; None if the execution is not live."""
        rows = await self._rows(_INBOX["open_inbox"], execution_id, after)
        if not rows:
            return None
        found = [
            InboxRow(
                inbox_seq=row["inbox_seq"],
                kind=row["kind"],
                name=row["name"],
                payload=msgspec.json.decode(row["payload"]) if row["payload"] is not None else None,
                dedupe_key=row["dedupe_key"],
                sent_by=row["sent_by"],
                expected_state=row["expected_state"],
                trace_id=row["trace_id"],
            )
            for row in rows
            if row["inbox_seq"] is not None
        ]
        return rows[0]["last_seq"], found

    async def cancel_tree(
        self, execution_id: UUID, tenant_id: str, reason: str, by: str, trace_id: str, adopter: int | None
    ) -> list[Sent]:
        """Record the cancellation of an execution and its living descendants; ``adopter`` takes the unowned ones."""
        payload = _json({"reason": reason})
        rows = await self._rows(_INBOX["cancel_tree"], execution_id, tenant_id, payload, by, trace_id, adopter)
        return [Sent(row["execution_id"], row["inbox_seq"], row["owner"]) for row in rows]

    async def approval(self, approval_id: UUID, tenant_id: str) -> Approval | None:
        async with self._pool.use() as connection:
            row = await connection.fetchrow(_INBOX["approval"], approval_id, tenant_id)
        return approval_of(row) if row is not None else None

    async def decide_approval(
        self,
        approval_id: UUID,
        tenant_id: str,
        status: str,
        decision: str,
        data: Any,
        reason: str,
        by: str | None,
        trace_id: str,
        only_if_due: bool,
    ) -> Sent | None:
        """Decide a pending approval that is (``only_if_due``) or is not yet past its deadline; None if not."""
        async with self._pool.use() as connection:
            row = await connection.fetchrow(
                _INBOX["decide_approval"],
                approval_id,
                tenant_id,
                status,
                decision,
                _json(data),
                reason,
                by,
                trace_id,
                only_if_due,
            )
        return Sent(row["execution_id"], row["inbox_seq"], row["owner"]) if row is not None else None

    async def escalate_approval(self, approval_id: UUID, tenant_id: str, trace_id: str) -> Sent | None:
        async with self._pool.use() as connection:
            row = await connection.fetchrow(_INBOX["escalate_approval"], approval_id, tenant_id, trace_id)
        return Sent(row["execution_id"], row["inbox_seq"], row["owner"]) if row is not None else None

    async def find_key(self, tenant_id: str, scope: str, key: str) -> StoredKey | None:
        async with self._pool.use() as connection:
            row = await connection.fetchrow(_LOAD["key"], tenant_id, scope, key)
        if row is None:
            return None
        answer = msgspec.json.decode(row["answer"]) if row["answer"] is not None else None
        return StoredKey(row["digest"], row["execution_id"], row["status"], answer)

    async def purge_keys(self, limit: int) -> int:
        async with self._pool.use() as connection:
            tag: str = await connection.execute(_LOAD["purge_keys"], limit)
        return int(tag.rpartition(" ")[2])

    async def ensure_partitions(self, weeks: int) -> int:
        made: int = await self._value(_LOAD["ensure_partitions"], weeks)
        return made

    async def queue_age(self) -> tuple[float, int]:
        row = (await self._rows(_LOAD["queue_ages"]))[0]
        return row["oldest"], row["due"]

    async def _rows(self, statement: str, *arguments: Any) -> list[Any]:
        async with self._pool.use() as connection:
            return list(await connection.fetch(statement, *arguments))

    async def _value(self, statement: str, *arguments: Any) -> Any:
        async with self._pool.use() as connection:
            return await connection.fetchval(statement, *arguments)


def _json(value: Any) -> str | None:
    return msgspec.json.encode(value).decode() if value is not None else None
