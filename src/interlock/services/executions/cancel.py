"""Cancel an execution and everything it started."""

from __future__ import annotations

from uuid import UUID

import msgspec

from interlock.core.execution import ENDED
from interlock.core.ids import ExecutionId
from interlock.core.principal import Principal, Scope
from interlock.ports.engine import Engine
from interlock.ports.store import ExecutionRow, Store
from interlock.services.executions.access import visible


class Cancelled(msgspec.Struct, frozen=True):
    """``done`` is False if it had ended before; ``is_recorded`` is False while a part of it is still ending."""

    row: ExecutionRow
    done: bool
    is_recorded: bool


class CancelExecutions:
    """Cancel executions: once recorded nothing new begins, and what still runs is cut off within 5 s."""

    def __init__(self, store: Store, engine: Engine) -> None:
        self._store = store
        self._engine = engine

    async def __call__(self, principal: Principal, execution_id: UUID, *, reason: str, trace_id: str) -> Cancelled:
        """Cancel it with its sub-workflows. Raises DENIED, NOT_FOUND, UNAVAILABLE."""
        principal.require(Scope.EXECUTIONS_CANCEL)
        row = await visible(self._store, principal, execution_id)
        if row.status in ENDED:
            return Cancelled(row, done=False, is_recorded=True)
        is_recorded = await self._engine.cancel(
            ExecutionId(execution_id), principal.tenant_id, principal.by, reason, trace_id
        )
        row = await visible(self._store, principal, execution_id)
        return Cancelled(row, done=row.status not in ("succeeded", "failed"), is_recorded=is_recorded)
