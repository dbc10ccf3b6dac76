"""Which tenants are shut out: asked for every caller, answered from memory."""

from __future__ import annotations

from interlock.core.principal import Principal
from interlock.ports.access import AccessStore
from interlock.services.access.refusals import refused

REFRESH_SECONDS = 2.0
"""How often the tenants that are disabled are read: within this and one query all processes shut one out."""
_MAX_KNOWN = 50_000


class TenantGate:
    """Knows the disabled tenants as they were a moment ago, and notes the tenants that callers come from."""

    def __init__(self, store: AccessStore) -> None:
        self._store = store
        self._disabled: frozenset[str] = frozenset()
        self._known: set[str] = set()
        self._new: set[str] = set()

    def admit(self, principal: Principal) -> Principal:
        """The caller, unless its tenant is disabled. Never waits. Raises UNAUTHENTICATED ``client_disabled``."""
        tenant_id = principal.tenant_id
        if tenant_id in self._disabled:
            raise refused("client_disabled", "This tenant is disabled; ask who looks after the installation")
        if tenant_id not in self._known:
            self._new.add(tenant_id)
        return principal

    async def refresh(self) -> None:
        """Read which tenants are disabled, and keep those that were noted. Raises what the store raises."""
        new = sorted(tenant_id for tenant_id in self._new if tenant_id)
        self._disabled = await self._store.refresh_tenants(new)
        self._new.difference_update(new)
        if len(self._known) + len(new) > _MAX_KNOWN:
            self._known.clear()
        self._known.update(new)
