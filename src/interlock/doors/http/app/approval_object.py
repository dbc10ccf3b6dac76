"""Approvals as this door shows them."""

from __future__ import annotations

from typing import Any

import msgspec

from interlock.core.approval import Approval
from interlock.doors.http.app.door import APP
from interlock.kit.instants import rfc3339, rfc3339_or_none


class ApprovalObject(msgspec.Struct, kw_only=True):
    """A question to people, and its answer once there is one."""

    approval_id: str
    id: str
    execution_id: str
    workflow_id: str | None
    node_id: str
    task_id: str
    kind: str
    interaction_type: str
    title: str
    description: str
    request: Any
    fields: list[dict[str, Any]]
    options: list[str]
    status: str
    priority: str
    assignees: list[str]
    reason_required: bool
    created_at: str
    expires_at: str | None
    door: str
    decision: str | None
    data: Any
    reason: str | None
    decided_by: str | None
    decided_at: str | None


def approval_object(approval: Approval) -> ApprovalObject:
    """One approval."""
    return ApprovalObject(
        approval_id=str(approval.approval_id),
        id=str(approval.approval_id),
        execution_id=str(approval.execution_id),
        workflow_id=str(approval.workflow_id) if approval.workflow_id is not None else None,
        node_id=approval.node_id,
        task_id=approval.task_id,
        kind=approval.kind,
        interaction_type=approval.interaction_type,
        title=approval.title,
        description=approval.description,
        request=approval.request,
        fields=approval.fields,
        options=approval.options,
        status=str(approval.status),
        priority=approval.priority,
        assignees=approval.assignees,
        reason_required=approval.reason_required,
        created_at=rfc3339(approval.created_at),
        expires_at=rfc3339_or_none(approval.expires_at),
        door=APP.name,
        decision=approval.decision,
        data=approval.data,
        reason=approval.reason,
        decided_by=approval.decided_by,
        decided_at=rfc3339_or_none(approval.decided_at),
    )
