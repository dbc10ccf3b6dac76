"""The operations of the app door that are about access itself."""

from __future__ import annotations

from typing import Any

from interlock.core.principal import Scope
from interlock.doors.http.app import api_keys, audit, stream_tickets, tenants
from interlock.doors.http.app.door import APP
from interlock.doors.http.plumbing.operation import Handler, Keeping, Operation, Policy


def _operation(method: str, path: str, scope: Scope, summary: str, handler: Handler, **rest: Any) -> Operation:
    return Operation(
        method=method,
        path=path,
        door=APP,
        summary=summary,
        handler=handler,
        policy=Policy.USER,
        scope=scope,
        tags=("access",),
        **rest,
    )


ACCESS: tuple[Operation, ...] = (
    _operation(
        "GET",
        "/api-keys",
        Scope.ADMIN,
        "List API keys",
        api_keys.list_keys,
        query=api_keys.KeysQuery,
        answer=api_keys.KeyList,
    ),
    _operation(
        "POST",
        "/api-keys",
        Scope.ADMIN,
        "Make an API key",
        api_keys.create_key,
        body=api_keys.KeyBody,
        aliases=api_keys.KEY_ALIASES,
        answer=api_keys.IssuedKeyObject,
        status=201,
        keeping=Keeping.ONCE,
    ),
    _operation(
        "POST",
        "/api-keys/{key_id}/rotate",
        Scope.ADMIN,
        "Replace an API key",
        api_keys.rotate_key,
        body=api_keys.RotateBody,
        answer=api_keys.IssuedKeyObject,
        status=201,
        keeping=Keeping.ONCE,
        failures=(409,),
    ),
    _operation(
        "DELETE",
        "/api-keys/{key_id}",
        Scope.ADMIN,
        "Revoke an API key",
        api_keys.revoke_key,
        answer=api_keys.KeyRevoked,
    ),
    _operation(
        "POST",
        "/stream-tickets",
        Scope.EXECUTIONS_READ,
        "Get a ticket for a stream",
        stream_tickets.create_ticket,
        body=stream_tickets.TicketBody,
        answer=stream_tickets.TicketObject,
        status=201,
        keeping=Keeping.ONCE,
    ),
    _operation(
        "GET",
        "/audit",
        Scope.ADMIN,
        "Read the audit log",
        audit.list_audit,
        query=audit.AuditQuery,
        query_aliases={"actor": "subject"},
        answer=audit.AuditList,
    ),
    _operation(
        "GET",
        "/tenants",
        Scope.ADMIN,
        "List tenants",
        tenants.list_tenants,
        query=tenants.TenantsQuery,
        answer=tenants.TenantList,
    ),
    _operation(
        "POST",
        "/tenants",
        Scope.ADMIN,
        "Make a tenant",
        tenants.create_tenant,
        body=tenants.CreateTenantBody,
        answer=tenants.TenantObject,
        status=201,
        keeping=Keeping.ONCE,
        failures=(409,),
    ),
    _operation(
        "GET", "/tenants/{tenant}", Scope.ADMIN, "Show a tenant", tenants.show_tenant, answer=tenants.TenantObject
    ),
    _operation(
        "PUT",
        "/tenants/{tenant}",
        Scope.ADMIN,
        "Change a tenant",
        tenants.change_tenant,
        body=tenants.ChangeTenantBody,
        answer=tenants.TenantObject,
    ),
)
