"""What decides about access needs to keep, beside any caller's transaction: it works for all tenants."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple, Protocol
from uuid import UUID

import msgspec

from interlock.core.api_key import ApiKey
from interlock.core.principal import Principal
from interlock.core.stream_seats import Granted, SeatClaim
from interlock.core.tenant import Tenant, TenantFilter
from interlock.ports.audit import AuditTrail
from interlock.ports.store import Page


class Ticket(msgspec.Struct, frozen=True):
    """What a stream ticket stands for: its holder may open ``resource`` once, as ``principal``.

    ``ends_at`` is when the token is over that the ticket was asked for with; the stream ends with it. ``credential``
    is that token, sealed, to be asked again whether it still stands; empty where there was none.
    """

    principal: Principal
    resource: str
    expires_at: datetime
    ends_at: datetime | None = None
    credential: bytes = b""


class AnswerPlace(NamedTuple):
    """Under what an answer is kept. ``scope`` names caller and operation."""

    tenant_id: str
    scope: str
    key: str


class StoredAnswer(msgspec.Struct, frozen=True):
    """What there is under a key; ``status`` and ``body`` are None until it is answered.

    ``is_lost``: nobody can be working on it any more.
    """

    digest: bytes
    status: int | None
    body: bytes | None
    is_lost: bool


class AccessStore(AuditTrail, Protocol):
    """Keys, tickets, nonces, tenants and the audit log. Raises UNAVAILABLE or TIMEOUT if the database is away.

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

    async def add_ticket(self, digest: bytes, ticket: Ticket, at_most: int) -> bool:
        """Whether the ticket is kept now, under the hash of its text: its tenant had fewer than ``at_most``."""
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

    async def claim_answer(self, place: AnswerPlace, digest: bytes, kept: timedelta) -> bool:
        """Whether nobody has used this key in the last time ``kept``: from now on the caller has."""
        ...

    async def find_answer(self, place: AnswerPlace, patience: timedelta) -> StoredAnswer | None:
        """What there is under a key. ``patience`` is how long somebody may work on it."""
        ...

    async def keep_answer(self, place: AnswerPlace, digest: bytes, status: int, body: bytes, kept: timedelta) -> None:
        """Keep an answer, unless there is one."""
        ...

    async def release_answer(self, place: AnswerPlace) -> None:
        """Nothing was done: the key is as if it had not been used."""
        ...

    async def refresh_tenants(self, seen: Sequence[str]) -> frozenset[str]:
        """Note tenants that callers came from; those that are disabled."""
        ...

    async def list_tenants(self, wanted: TenantFilter) -> Page:
        """Tenants by name."""
        ...

    async def find_tenant(self, tenant_id: str) -> Tenant | None:
        """A tenant with what it has."""
        ...

    async def add_tenant(self, tenant_id: str, title: str) -> bool:
        """Whether the tenant is new."""
        ...

    async def change_tenant(self, tenant_id: str, *, title: str | None, disabled: bool | None) -> bool:
        """Whether there is such a tenant, which is as wanted now. None leaves something as it is."""
        ...

    async def hold_seats(self, process: UUID, claims: Sequence[SeatClaim], lease: timedelta) -> list[Granted]:
        """Note what the process holds of each claim, for ``lease``, and give it what is free over all processes.

        No two claims have the same holder. Two calls at the same time never give the same seat.
        """
        ...

    async def forget_dead_seats(self) -> None:
        """Delete what processes held whose lease is over."""
        ...

    async def purge(self) -> None:
        """Delete tickets, nonces and kept answers that are over, and keys that have been for 30 days."""
        ...
