"""API keys of a tenant: make, list, rotate, revoke. All of it needs the scope ``admin``."""

from __future__ import annotations

import secrets
from collections.abc import Collection
from datetime import datetime, timedelta
from uuid import UUID

import msgspec

from interlock.core.api_key import (
    ApiKey,
    KeyFilter,
    digest_of,
    make_key,
)
from interlock.core.errors import ErrorKind, InterlockError, conflict, not_found, rule_broken
from interlock.core.principal import Principal, Scope, Tier
from interlock.core.signed_request import as_text, signing_secret
from interlock.kit.clock import Clock
from interlock.kit.ids import Ids
from interlock.ports.store import Page, Store, Transaction

DEFAULT_GRACE = timedelta(hours=24)
MAX_GRACE = timedelta(days=30)
MAX_KEYS = 200
"""Keys of a tenant that are good, besides those that were rotated and are in their last days."""
MAX_KEPT_KEYS = 2_000
"""Keys of a tenant with those that have ended; 30 days later these are forgotten."""
_MOST_NAMED = 1_000


class KeyWishes(msgspec.Struct, frozen=True, kw_only=True):
    """What a new key shall be. None for the lists of names means all."""

    client_name: str
    scopes: tuple[str, ...]
    tier: Tier = Tier.STANDARD
    expires_at: datetime | None = None
    allowed_tools: tuple[str, ...] | None = None
    allowed_models: tuple[str, ...] | None = None
    signing: bool = False


class IssuedKey(msgspec.Struct, frozen=True, kw_only=True):
    """A new key with its text and, for a signing key, its secret. Neither can be shown again."""

    key: ApiKey
    text: str
    signing_secret: str | None


class ManageKeys:
    """Keys under the caller's claims: nobody sees or changes a key of another tenant.

    ``configured`` are keys of the settings, which are found and otherwise left alone.
    """

    def __init__(
        self,
        store: Store,
        clock: Clock,
        ids: Ids,
        pepper: bytes,
        environment: str,
        configured: Collection[ApiKey] = (),
    ) -> None:
        self._store = store
        self._clock = clock
        self._ids = ids
        self._pepper = pepper
        self._environment = environment
        self._is_local = environment == "local"
        self._configured = tuple(configured)

    async def create(self, principal: Principal, wishes: KeyWishes) -> IssuedKey:
        """Make a key.

        Raises DENIED, RULE for an unknown scope, a past end, or the tier ``development`` elsewhere, CONFLICT beyond
        ``MAX_KEYS``, LIMITED beyond ``MAX_KEPT_KEYS``.
        """
        principal.require(Scope.ADMIN)
        self._check(wishes)
        issued = self._issue(principal, wishes)
        async with self._store.transaction(principal) as transaction:
            if (await transaction.list_keys(KeyFilter(is_good=True, limit=1))).total >= MAX_KEYS:
                raise conflict("TOO_MANY_KEYS", f"A tenant has at most {MAX_KEYS} API keys; revoke one first")
            await _require_room(transaction)
            await transaction.add_key(issued.key)
        return issued

    async def list(self, principal: Principal, wanted: KeyFilter) -> Page:
        """Keys of the tenant, newest first, without their digests. Raises DENIED."""
        principal.require(Scope.ADMIN)
        async with self._store.transaction(principal, read_only=True) as transaction:
            return await transaction.list_keys(wanted)

    async def find(self, principal: Principal, reference: str) -> ApiKey | None:
        """The tenant's key with this id or public id, one of the settings too. Raises DENIED."""
        principal.require(Scope.ADMIN)
        for key in self._configured:
            if key.tenant_id == principal.tenant_id and reference in (key.public_id, str(key.key_id)):
                return key
        async with self._store.transaction(principal, read_only=True) as transaction:
            return await transaction.find_own_key(reference)

    async def public_ids(self, principal: Principal) -> dict[UUID, str]:
        """The public ids of the tenant's keys by whose budget they spend: the newest of each. Raises DENIED.

        Of more than a thousand keys the newest are looked at.
        """
        kept = (await self.list(principal, KeyFilter(limit=_MOST_NAMED))).items
        own = (key for key in self._configured if key.tenant_id == principal.tenant_id)
        return {key.payer_id: key.public_id for key in (*own, *reversed(kept))}

    async def rotate(self, principal: Principal, reference: str, grace: timedelta = DEFAULT_GRACE) -> IssuedKey:
        """A new key like the old one, which stays good for ``grace`` at most. Both spend one budget.

        ``reference`` is the key's id or public id. Raises DENIED, NOT_FOUND, CONFLICT for a key that is no longer good,
        LIMITED beyond ``MAX_KEPT_KEYS``.
        """
        principal.require(Scope.ADMIN)
        if not timedelta(0) <= grace <= MAX_GRACE:
            raise rule_broken("VALIDATION_ERROR", "grace must be 0 s to 30 days", field="grace_seconds")
        now = self._clock.now()
        async with self._store.transaction(principal) as transaction:
            old = await self._find(transaction, reference)
            if not old.is_good(now) or old.replaced_by is not None:
                raise conflict("STATE_CONFLICT", "This key was rotated or revoked, or has expired; rotate the newest")
            await _require_room(transaction)
            issued = self._issue(principal, _like(old), old.payer_id)
            await transaction.add_key(issued.key)
            until = now + grace if old.expires_at is None else min(old.expires_at, now + grace)
            await transaction.replace_key(old.key_id, issued.key.key_id, until)
        return issued

    async def revoke(self, principal: Principal, reference: str) -> ApiKey:
        """End a key for good; within 5 s no process takes it. Again changes nothing. Raises DENIED, NOT_FOUND."""
        principal.require(Scope.ADMIN)
        async with self._store.transaction(principal) as transaction:
            key = await self._find(transaction, reference)
            if key.revoked_at is not None:
                return key
            now = self._clock.now()
            await transaction.revoke_key(key.key_id, now)
        return msgspec.structs.replace(key, revoked_at=now)

    def _issue(self, principal: Principal, wishes: KeyWishes, payer: UUID | None = None) -> IssuedKey:
        text, public_id = make_key(self._environment, secrets.choice)
        key = ApiKey(
            key_id=self._ids.new(),
            public_id=public_id,
            tenant_id=principal.tenant_id,
            client_name=wishes.client_name,
            scopes=tuple(sorted(set(wishes.scopes))),
            tier=wishes.tier,
            created_at=self._clock.now(),
            created_by=principal.subject,
            last4=text[-4:],
            signing=wishes.signing,
            digest=digest_of(text, self._pepper),
            allowed_tools=wishes.allowed_tools,
            allowed_models=wishes.allowed_models,
            expires_at=wishes.expires_at,
            payer=payer,
        )
        secret = as_text(signing_secret(public_id, self._pepper)) if wishes.signing else None
        return IssuedKey(key=key, text=text, signing_secret=secret)

    def _check(self, wishes: KeyWishes) -> None:
        refuse_unknown_scopes(wishes.scopes)
        if wishes.tier is Tier.DEVELOPMENT and not self._is_local:
            raise rule_broken("VALIDATION_ERROR", "The tier development exists in local mode only", field="tier")
        if wishes.expires_at is not None and wishes.expires_at <= self._clock.now():
            raise rule_broken("VALIDATION_ERROR", "expires_at is in the past", field="expires_at")

    async def _find(self, transaction: Transaction, reference: str) -> ApiKey:
        key = await transaction.find_own_key(reference)
        if key is None:
            raise unknown_key(reference)
        return key


def refuse_unknown_scopes(scopes: Collection[str]) -> None:
    """Raise RULE for a scope that does not exist."""
    unknown = sorted(set(scopes) - set(Scope))
    if unknown:
        message = f"There is no scope {unknown[0][:64]!r}; there are {', '.join(Scope)}"
        raise rule_broken("VALIDATION_ERROR", message, field="scopes")


def unknown_key(reference: str) -> InterlockError:
    return not_found("NOT_FOUND", f"There is no API key {reference[:64]}")


async def _require_room(transaction: Transaction) -> None:
    if (await transaction.list_keys(KeyFilter(limit=1))).total >= MAX_KEPT_KEYS:
        message = f"A tenant keeps at most {MAX_KEPT_KEYS} API keys; ended ones are forgotten after 30 days"
        raise InterlockError(ErrorKind.LIMITED, "TOO_MANY_KEYS", message, retryable=True, retry_after=3600.0)


def _like(key: ApiKey) -> KeyWishes:
    return KeyWishes(
        client_name=key.client_name,
        scopes=key.scopes,
        tier=key.tier,
        expires_at=key.expires_at,
        allowed_tools=key.allowed_tools,
        allowed_models=key.allowed_models,
        signing=key.signing,
    )
