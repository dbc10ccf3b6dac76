"""Outgoing webhooks: who wants to hear of which events, and what became of each message."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

import msgspec

from interlock.core.errors import rule_broken
from interlock.core.events import EVENT_TYPES

MAX_URL = 2048
"""Characters."""
_EVERYTHING = "*"


class DeliveryStatus(StrEnum):
    """Where a message stands."""

    PENDING = "pending"
    DELIVERED = "delivered"
    FAILED = "failed"


class Webhook(msgspec.Struct, frozen=True, kw_only=True):
    """A subscription: events of these types, of one workflow or of all, are told to an address."""

    webhook_id: UUID
    tenant_id: str
    user_id: str
    url: str
    description: str
    events: tuple[str, ...]
    workflow_id: UUID | None
    is_active: bool
    disabled_reason: str | None
    last_success_at: datetime | None
    created_at: datetime


class Try(msgspec.Struct, frozen=True, kw_only=True):
    """One attempt at a delivery. ``status`` is the receiver's, None if there was none; then ``error`` says why."""

    attempt: int
    at: datetime
    status: int | None = None
    error: str | None = None
    milliseconds: int = 0


class Delivery(msgspec.Struct, frozen=True, kw_only=True):
    """One message for one webhook. Its id is the ``webhook-id`` of all its attempts."""

    delivery_id: UUID
    webhook_id: UUID
    execution_id: UUID
    seq: int
    type: str
    status: DeliveryStatus
    attempts: int
    due_at: datetime | None
    log: tuple[Try, ...]
    created_at: datetime
    ended_at: datetime | None
    redelivery_of: UUID | None

    @property
    def message_id(self) -> str:
        return message_id(self.delivery_id)


def message_id(delivery_id: UUID) -> str:
    """The ``webhook-id`` of a delivery."""
    return f"msg_{delivery_id.hex}"


def event_types(wanted: Sequence[str]) -> tuple[str, ...]:
    """The event types that names and patterns (``execution.*``, ``*``) mean, sorted. Raises RULE for one with none."""
    found: set[str] = set()
    for name in wanted:
        prefix = name.removesuffix(_EVERYTHING)
        meant = {known for known in EVENT_TYPES if known == name or (prefix != name and known.startswith(prefix))}
        if not meant or (prefix != name and prefix and not prefix.endswith(".")):
            known = ", ".join(sorted(EVENT_TYPES))
            message = f"{name[:64]!r} is no type of event; use *, a group such as execution.*, or some of {known}"
            raise rule_broken("VALIDATION_ERROR", message, field="events")
        found |= meant
    if not found:
        raise rule_broken("VALIDATION_ERROR", "Name at least one type of event", field="events")
    return tuple(sorted(found))


def describe_event(
    *,
    execution_id: UUID,
    seq: int,
    event_type: str,
    workflow_id: UUID | None,
    at: str,
    trace_id: str,
    data: Any,
    session: Mapping[str, str | None] | None = None,
) -> dict[str, Any]:
    """The body of a message, the same at every attempt. ``data`` are the event's fields, None if they are too large.

    ``session`` is what its client calls the session that the execution is, and its flow.
    """
    told: dict[str, Any] = {
        "execution_id": str(execution_id),
        "workflow_id": str(workflow_id) if workflow_id is not None else None,
        **(session or {}),
        "seq": seq,
        "trace_id": trace_id,
        "event": data,
    }
    return {"type": event_type, "timestamp": at, "data": told | ({} if data is not None else {"omitted": True})}
