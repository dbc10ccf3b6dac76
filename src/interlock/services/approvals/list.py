"""The inbox of questions to people."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from interlock.core.approval import Approval
from interlock.core.errors import InterlockError, not_found
from interlock.core.principal import Principal, Scope
from interlock.ports.store import Page, Store


class ListApprovals:
    """Show approvals to those who may see their execution, and to their assignees."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def __call__(
        self,
        principal: Principal,
        *,
        status: str | None,
        execution_ids: Sequence[UUID] | None,
        limit: int,
        offset: int,
    ) -> Page:
        """A page of approvals, of all executions or of these, newest first. Raises DENIED."""
        principal.require(Scope.APPROVALS_READ)
        async with self._store.transaction(principal, read_only=True) as transaction:
            return await transaction.list_approvals(
                status=status, execution_ids=execution_ids, limit=limit, offset=offset
            )

    async def get(self, principal: Principal, approval_id: UUID) -> Approval:
        """One approval. Raises DENIED, NOT_FOUND."""
        principal.require(Scope.APPROVALS_READ)
        async with self._store.transaction(principal, read_only=True) as transaction:
            approval = await transaction.approval(approval_id)
        if approval is None:
            raise unknown_approval(approval_id)
        return approval


def unknown_approval(approval_id: UUID) -> InterlockError:
    return not_found("NOT_FOUND", f"There is no approval {approval_id}")
