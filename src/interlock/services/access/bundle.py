"""All use cases about access of one server, put together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from interlock.core.api_key import ApiKey
from interlock.kit.clock import Clock
from interlock.kit.ids import Ids
from interlock.ports.access import AccessStore
from interlock.ports.identity import Identity
from interlock.ports.secrets import Secrets
from interlock.ports.store import Store
from interlock.services.access.administer import AdministerTenants
from interlock.services.access.answers import KeptAnswers
from interlock.services.access.audit import KEPT_DAYS, AuditLog
from interlock.services.access.authenticate import Credentials, KeyIdentity
from interlock.services.access.gate import REFRESH_SECONDS, TenantGate
from interlock.services.access.keys import ManageKeys
from interlock.services.access.stream_seats import RENEW_SECONDS, StreamSeats
from interlock.services.access.tenants import LocalTenants
from interlock.services.access.tickets import StreamTickets
from interlock.services.access.upkeep import AUDIT_SECONDS, LAST_USED_SECONDS, PURGE_SECONDS, Upkeep


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """``identity`` takes every bearer; ``upkeep`` must be started for the audit log to be written in time."""

    identity: Identity
    key_identity: KeyIdentity
    keys: ManageKeys
    tickets: StreamTickets
    tenants: LocalTenants
    audit: AuditLog
    upkeep: Upkeep
    gate: TenantGate
    administer_tenants: AdministerTenants
    answers: KeptAnswers
    seats: StreamSeats


def build_access(
    *,
    access_store: AccessStore,
    store: Store,
    tokens: Identity,
    clock: Clock,
    ids: Ids,
    peppers: Sequence[bytes],
    environment: str,
    secrets: Secrets,
    configured_keys: Mapping[bytes, ApiKey] | None = None,
    audit_days: int = KEPT_DAYS,
) -> Access:
    """The use cases over these parts. ``environment`` is its word in new keys, which is ``local`` in local mode.

    ``tokens`` checks what is no API key; ``peppers`` are secrets, newest first.

    ``secrets`` seal answers that are kept, and the tokens behind tickets.
    """
    key_identity = KeyIdentity(access_store, clock, peppers, configured_keys)
    audit = AuditLog(access_store, store, clock, audit_days)
    gate = TenantGate(access_store)
    seats = StreamSeats(access_store, ids)
    chores = {
        "tenants": (gate.refresh, REFRESH_SECONDS),
        "audit": (audit.flush, AUDIT_SECONDS),
        "last used": (key_identity.flush, LAST_USED_SECONDS),
        "purge": (access_store.purge, PURGE_SECONDS),
        "audit purge": (audit.purge, PURGE_SECONDS),
        "stream seats": (seats.renew, RENEW_SECONDS),
    }
    return Access(
        identity=Credentials(key_identity, tokens),
        key_identity=key_identity,
        keys=ManageKeys(store, clock, ids, peppers[0], environment, (configured_keys or {}).values()),
        tickets=StreamTickets(access_store, clock, key_identity, tokens, secrets),
        tenants=LocalTenants(access_store),
        audit=audit,
        upkeep=Upkeep(chores),
        gate=gate,
        administer_tenants=AdministerTenants(access_store, gate),
        answers=KeptAnswers(access_store, secrets, peppers),
        seats=seats,
    )
