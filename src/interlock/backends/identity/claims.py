"""From the claims of a Supabase-shaped token to a principal. What users can write themselves decides nothing."""

from __future__ import annotations

from typing import Any

import msgspec

from interlock.backends.identity.refusal import refused
from interlock.core.principal import SCOPES_OF, Principal, Role

PERSON = "authenticated"
"""The database role of a person; the keys of a project (``anon``, ``service_role``) are nobody's login."""
_MAX_NAME = 256


class AppMetadata(msgspec.Struct):
    """What the issuer's administrator says of a person."""

    interlock_role: Role = Role.MEMBER
    tenant_id: str | None = None


class Claims(msgspec.Struct):
    """The claims that are used. ``user_metadata`` is not among them on purpose: its subject may write it."""

    sub: str
    email: str | None = None
    role: str = PERSON
    email_verified: bool = False
    is_anonymous: bool = False
    app_metadata: AppMetadata = msgspec.field(default_factory=AppMetadata)


def read_claims(content: dict[str, Any], *, allows_guests: bool) -> Claims:
    """The claims of a person. Raises UNAUTHENTICATED for guests that are not wanted and for keys that are no person's;
    msgspec.ValidationError for a role or tenant that is none."""
    claims = msgspec.convert(content, Claims)
    if claims.role != PERSON:
        raise refused("auth_failed", "The token is no person's; log in to get one")
    if claims.is_anonymous and not allows_guests:
        raise refused("auth_failed", "Guests may not use this server; log in with an account")
    for name in (claims.sub, claims.app_metadata.tenant_id):
        if name is not None and not 0 < len(name) <= _MAX_NAME:
            raise msgspec.ValidationError("a name is empty or too long")
    return claims


def principal_of(claims: Claims) -> Principal:
    """Who the claims speak of: the tenant that its administrator set, else a personal one named by the subject."""
    role = claims.app_metadata.interlock_role
    return Principal(
        subject=claims.sub,
        tenant_id=claims.app_metadata.tenant_id or claims.sub,
        scopes=SCOPES_OF[role],
        email=claims.email or None,
        role=role,
        kind="guest" if claims.is_anonymous else "user",
    )
