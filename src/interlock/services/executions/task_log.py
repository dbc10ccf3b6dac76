"""What the tasks of an execution printed."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from interlock.core.principal import Principal, Scope
from interlock.ports.store import LogLine, Store
from interlock.services.executions.access import unknown_execution

LINES_PAGE = 50
"""Rows that are read at once; each is 60 KiB at most."""


class ReadTaskLogs:
    """Reads the logs of tasks under the caller's claims."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def __call__(
        self, principal: Principal, execution_id: UUID, after: int, limit: int, tasks: Sequence[str] | None = None
    ) -> list[LogLine]:
        """At most ``limit`` texts behind number ``after``, of these tasks or of all. Raises DENIED, NOT_FOUND."""
        principal.require(Scope.EXECUTIONS_READ)
        async with self._store.transaction(principal, read_only=True) as transaction:
            if await transaction.execution(execution_id) is None:
                raise unknown_execution(execution_id)
            return await transaction.log_lines(execution_id, tasks, after, limit)
