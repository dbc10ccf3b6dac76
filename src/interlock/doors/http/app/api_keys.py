"""API keys: list, make, rotate and revoke them. Their text is in the answer that makes one, and nowhere else."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from interlock.core.api_key import ApiKey, KeyFilter
from interlock.core.errors import rule_broken
from interlock.core.principal import Scope, Tier
from interlock.doors.http.app.executions import Offset
from interlock.doors.http.plumbing.described import described
from interlock.doors.http.plumbing.operation import Call, Reply
from interlock.doors.http.plumbing.replies import NO_STORE, JsonReply
from interlock.kit.instants import rfc3339, rfc3339_or_none
from interlock.services.access.keys import IssuedKey, KeyWishes

KEY_ALIASES = {"name": "client_name", "tier": "rate_limit_tier"}
Name = Annotated[str, Meta(min_length=1, max_length=128)]
ScopeName = Annotated[Name, described(enum=[*Scope])]
Names = Annotated[list[Name], Meta(max_length=500)]
Instant = Annotated[datetime, Meta(tz=True)]
MAX_LIFE_DAYS = 3_650


class KeyBody(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """``allowed_tools`` and ``allowed_models`` left out mean all; ``signing`` also makes a secret to sign with."""

    client_name: Name
    scopes: Annotated[list[ScopeName], Meta(min_length=1, max_length=64)]
    rate_limit_tier: Tier = Tier.STANDARD
    expires_at: Instant | None = None
    expires_in_days: Annotated[int, Meta(ge=1, le=MAX_LIFE_DAYS)] | None = None
    allowed_tools: Names | None = None
    allowed_models: Names | None = None
    signing: bool = False


class RotateBody(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """``grace_seconds``: how long the old key stays good."""

    grace_seconds: Annotated[int, Meta(ge=0, le=2_592_000)] = 86_400


class KeysQuery(msgspec.Struct, kw_only=True):
    """``search`` is a part of the client's name in any case."""

    search: Name | None = None
    state: Literal["active", "over"] | None = None
    limit: Annotated[int, Meta(ge=1, le=1_000)] = 1_000
    offset: Offset = 0


class KeyObject(msgspec.Struct, kw_only=True):
    """A key without its secret. ``public_id`` and ``last4`` are what people recognise it by."""

    id: str
    public_id: str
    client_name: str
    scopes: list[str]
    rate_limit_tier: str
    active: bool
    signing: bool
    last4: str
    created_at: str
    created_by: str
    expires_at: str | None
    last_used_at: str | None
    revoked_at: str | None
    replaced_by: str | None
    allowed_tools: list[str] | None
    allowed_models: list[str] | None


class IssuedKeyObject(KeyObject, kw_only=True):
    """A new key: ``key``, and ``signing_secret`` if it signs, are shown this once."""

    key: str
    signing_secret: str | UnsetType = UNSET
    replaces: str | UnsetType = UNSET


class KeyList(msgspec.Struct, kw_only=True):
    api_keys: list[KeyObject]
    total_count: int
    total: int
    has_more: bool


class KeyRevoked(msgspec.Struct, kw_only=True):
    success: bool
    message: str
    id: str
    revoked_at: str | None


async def list_keys(call: Call[None, KeysQuery]) -> Reply:
    """Keys of the tenant, newest first, also those that are no longer good."""
    query = call.query
    wanted = KeyFilter(
        name=query.search,
        is_good=None if query.state is None else query.state == "active",
        limit=query.limit,
        offset=query.offset,
    )
    page = await call.services.access.keys.list(call.principal, wanted)
    now = call.context.clock.now()
    answer = KeyList(
        api_keys=[KeyObject(**_fields(key, now)) for key in page.items],
        total_count=page.total,
        total=page.total,
        has_more=query.offset + len(page.items) < page.total,
    )
    return JsonReply(answer, headers=NO_STORE)


async def create_key(call: Call[KeyBody, None]) -> Reply:
    """Make a key. Its text cannot be shown again."""
    issued = await call.services.access.keys.create(call.principal, _wishes(call))
    call.acts_on(str(issued.key.key_id), _powers(issued.key))
    return _issued(call, issued)


async def rotate_key(call: Call[RotateBody, None]) -> Reply:
    """A new key like this one, which stays good for the grace period."""
    reference = call.path["key_id"]
    grace = timedelta(seconds=call.body.grace_seconds)
    issued = await call.services.access.keys.rotate(call.principal, reference, grace)
    call.acts_on(reference, f"new={issued.key.key_id} {_powers(issued.key)}")
    return _issued(call, issued, replaces=reference)


async def revoke_key(call: Call[None, None]) -> Reply:
    """End a key for good, on every process within 5 s."""
    key = await call.services.access.keys.revoke(call.principal, call.path["key_id"])
    answer = KeyRevoked(
        success=True,
        message="The key is revoked; within 5 s no process takes it",
        id=str(key.key_id),
        revoked_at=rfc3339_or_none(key.revoked_at),
    )
    return JsonReply(answer, headers=NO_STORE)


def _wishes(call: Call[KeyBody, None]) -> KeyWishes:
    body = call.body
    if body.expires_at is not None and body.expires_in_days is not None:
        raise rule_broken("VALIDATION_ERROR", "Send expires_at or expires_in_days, not both", field="expires_in_days")
    expires_at = body.expires_at
    if body.expires_in_days is not None:
        expires_at = call.context.clock.now() + timedelta(days=body.expires_in_days)
    return KeyWishes(
        client_name=body.client_name,
        scopes=tuple(body.scopes),
        tier=body.rate_limit_tier,
        expires_at=expires_at,
        allowed_tools=_tuple(body.allowed_tools),
        allowed_models=_tuple(body.allowed_models),
        signing=body.signing,
    )


def _issued(call: Call[Any, None], issued: IssuedKey, replaces: str | UnsetType = UNSET) -> Reply:
    answer = IssuedKeyObject(
        **_fields(issued.key, call.context.clock.now()),
        key=issued.text,
        signing_secret=issued.signing_secret if issued.signing_secret is not None else UNSET,
        replaces=replaces,
    )
    return JsonReply(answer, status=201, headers=NO_STORE)


def _powers(key: ApiKey) -> str:
    """What a key may do, for the audit log."""
    return f"scopes={','.join(key.scopes)} tier={key.tier}"


def _fields(key: ApiKey, now: datetime) -> dict[str, Any]:
    return {
        "id": str(key.key_id),
        "public_id": key.public_id,
        "client_name": key.client_name,
        "scopes": list(key.scopes),
        "rate_limit_tier": str(key.tier),
        "active": key.is_good(now),
        "signing": key.signing,
        "last4": key.last4,
        "created_at": rfc3339(key.created_at),
        "created_by": key.created_by,
        "expires_at": rfc3339_or_none(key.expires_at),
        "last_used_at": rfc3339_or_none(key.last_used_at),
        "revoked_at": rfc3339_or_none(key.revoked_at),
        "replaced_by": str(key.replaced_by) if key.replaced_by is not None else None,
        "allowed_tools": _list(key.allowed_tools),
        "allowed_models": _list(key.allowed_models),
    }


def _tuple(names: list[str] | None) -> tuple[str, ...] | None:
    return None if names is None else tuple(names)


def _list(names: tuple[str, ...] | None) -> list[str] | None:
    return None if names is None else list(names)
