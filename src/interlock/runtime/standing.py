"""How an execution stands, for whoever started it."""

from __future__ import annotations

from datetime import datetime

from interlock.core.engine.flow.standing import flow_standing
from interlock.ports.engine import Standing
from interlock.runtime.entry import EntryRefused
from interlock.runtime.owned import Owned


def standing_of(owned: Owned) -> Standing:
    """As memory says. Only for the caller of a commit after which nothing was decided."""
    execution = owned.execution
    error = execution.error
    started_at: datetime | None = execution.started_at
    if started_at is None:
        raise EntryRefused("the execution has no first event")
    return Standing(
        execution_id=execution.execution_id,
        status=str(execution.status),
        waiting_reason=execution.waiting_reason,
        output=execution.output,
        error={"code": error.code, "message": error.message, "node_id": error.node_id} if error is not None else None,
        created_at=started_at,
        ended_at=execution.ended_at,
        trace_id=owned.trace_id,
        workflow_id=owned.workflow_id,
        flow=flow_standing(execution),
    )
