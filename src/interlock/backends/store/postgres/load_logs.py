"""Reading executions back, many at a time: what is claimed together is read together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

import asyncpg
import msgspec

from interlock.backends.store.postgres.queries import load
from interlock.backends.store.postgres.read_back import event_of
from interlock.core.events import Recorded
from interlock.ports.ledger import Loaded

_SQL = load("load")
_FIRST = 100
"""Events of each execution that are read together with those of others."""
_PAGE = 5_000


class _Log:
    """The events of one execution, as they come."""

    def __init__(self) -> None:
        self.events: list[Recorded] = []
        self.refs: dict[int, dict[str, str]] = {}
        self.size = 0

    def add(self, row: Any) -> None:
        self.events.append(event_of(row))
        self.size += len(row["data"])
        if row["refs"]:
            self.refs[row["seq"]] = msgspec.json.decode(row["refs"])


async def load_logs(connection: asyncpg.Connection[Any], execution_ids: Sequence[UUID]) -> list[Loaded]:
    """Those of the executions that have not ended, each with all its events."""
    found = await connection.fetch(_SQL["executions"], execution_ids)
    logs = {row["execution_id"]: _Log() for row in found}
    for row in await connection.fetch(_SQL["first_events"], list(logs), _FIRST):
        logs[row["execution_id"]].add(row)
    for execution_id, log in logs.items():
        if len(log.events) == _FIRST:
            await _read_on(connection, execution_id, log)
    return [_loaded(row, logs[row["execution_id"]]) for row in found]


async def _read_on(connection: asyncpg.Connection[Any], execution_id: UUID, log: _Log) -> None:
    is_more = True
    while is_more:
        page = await connection.fetch(_SQL["more_events"], execution_id, log.events[-1].seq, _PAGE)
        for row in page:
            log.add(row)
        is_more = len(page) == _PAGE


def _loaded(row: Any, log: _Log) -> Loaded:
    return Loaded(
        execution_id=row["execution_id"],
        tenant_id=row["tenant_id"],
        user_id=row["user_id"],
        visibility=row["visibility"],
        workflow_id=row["workflow_id"],
        version_id=row["version_id"],
        number=row["workflow_number"],
        kind=row["kind"],
        root_id=row["root_id"],
        trace_id=row["trace_id"],
        owner=row["owner"],
        epoch=row["epoch"],
        inbox_seq=row["inbox_seq"],
        folded=row["folded"],
        priority=row["priority"],
        children=row["children"],
        events=log.events,
        size=log.size,
        refs=log.refs,
    )
