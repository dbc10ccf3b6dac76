"""Cancel a run, and run it once more."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from interlock.core.errors import rule_broken
from interlock.doors.http.plumbing.operation import Call, Reply
from interlock.doors.http.plumbing.replies import JsonReply
from interlock.doors.http.runs.door import status_of
from interlock.doors.http.runs.reading import found
from interlock.services.sessions.session import shown_id


class CancelRunBody(msgspec.Struct, kw_only=True):
    reason: Annotated[str, Meta(max_length=2_000)] | None = None


class CancelRunAnswer(msgspec.Struct, kw_only=True):
    """``status`` is how the run ended, or that it is ending."""

    ok: bool = True
    run_id: str
    status: str


class RetryRunBody(msgspec.Struct, kw_only=True):
    """``from_seq`` is for runs of agents, which can go on from a point in their log."""

    from_seq: Annotated[int, Meta(ge=0, le=2_147_483_647)] | None = None


class RetryRunAnswer(msgspec.Struct, kw_only=True):
    run_id: str
    retried_from: str


async def cancel(call: Call[CancelRunBody, None]) -> Reply:
    """Cancel a run; one that has ended stays as it is."""
    row = await call.services.drafts.cancel_run(
        call.principal, call.path["run_id"], reason=call.body.reason or "cancelled", trace_id=call.trace_id
    )
    return JsonReply(CancelRunAnswer(run_id=shown_id(row), status=status_of(row)))


async def retry(call: Call[RetryRunBody, None]) -> Reply:
    """Run the same version with the same input once more, as a run of its own."""
    if call.body.from_seq is not None:
        message = "A run of a graph is run again from its beginning; leave from_seq out"
        raise rule_broken("VALIDATION_ERROR", message, field="from_seq")
    row = await found(call)
    standing = await call.services.retry_execution(call.principal, row, trace_id=call.trace_id)
    return JsonReply(RetryRunAnswer(run_id=str(standing.execution_id), retried_from=shown_id(row)))
