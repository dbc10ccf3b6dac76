"""Accounts of the built-in user directory: who may log in, and what an address and a password must be."""

from __future__ import annotations

import json
import re
from datetime import datetime, timedelta
from typing import Any, Literal
from uuid import UUID

import msgspec

from interlock.core.errors import rule_broken
from interlock.core.principal import Role

ACCESS_LIFETIME = timedelta(hours=1)
"""How long an access token is valid."""
REFRESH_LIFETIME = timedelta(days=30)
"""How long a refresh token can be exchanged for the next one."""
MAX_FAILURES = 10
"""So many wrong passwords per account and address are answered within ``FAILURE_WINDOW``; then none is."""
FAILURE_WINDOW = timedelta(minutes=10)

MIN_PASSWORD = 8
MAX_PASSWORD = 1024
_MAX_EMAIL = 254
_MAX_METADATA = 4_096  # it stands in every token, and a token in a header
_EMAIL = re.compile(r"[!-?A-~]+@[!-?A-~]+")


class Account(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody who can log in. ``email`` is in lower case; what is in ``user_metadata`` is the person's own word."""

    user_id: UUID
    tenant_id: str
    email: str
    role: Role
    user_metadata: dict[str, Any]
    created_at: datetime
    updated_at: datetime
    confirmed_at: datetime | None = None
    disabled_at: datetime | None = None
    last_login_at: datetime | None = None

    @property
    def can_log_in(self) -> bool:
        return self.confirmed_at is not None and self.disabled_at is None


class AccountFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which accounts. ``email`` is a part of the address; None means all."""

    email: str | None = None
    role: Role | None = None
    state: Literal["ready", "unconfirmed", "disabled"] | None = None
    limit: int = 50
    offset: int = 0


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """What a login is worth now: the account's tenant, address and role, and whether both are still good."""

    tenant_id: str
    email: str
    role: Role
    is_good: bool


class Held(msgspec.Struct, frozen=True):
    """What a token that was signed here says: whose it is, of which login, and until when (epoch seconds)."""

    user_id: UUID
    login_id: UUID
    expires_at: float


def normal_email(text: str) -> str:
    """The one spelling of an address. Raises RULE for what is none."""
    email = text.strip().lower()
    if len(email) > _MAX_EMAIL or _EMAIL.fullmatch(email) is None:
        raise rule_broken("VALIDATION_FAILED", "email: this is no e-mail address of plain ASCII signs", field="email")
    return email


def check_password(text: str) -> str:
    """The password, if it may be one. Raises RULE."""
    if not MIN_PASSWORD <= len(text) <= MAX_PASSWORD:
        message = f"password: it must have {MIN_PASSWORD} to {MAX_PASSWORD} characters"
        raise rule_broken("WEAK_PASSWORD", message, field="password")
    return text


def check_metadata(value: dict[str, Any]) -> dict[str, Any]:
    """What a person says about themselves, if it is not too much. Raises RULE."""
    if len(json.dumps(value)) > _MAX_METADATA:
        message = f"data: it may have at most {_MAX_METADATA} characters as JSON of ASCII signs"
        raise rule_broken("VALIDATION_FAILED", message, field="data")
    return value
