"""Tenants as those see them who look after an installation."""

from __future__ import annotations

import re
from datetime import datetime

import msgspec

from interlock.core.errors import rule_broken
from interlock.core.principal import LOCAL_TENANT, Principal, Scope

MAX_TITLE = 128
_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")


class Tenant(msgspec.Struct, frozen=True, kw_only=True):
    """A tenant. ``users`` and ``api_keys`` are counted where one tenant is looked at, else None."""

    tenant_id: str
    title: str
    created_at: datetime
    disabled_at: datetime | None = None
    users: int | None = None
    api_keys: int | None = None


class TenantFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which tenants. ``only`` is the one that the caller may see, ``prefix`` the beginning of a name."""

    only: str | None = None
    prefix: str | None = None
    is_disabled: bool | None = None
    after: str | None = None
    limit: int = 50


def is_operator(principal: Principal) -> bool:
    """Whether somebody looks after the whole installation: an administrator of its own tenant."""
    return is_operators(principal.tenant_id) and principal.has_scope(Scope.ADMIN)


def is_operators(tenant_id: str) -> bool:
    """Whether a tenant is the installation's own."""
    return tenant_id == LOCAL_TENANT


def check_name(text: str) -> str:
    """The name of a new tenant, if it may be one. Raises RULE."""
    if _NAME.fullmatch(text) is None:
        message = "name: it has 1 to 64 of the signs A-Z a-z 0-9 _ . -"
        raise rule_broken("VALIDATION_ERROR", message, field="name")
    return text
