"""Looking after tenants: the operator sees and changes all of them, an administrator sees its own."""

from __future__ import annotations

import msgspec

from interlock.core.errors import ErrorKind, InterlockError, conflict, not_found, rule_broken
from interlock.core.principal import LOCAL_TENANT, Principal, Scope
from interlock.core.tenant import Tenant, TenantFilter, check_name, is_operator
from interlock.ports.access import AccessStore
from interlock.ports.store import Page
from interlock.services.access.gate import TenantGate


class AdministerTenants:
    """Tenants of the installation. Its own one, ``default``, is the operator's. All of it needs the scope ``admin``."""

    def __init__(self, store: AccessStore, gate: TenantGate) -> None:
        self._store = store
        self._gate = gate

    async def list(self, principal: Principal, wanted: TenantFilter) -> Page:
        """Tenants by name. Raises DENIED."""
        principal.require(Scope.ADMIN)
        await self._gate.refresh()
        only = None if is_operator(principal) else principal.tenant_id
        return await self._store.list_tenants(msgspec.structs.replace(wanted, only=only))

    async def show(self, principal: Principal, tenant_id: str) -> Tenant:
        """A tenant with how many accounts and keys it has. Raises DENIED, NOT_FOUND also for another's."""
        principal.require(Scope.ADMIN)
        await self._gate.refresh()
        may_see = is_operator(principal) or tenant_id == principal.tenant_id
        found = await self._store.find_tenant(tenant_id) if may_see else None
        if found is None:
            raise _unknown(tenant_id)
        return found

    async def create(self, principal: Principal, tenant_id: str, title: str) -> Tenant:
        """A new tenant. Raises DENIED, RULE for what is no name, CONFLICT for one that exists."""
        _require_operator(principal)
        if not await self._store.add_tenant(check_name(tenant_id), title):
            raise conflict("ALREADY_EXISTS", f"There is a tenant {tenant_id}")
        return await self.show(principal, tenant_id)

    async def change(self, principal: Principal, tenant_id: str, *, title: str | None, disabled: bool | None) -> Tenant:
        """Another title, disabled, or let in again.

        Of a disabled tenant every credential is refused, here at once and in all processes within 5 s; what it runs
        goes on. Raises DENIED, NOT_FOUND, RULE for shutting out the operator.
        """
        _require_operator(principal)
        if disabled and tenant_id == LOCAL_TENANT:
            message = f"The tenant {LOCAL_TENANT} is the operator's own; nobody could let it in again"
            raise rule_broken("VALIDATION_ERROR", message, field="disabled")
        await self._gate.refresh()  # who has just come from it is known then
        if not await self._store.change_tenant(tenant_id, title=title, disabled=disabled):
            raise _unknown(tenant_id)
        return await self.show(principal, tenant_id)


def _require_operator(principal: Principal) -> None:
    principal.require(Scope.ADMIN)
    if not is_operator(principal):
        message = f"Tenants are looked after by an administrator of the tenant {LOCAL_TENANT}"
        raise InterlockError(ErrorKind.DENIED, "AUTHORIZATION_FAILED", message)


def _unknown(tenant_id: str) -> InterlockError:
    return not_found("NOT_FOUND", f"There is no tenant {tenant_id[:64]}")
