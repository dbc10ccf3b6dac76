"""From rows of the database to the nouns of the core."""

from __future__ import annotations

from typing import Any

import msgspec

from interlock.core.approval import Approval, ApprovalStatus
from interlock.core.errors import unreadable
from interlock.core.events import Recorded, decode_event
from interlock.core.ids import ApprovalId, ExecutionId, WorkflowId


def event_of(row: Any) -> Recorded:
    """An event as it was recorded; large fields are still references (``refs``). Raises INTERNAL STORED_UNREADABLE."""
    try:
        event = decode_event(row["type"], row["data"])
    except KeyError as error:
        raise unreadable(f"An event of the unknown type {row['type'][:64]!r}") from error
    return Recorded(row["seq"], row["at"], row["trace_id"], event)


def approval_of(row: Any) -> Approval:
    """An approval from its row."""
    return Approval(
        approval_id=ApprovalId(row["approval_id"]),
        execution_id=ExecutionId(row["execution_id"]),
        tenant_id=row["tenant_id"],
        workflow_id=WorkflowId(row["workflow_id"]) if row["workflow_id"] is not None else None,
        task_id=row["task_id"],
        node_id=row["node_id"],
        kind=row["kind"],
        interaction_type=row["interaction_type"],
        title=row["title"],
        description=row["description"],
        request=_decoded(row["request"]),
        fields=_decoded(row["fields"]) or [],
        options=list(row["options"]),
        assignees=list(row["assignees"]),
        priority=row["priority"],
        reason_required=row["reason_required"],
        forbid_requester=row["forbid_requester"],
        requested_by=row["requested_by"],
        on_timeout=row["on_timeout"],
        default_response=_decoded(row["default_response"]),
        status=ApprovalStatus(row["status"]),
        decision=row["decision"],
        data=_decoded(row["data"]),
        reason=row["reason"],
        decided_by=row["decided_by"],
        created_at=row["created_at"],
        expires_at=row["expires_at"],
        decided_at=row["decided_at"],
    )


def _decoded(text: str | None) -> Any:
    return msgspec.json.decode(text) if text is not None else None
