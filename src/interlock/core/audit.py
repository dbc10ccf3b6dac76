"""What the audit log says of one call: who, what, from where, and how it ended."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from uuid import UUID

import msgspec


class Outcome(StrEnum):
    """How a call ended."""

    DONE = "done"
    REFUSED = "refused"  # the caller may not, or asked for what cannot be
    FAILED = "failed"  # the server could not


class AuditEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One call. ``action`` is method and route template; ``target`` what was acted on: the ids of the path, else of
    what was made. ``detail`` is what was set, where that matters for who may do what; never a secret. A refusal that
    was repeated stands here once, with how many ``times`` it was told, and as it was for the first time.

    ``tenant_id`` is empty for a caller that no credential named. ``status`` and ``code`` are what was answered; the
    code is empty if all went well.
    """

    audit_id: UUID
    tenant_id: str
    at: datetime
    subject: str
    kind: str
    action: str
    outcome: Outcome
    status: int
    door: str
    key_id: UUID | None = None
    target: str = ""
    code: str = ""
    client: str = ""
    user_agent: str = ""
    trace_id: str = ""
    request_id: str = ""
    detail: str = ""
    times: int = 1


class AuditFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which entries to list. ``before`` is an entry's id: only older ones. ``action`` is the beginning of one.

    ``tenant_id`` is whose; empty means those of callers that no credential named.
    """

    tenant_id: str
    subject: str | None = None
    action: str | None = None
    outcome: str | None = None
    target: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    before: UUID | None = None
    limit: int = 50
