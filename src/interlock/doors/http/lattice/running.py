"""Run a workflow, and cancel a run."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from interlock.doors.http.plumbing.idempotency import REPLAYED, answer_bound, key_of
from interlock.doors.http.plumbing.operation import Call, Reply
from interlock.doors.http.plumbing.replies import PRIVATE, JsonReply
from interlock.services.drafts.run import RunWish


class RunBody(msgspec.Struct, kw_only=True):
    """``inputs`` are by task and name, over what the tasks were saved with; ``priority`` 9 goes first.

    ``resource_policy``: what becomes of a task that asks for more than any worker has; it can only make the server's
    own rule stricter.
    """

    workflow_id: Annotated[str, Meta(max_length=200)]
    run_id: Annotated[str, Meta(min_length=1, max_length=200)] | None = None
    inputs: dict[str, dict[str, Any]] | None = None
    priority: Annotated[int, Meta(ge=0, le=9)] = 5
    deadline_seconds: Annotated[float, Meta(gt=0, le=2_592_000)] | None = None
    resource_policy: Literal["clamp", "queue", "reject"] | None = None


class RunAnswer(msgspec.Struct, kw_only=True):
    status: str = "success"
    run_id: str


class CancelBody(msgspec.Struct, kw_only=True):
    run_id: Annotated[str, Meta(max_length=200)]
    reason: Annotated[str, Meta(max_length=2_000)] | None = None


class CancelAnswer(RunAnswer, kw_only=True):
    """``state`` is how the run ended."""

    state: str


async def run_workflow(call: Call[RunBody, None]) -> Reply:
    """Start a run of what the workflow says now; later changes do not reach it."""
    return await (answer_bound(call, _run) if call.body.run_id else _run(call))


async def _run(call: Call[RunBody, None]) -> Reply:
    body = call.body
    call.acts_on(body.workflow_id)
    started = await call.services.drafts.run(
        call.principal,
        RunWish(
            draft_id=body.workflow_id,
            trace_id=call.trace_id,
            run_id=body.run_id,
            inputs=body.inputs or {},
            priority=body.priority,
            deadline=body.deadline_seconds,
            over_ask=body.resource_policy,
            key=None if body.run_id else key_of(call),
        ),
    )
    headers = (*PRIVATE, *REPLAYED) if started.is_replay and not body.run_id else PRIVATE
    return JsonReply(RunAnswer(run_id=started.run_id), headers=headers)


async def cancel_run(call: Call[CancelBody, None]) -> Reply:
    """Cancel a run; one that has ended stays as it is."""
    body = call.body
    call.acts_on(body.run_id)
    row = await call.services.drafts.cancel_run(
        call.principal, body.run_id, reason=body.reason or "cancelled", trace_id=call.trace_id
    )
    return JsonReply(CancelAnswer(run_id=body.run_id, state=row.status))
