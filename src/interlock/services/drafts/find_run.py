"""The runs of drafts by what their clients call them."""

from __future__ import annotations

from uuid import UUID

from interlock.core.errors import InterlockError, not_found
from interlock.core.principal import Principal, Scope
from interlock.ports.store import ExecutionRow, Store
from interlock.services.executions.cancel import CancelExecutions
from interlock.services.sessions.session import possible_ids


class FindRuns:
    """Finds runs by id, plain or with a prefix, or by the name a client chose."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def __call__(self, principal: Principal, run_id: str, draft_id: str | None = None) -> ExecutionRow:
        """The run, with ``draft_id`` only if it is one of that draft. Raises DENIED, NOT_FOUND."""
        principal.require(Scope.EXECUTIONS_READ)
        return await self.row(principal, run_id, draft_id)

    async def row(self, principal: Principal, run_id: str, draft_id: str | None = None) -> ExecutionRow:
        """The same for whoever holds another scope. Raises NOT_FOUND."""
        async with self._store.transaction(principal, read_only=True) as transaction:
            async for execution_id in possible_ids(transaction, principal.tenant_id, run_id):
                row = await transaction.execution(execution_id)
                if row is not None and (draft_id is None or _is(row.workflow_id, draft_id)):
                    return row
        raise unknown_run(run_id)


class CancelRuns:
    """Cancel runs by what their clients call them."""

    def __init__(self, find: FindRuns, cancel: CancelExecutions) -> None:
        self._find = find
        self._cancel = cancel

    async def __call__(self, principal: Principal, run_id: str, *, reason: str, trace_id: str) -> ExecutionRow:
        """The run, which has ended. Raises DENIED, NOT_FOUND, UNAVAILABLE."""
        principal.require(Scope.EXECUTIONS_CANCEL)
        row = await self._find.row(principal, run_id)
        return (await self._cancel(principal, row.execution_id, reason=reason, trace_id=trace_id)).row


def unknown_run(run_id: str) -> InterlockError:
    return not_found("NOT_FOUND", f"Run {run_id[:128]} not found")


def _is(workflow_id: UUID | None, draft_id: str) -> bool:
    try:
        return workflow_id is not None and workflow_id == UUID(draft_id)
    except ValueError:
        return False
