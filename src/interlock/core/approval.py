"""Approvals: questions to people that wait in a row of the database. Who changes the row first has decided."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any

import msgspec

from interlock.core.errors import rule_broken
from interlock.core.ids import ApprovalId, ExecutionId, WorkflowId

APPROVE_WORDS = frozenset({"approve", "approved", "y", "yes", "confirm", "confirmed", "accept"})
DENY_WORDS = frozenset({"reject", "rejected", "deny", "denied", "n", "no", "decline"})


class ApprovalStatus(StrEnum):
    """Pending until exactly one of the others."""

    PENDING = "pending"
    APPROVED = "approved"
    DENIED = "denied"
    EXPIRED = "expired"
    CANCELLED = "cancelled"


class Approval(msgspec.Struct, frozen=True, kw_only=True):
    """An approval as its row says."""

    approval_id: ApprovalId
    execution_id: ExecutionId
    tenant_id: str
    workflow_id: WorkflowId | None
    task_id: str
    node_id: str
    kind: str
    interaction_type: str
    title: str
    description: str
    request: Any
    fields: list[dict[str, Any]]
    options: list[str]
    assignees: list[str]
    priority: str
    reason_required: bool
    forbid_requester: bool
    requested_by: str
    on_timeout: str
    default_response: Any
    status: ApprovalStatus
    decision: str | None
    data: Any
    reason: str | None
    decided_by: str | None
    created_at: datetime
    expires_at: datetime | None
    decided_at: datetime | None


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """What a person answers: the status it means, the word or option said, edited data, and why."""

    status: ApprovalStatus
    decision: str
    data: Any = None
    reason: str = ""


def read_decision(word: str, options: list[str], data: Any, reason: str) -> Decision:
    """The decision a word stands for (case-insensitive; option labels approve). Raises RULE for another word."""
    lowered = word.strip().lower()
    if lowered in APPROVE_WORDS:
        return Decision(status=ApprovalStatus.APPROVED, decision="approve", data=data, reason=reason)
    if lowered in DENY_WORDS:
        return Decision(status=ApprovalStatus.DENIED, decision="reject", data=data, reason=reason)
    for option in options:
        if option.lower() == lowered:
            return Decision(status=ApprovalStatus.APPROVED, decision=option, data=data, reason=reason)
    raise rule_broken(
        "VALIDATION_ERROR",
        f"Unknown decision {word[:64]!r}; say approve, reject" + (f", or one of {options}" if options else ""),
        field="decision",
    )
