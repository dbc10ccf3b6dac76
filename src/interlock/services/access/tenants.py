"""The tenants that callers of local mode name themselves."""

from __future__ import annotations

import re

from interlock.core.errors import ErrorKind, InterlockError
from interlock.core.principal import LOCAL_TENANT, Principal, Scope, Tier
from interlock.ports.access import AccessStore
from interlock.services.access.refusals import refused

MAX_TENANTS = 256
"""Tenants that local mode makes by itself."""
LOCAL_SUBJECT = "local"
LOCAL_SCOPES = frozenset(Scope) - {Scope.ADMIN}
"""What the local principal may do: everything but administer."""

_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")


class LocalTenants:
    """Local principals by the name of their tenant; each is made on first use and remembered."""

    def __init__(self, store: AccessStore) -> None:
        self._store = store
        self._known: dict[str, Principal] = {}

    async def principal(self, tenant_id: str = LOCAL_TENANT) -> Principal:
        """The local principal of a tenant. Raises UNAUTHENTICATED for no possible name, LIMITED beyond 256 tenants."""
        known = self._known.get(tenant_id)
        if known is not None:
            return known
        if not _NAME.fullmatch(tenant_id):
            raise refused("invalid_token", "X-Tenant-Id must be 1 to 64 of the characters A-Z a-z 0-9 _ . -")
        if tenant_id != LOCAL_TENANT and not await self._store.ensure_tenant(tenant_id, MAX_TENANTS):
            message = f"Local mode makes at most {MAX_TENANTS} tenants; use one that exists"
            raise InterlockError(
                ErrorKind.LIMITED, "RATE_LIMIT_EXCEEDED", message, details={"limit": MAX_TENANTS}, retry_after=3600
            )
        principal = Principal(
            subject=LOCAL_SUBJECT, tenant_id=tenant_id, scopes=LOCAL_SCOPES, kind="local", tier=Tier.DEVELOPMENT
        )
        self._known[tenant_id] = principal
        return principal
