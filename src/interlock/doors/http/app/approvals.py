"""Approvals: the inbox and its decisions."""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID

import msgspec
from msgspec import Meta

from interlock.core.approval import ApprovalStatus
from interlock.core.errors import rule_broken
from interlock.doors.http.app.approval_object import ApprovalObject, approval_object
from interlock.doors.http.app.door import read_id
from interlock.doors.http.app.executions import Limit, Offset
from interlock.doors.http.plumbing.described import described
from interlock.doors.http.plumbing.etag import tagged
from interlock.doors.http.plumbing.operation import Call, Reply
from interlock.doors.http.plumbing.replies import JsonReply

DECIDE_ALIASES = {"action": "decision"}
_RESPOND = "respond"
"""The word of an answer that is not about approving: it counts as approval, its data are the answer."""


class ApprovalsQuery(msgspec.Struct, kw_only=True):
    """``status`` is pending unless said otherwise; ``all`` shows every approval."""

    status: Annotated[str, described(enum=[*ApprovalStatus, "all"])] = ApprovalStatus.PENDING.value
    execution_id: str | None = None
    limit: Limit = 50
    offset: Offset = 0


class ApprovalList(msgspec.Struct, kw_only=True):
    approvals: list[ApprovalObject]
    total_count: int
    total: int
    has_more: bool


class DecideBody(msgspec.Struct, kw_only=True):
    """``decision`` is approve, reject, respond, or one of the question's options; ``data`` fills in its fields."""

    decision: Annotated[str, Meta(min_length=1, max_length=256)]
    data: Any = None
    reason: Annotated[str, Meta(max_length=10_000)] | None = None


class DecideAnswer(msgspec.Struct, kw_only=True):
    success: bool
    approval_id: str
    status: str
    execution_id: str
    decision: str | None
    decided_by: str | None


async def list_approvals(call: Call[None, ApprovalsQuery]) -> Reply:
    """Questions to people, newest first."""
    query = call.query
    page = await call.services.list_approvals(
        call.principal,
        status=_status_in(query.status),
        execution_ids=await _executions(call, query.execution_id) if query.execution_id is not None else None,
        limit=query.limit,
        offset=query.offset,
    )
    answer = ApprovalList(
        approvals=[approval_object(approval) for approval in page.items],
        total_count=page.total,
        total=page.total,
        has_more=query.offset + len(page.items) < page.total,
    )
    return tagged(answer, call.header("if-none-match"))


async def _executions(call: Call[Any, Any], text: str) -> list[UUID]:
    """What is asked for, by an execution's own id or by one that a client of a session chose: it may be either."""
    return await call.services.find_session.ids(call.principal, text) or [read_id(text, "execution")]


async def get_approval(call: Call[None, None]) -> Reply:
    """One question, and its answer once there is one."""
    approval_id = read_id(call.path["approval_id"], "approval")
    approval = await call.services.list_approvals.get(call.principal, approval_id)
    return tagged(approval_object(approval), call.header("if-none-match"))


async def decide(call: Call[DecideBody, None]) -> Reply:
    """Answer a question. The winning answer may be repeated; another one comes too late."""
    approval_id = read_id(call.path["approval_id"], "approval")
    word = call.body.decision
    approval = await call.services.decide_approval(
        call.principal,
        approval_id,
        word="approve" if word.strip().lower() == _RESPOND else word,
        data=call.body.data,
        reason=call.body.reason or "",
        trace_id=call.trace_id,
    )
    return JsonReply(
        DecideAnswer(
            success=True,
            approval_id=str(approval.approval_id),
            status=str(approval.status),
            execution_id=str(approval.execution_id),
            decision=approval.decision,
            decided_by=approval.decided_by,
        )
    )


def _status_in(word: str) -> str | None:
    lowered = word.lower()
    if lowered == "all":
        return None
    if lowered not in set(ApprovalStatus):
        known = ", ".join(ApprovalStatus)
        raise rule_broken("VALIDATION_ERROR", f"Unknown status {word[:64]!r}; use {known} or all", field="status")
    return lowered
