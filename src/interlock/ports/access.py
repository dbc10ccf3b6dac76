"""What decides about access needs to keep, beside any caller's transaction: it works for all tenants."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Protocol
from uuid import UUID

import msgspec

from interlock.core.api_key import ApiKey
from interlock.core.audit import AuditEntry
from interlock.core.principal import Principal


class Ticket(msgspec.Struct, frozen=True):
    """What a stream ticket stands for: its holder may open ``resource`` once, as ``principal``."""

    principal: Principal
    resource: str
    expires_at: datetime


class AccessStore(Protocol):
    """Keys, tickets, nonces, tenants and the audit log. Raises UNAVAILABLE or TIMEOUT if the database does not answer.

    It never acts for a caller: whatever a caller may list or change goes through ``ports.store``.
    """

    async def open(self) -> None: ...

    async def close(self) -> None: ...

    async def find_key(self, public_id: str) -> ApiKey | None:
        """The key with its digest, whether or not it is still good."""
        ...

    async def touch_keys(self, used: Mapping[UUID, datetime]) -> None:
        """Note when keys were used last; an older time than the one noted changes nothing."""
        ...

    async def add_ticket(self, digest: bytes, ticket: Ticket) -> None:
        """Keep a ticket under the hash of its text."""
        ...

    async def take_ticket(self, digest: bytes) -> Ticket | None:
        """The ticket, exactly once over all processes; None if there is none, or it was taken."""
        ...

    async def use_nonce(self, key_id: UUID, tenant_id: str, nonce: str, until: datetime) -> bool:
        """Whether the key uses this nonce for the first time; it is kept until ``until``."""
        ...

    async def ensure_tenant(self, tenant_id: str, at_most: int) -> bool:
        """Whether the tenant exists now: it did, or it was made because fewer than ``at_most`` exist."""
        ...

    async def write_audit(self, entries: Sequence[AuditEntry]) -> None:
        """Append to the audit log, all or nothing; entries that are there already are left as they are."""
        ...

    async def purge(self) -> None:
        """Delete tickets and nonces that are over."""
        ...
