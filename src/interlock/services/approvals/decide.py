"""Decide an approval: once, by somebody who may."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from interlock.core.approval import Approval, ApprovalStatus, Decision, read_decision
from interlock.core.errors import ErrorKind, InterlockError, conflict, rule_broken
from interlock.core.ids import ApprovalId
from interlock.core.principal import Principal, Scope
from interlock.ports.engine import Engine
from interlock.ports.store import Store
from interlock.services.approvals.fields import CheckValue, check_fields
from interlock.services.approvals.list import unknown_approval


class DecideApprovals:
    """Record decisions. Of several answers the one that changes the approval's row first wins."""

    def __init__(self, store: Store, engine: Engine, check_value: CheckValue) -> None:
        self._store = store
        self._engine = engine
        self._check_value = check_value

    async def __call__(
        self, principal: Principal, approval_id: UUID, *, word: str, data: Any, reason: str, trace_id: str
    ) -> Approval:
        """Decide it; the answer that won may be repeated and gets the same row.

        Raises DENIED (no scope, not an assignee, or the requester where that is forbidden), NOT_FOUND, RULE for a
        word, reason or field that is not right (the question stays open), CONFLICT if another answer won, GONE if
        it expired or its execution ended.
        """
        principal.require(Scope.APPROVALS_DECIDE)
        async with self._store.transaction(principal, read_only=True) as transaction:
            approval = await transaction.approval(approval_id)
        if approval is None:
            raise unknown_approval(approval_id)
        _check_membership(principal, approval)
        decision = read_decision(word, approval.options, data, reason)
        if approval.status is not ApprovalStatus.PENDING:
            return settled(approval, decision)
        self._check_answer(approval, decision)
        won = await self._engine.decide(
            ApprovalId(approval_id), principal.tenant_id, decision, principal.subject, trace_id
        )
        return settled(won, decision)

    def _check_answer(self, approval: Approval, decision: Decision) -> None:
        if approval.reason_required and not decision.reason.strip():
            raise rule_broken("VALIDATION_ERROR", "This approval needs a reason; say why", field="reason")
        if decision.status is ApprovalStatus.APPROVED and approval.fields:
            check_fields(approval.fields, decision.data, self._check_value)


def settled(approval: Approval, decision: Decision) -> Approval:
    """The decided row, if it says what ``decision`` says. Raises GONE, CONFLICT."""
    if approval.status is ApprovalStatus.EXPIRED:
        raise InterlockError(ErrorKind.GONE, "APPROVAL_EXPIRED", "The approval expired before this answer")
    if approval.status is ApprovalStatus.CANCELLED:
        raise InterlockError(ErrorKind.GONE, "APPROVAL_CLOSED", "Nobody waits for this answer any more")
    if approval.status is not decision.status or (approval.decision or "") != decision.decision:
        message = f"The approval was already {approval.status} by {approval.decided_by or 'somebody'}"
        raise conflict("CONFLICT", message, status=str(approval.status), decision=approval.decision)
    return approval


def _check_membership(principal: Principal, approval: Approval) -> None:
    """Assignees are subjects, e-mail addresses, or ``role:<name>``; without any, the scope is enough."""
    names = {principal.subject, f"role:{principal.role}"} | ({principal.email} if principal.email else set())
    if approval.assignees and names.isdisjoint(approval.assignees):
        raise _denied("NOT_ASSIGNED", "This approval is for other people to decide")
    if approval.forbid_requester and principal.subject == approval.requested_by:
        raise _denied("REQUESTER_FORBIDDEN", "Whoever started the execution may not decide this approval")


def _denied(code: str, message: str) -> InterlockError:
    return InterlockError(ErrorKind.DENIED, code, message)
