"""The audit log of the tenant: who did what, from where, and how it ended."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

import msgspec
from msgspec import Meta

from interlock.core.audit import AuditEntry, AuditFilter
from interlock.core.errors import invalid, rule_broken
from interlock.doors.http.app.executions import Limit
from interlock.doors.http.plumbing.described import Cursor, Instant
from interlock.doors.http.plumbing.operation import Call, Reply
from interlock.doors.http.plumbing.replies import NO_STORE, JsonReply
from interlock.kit.instants import rfc3339
from interlock.services.access.audit import NO_TENANT

Text = Annotated[str, Meta(max_length=256)]
_INSTANT = Annotated[datetime, Meta(tz=True)]


class AuditQuery(msgspec.Struct, kw_only=True):
    """``action`` is the beginning of one, such as ``POST /api/app/api-keys``; ``since`` and ``until`` are instants.

    ``tenant`` and ``strangers`` are for the operator: another tenant's log, and the calls that named no tenant.
    """

    subject: Text | None = None
    action: Text | None = None
    outcome: Literal["done", "refused", "failed"] | None = None
    target: Text | None = None
    since: Instant | None = None
    until: Instant | None = None
    tenant: Text | None = None
    strangers: bool = False
    limit: Limit = 50
    cursor: Cursor | None = None


class AuditObject(msgspec.Struct, kw_only=True):
    """One call. ``target`` is what it was about, ``detail`` what it set, ``code`` why it was refused.

    ``times`` is how often it was refused in the same way within the same moment.
    """

    id: str
    at: str
    subject: str
    kind: str
    key_id: str | None
    action: str
    target: str
    outcome: str
    status: int
    code: str
    door: str
    client: str
    user_agent: str
    trace_id: str
    request_id: str
    detail: str
    times: int


class AuditList(msgspec.Struct, kw_only=True):
    """``next_cursor`` leads to the page before, also while new entries are written."""

    entries: list[AuditObject]
    total_count: int
    total: int
    has_more: bool
    next_cursor: str | None


async def list_audit(call: Call[None, AuditQuery]) -> Reply:
    """Entries, newest first."""
    query = call.query
    wanted = AuditFilter(
        tenant_id=NO_TENANT if query.strangers else query.tenant or call.principal.tenant_id,
        subject=query.subject,
        action=query.action,
        outcome=query.outcome,
        target=query.target,
        since=_read_instant("since", query.since),
        until=_read_instant("until", query.until),
        before=_read_cursor(query.cursor),
        limit=query.limit + 1,  # one more than asked for tells whether there is a next page
    )
    page = await call.services.access.audit.list(call.principal, wanted)
    shown = page.items[: query.limit]
    has_more = len(page.items) > query.limit
    answer = AuditList(
        entries=[_object(entry) for entry in shown],
        total_count=page.total,
        total=page.total,
        has_more=has_more,
        next_cursor=str(shown[-1].audit_id) if has_more else None,
    )
    return JsonReply(answer, headers=NO_STORE)


def _object(entry: AuditEntry) -> AuditObject:
    return AuditObject(
        id=str(entry.audit_id),
        at=rfc3339(entry.at),
        subject=entry.subject,
        kind=entry.kind,
        key_id=str(entry.key_id) if entry.key_id is not None else None,
        action=entry.action,
        target=entry.target,
        outcome=str(entry.outcome),
        status=entry.status,
        code=entry.code,
        door=entry.door,
        client=entry.client,
        user_agent=entry.user_agent,
        trace_id=entry.trace_id,
        request_id=entry.request_id,
        detail=entry.detail,
        times=entry.times,
    )


def _read_instant(field: str, text: str | None) -> datetime | None:
    """An instant of the query, which would be taken for seconds if it were a number. Raises RULE."""
    try:
        return None if text is None else msgspec.convert(text, _INSTANT)
    except msgspec.ValidationError:
        message = f"{field} must be an instant with its offset, such as 2026-11-21T10:00:00Z"
        raise rule_broken("VALIDATION_ERROR", message, field=field) from None


def _read_cursor(text: str | None) -> UUID | None:
    try:
        return UUID(text) if text else None
    except ValueError:
        raise invalid(
            "INVALID_CURSOR", "The cursor is not one of this list; begin without one", field="cursor"
        ) from None
