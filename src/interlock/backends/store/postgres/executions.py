"""Executions, events and artifacts under one caller's claims."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from interlock.backends.store.postgres.counting import COUNTED, total
from interlock.backends.store.postgres.queries import load
from interlock.backends.store.postgres.read_back import event_of
from interlock.backends.store.postgres.rows import artifact_of, event_record_of, execution_of
from interlock.backends.store.postgres.session import Session
from interlock.core.events import Recorded
from interlock.core.execution import DEADLINE, FailedBy, Status
from interlock.ports.store import ArtifactRow, EventRecord, ExecutionFilter, ExecutionRow, LogLine, Page

_SQL = load("executions")
_FRAME = load("session")
_PAGE = 5_000
_PARTS: dict[str, bool] = {FailedBy.DEADLINE: True, FailedBy.OTHER: False}


class ExecutionQueries:
    """The part of a transaction that is about executions. Read only: the engine alone writes them."""

    _session: Session

    async def execution(self, execution_id: UUID) -> ExecutionRow | None:
        """An execution with its newest event's number and whether a runner has it, or None."""
        row = await self._session.row(_SQL["execution"], execution_id)
        return None if row is None else execution_of(row)

    async def chosen(self, scope: str, name: str) -> UUID | None:
        """The execution that a client of the tenant started under a name of its own, or None."""
        found: UUID | None = await self._session.value(_SQL["chosen"], scope, name)
        return found

    async def list_executions(self, wanted: ExecutionFilter) -> Page:
        """Executions, newest first. The total leaves ``before`` aside, is exact up to 10,000 and stays there."""
        conditions = (wanted.workflow_id, _statuses(wanted), wanted.kind)
        failed = (DEADLINE, _by_deadline(wanted))
        await self._session.run(_FRAME["plan_by_values"])
        rows = await self._session.rows(
            _SQL["list_executions"], *conditions, wanted.before, wanted.limit, wanted.offset, *failed
        )

        async def count() -> int:
            return int(await self._session.value(_SQL["count_executions"], *conditions, COUNTED, *failed))

        items = [execution_of(row) for row in rows]
        if wanted.before is not None:
            return Page(items, await count())
        return Page(items, await total(wanted.offset, wanted.limit, len(items), count))

    async def latest_executions(self, workflow_ids: Sequence[UUID]) -> dict[UUID, ExecutionRow]:
        """The newest execution of each workflow that has one."""
        rows = await self._session.rows(_SQL["latest_executions"], workflow_ids)
        return {row["workflow_id"]: execution_of(row) for row in rows}

    async def events(self, execution_id: UUID, after: int, limit: int) -> list[EventRecord]:
        """At most ``limit`` events with a higher number than ``after``, in order."""
        rows = await self._session.rows(_SQL["events"], execution_id, after, limit)
        return [event_record_of(row) for row in rows]

    async def events_naming(self, execution_id: UUID, word: str, limit: int) -> list[EventRecord]:
        """At most ``limit`` events with this word anywhere in them, in order."""
        rows = await self._session.rows(_SQL["events_naming"], execution_id, word, limit)
        return [event_record_of(row) for row in rows]

    async def last_seqs(self, execution_ids: Sequence[UUID]) -> dict[UUID, int]:
        """The number of the newest event of each of these that the caller may see."""
        rows = await self._session.rows(_SQL["last_seqs"], execution_ids)
        return {row["execution_id"]: row["last_seq"] for row in rows}

    async def living_seqs(self, wanted: ExecutionFilter) -> dict[UUID, int]:
        """The number of the newest event of each that has not ended, of a workflow or kind; the newest ones first."""
        await self._session.run(_FRAME["plan_by_values"])
        rows = await self._session.rows(_SQL["living_seqs"], wanted.workflow_id, wanted.kind, wanted.limit)
        return {row["execution_id"]: row["last_seq"] for row in rows}

    async def executions_among(self, wanted: ExecutionFilter, execution_ids: Sequence[UUID]) -> list[ExecutionRow]:
        """Those of these that are of the wanted workflow and kind, the oldest first."""
        rows = await self._session.rows(_SQL["executions_among"], execution_ids, wanted.workflow_id, wanted.kind)
        return [execution_of(row) for row in rows]

    async def recorded(self, execution_id: UUID) -> list[Recorded]:
        """The whole log, decoded; large fields stay references to blobs."""
        log: list[Recorded] = []
        while True:
            rows = await self._session.rows(_SQL["events"], execution_id, len(log), _PAGE)
            log.extend(event_of(row) for row in rows)
            if len(rows) < _PAGE:
                return log

    async def artifacts(self, execution_id: UUID) -> list[ArtifactRow]:
        """The artifacts of an execution by name."""
        return [artifact_of(row) for row in await self._session.rows(_SQL["artifacts"], execution_id)]

    async def log_lines(self, execution_id: UUID, tasks: Sequence[str] | None, after: int, limit: int) -> list[LogLine]:
        """At most ``limit`` texts that these tasks (None: all) printed, with a higher number than ``after``."""
        rows = await self._session.rows(_SQL["log_lines"], execution_id, tasks, after, limit)
        return [LogLine(**row) for row in rows]


def _statuses(wanted: ExecutionFilter) -> list[str]:
    """The statuses of the rows to look at."""
    return [Status.FAILED if status in _PARTS else status for status in wanted.statuses]


def _by_deadline(wanted: ExecutionFilter) -> bool | None:
    """Which failed ones are wanted: those a deadline ended, the others, or (None) all."""
    parts = {_PARTS[status] for status in wanted.statuses if status in _PARTS}
    return parts.pop() if len(parts) == 1 and Status.FAILED not in wanted.statuses else None
