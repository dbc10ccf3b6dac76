"""The one way to an execution: its row, if the caller may see it."""

from __future__ import annotations

from uuid import UUID

from interlock.core.errors import InterlockError, not_found
from interlock.core.principal import Principal
from interlock.ports.store import ExecutionRow, Store


async def visible(store: Store, principal: Principal, execution_id: UUID) -> ExecutionRow:
    """The execution's row under the caller's claims. Raises NOT_FOUND for an unknown and for a foreign one alike."""
    async with store.transaction(principal, read_only=True) as transaction:
        row = await transaction.execution(execution_id)
    if row is None:
        raise unknown_execution(execution_id)
    return row


def unknown_execution(execution_id: UUID) -> InterlockError:
    return not_found("NOT_FOUND", f"There is no execution {execution_id}")
