"""Tenants of the installation, for who looks after it: list, show, make, disable and enable them."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from interlock.core.tenant import MAX_TITLE, Tenant, TenantFilter
from interlock.doors.http.app.executions import Limit
from interlock.doors.http.plumbing.described import RegistryName
from interlock.doors.http.plumbing.operation import Call, Reply
from interlock.doors.http.plumbing.replies import JsonReply
from interlock.kit.instants import rfc3339, rfc3339_or_none

Name = Annotated[str, Meta(max_length=256)]
Title = Annotated[str, Meta(max_length=MAX_TITLE)]


class TenantsQuery(msgspec.Struct, kw_only=True):
    """``search`` is the beginning of a name, ``cursor`` the ``next_cursor`` of the page before."""

    search: Name | None = None
    state: Literal["active", "disabled"] | None = None
    limit: Limit = 50
    cursor: Name | None = None


class CreateTenantBody(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """``name`` is what credentials call the tenant, ``title`` what people do."""

    name: RegistryName
    title: Title = ""


class ChangeTenantBody(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What is left out stays as it is. Of a disabled tenant every credential is refused."""

    title: Title | None = None
    disabled: bool | None = None


class TenantObject(msgspec.Struct, kw_only=True, omit_defaults=True):
    """A tenant. How many accounts and keys it has is told where one tenant is shown."""

    name: str
    title: str
    disabled: bool
    disabled_at: str | None
    created_at: str
    users: int | None = None
    api_keys: int | None = None


class TenantList(msgspec.Struct, kw_only=True):
    tenants: list[TenantObject]
    total_count: int
    total: int
    has_more: bool
    next_cursor: str | None


async def list_tenants(call: Call[None, TenantsQuery]) -> Reply:
    """Tenants by name; who does not look after the installation sees its own."""
    query = call.query
    wanted = TenantFilter(
        prefix=query.search,
        is_disabled=None if query.state is None else query.state == "disabled",
        after=query.cursor,
        limit=query.limit + 1,  # one more than asked for tells whether there is a next page
    )
    page = await call.services.access.administer_tenants.list(call.principal, wanted)
    shown = page.items[: query.limit]
    has_more = len(page.items) > query.limit
    answer = TenantList(
        tenants=[_object(tenant) for tenant in shown],
        total_count=page.total,
        total=page.total,
        has_more=has_more,
        next_cursor=shown[-1].tenant_id if has_more else None,
    )
    return JsonReply(answer)


async def show_tenant(call: Call[None, None]) -> Reply:
    """One tenant."""
    return JsonReply(_object(await call.services.access.administer_tenants.show(call.principal, call.path["tenant"])))


async def create_tenant(call: Call[CreateTenantBody, None]) -> Reply:
    """Make a tenant before anybody comes from it."""
    call.acts_on(call.body.name)
    made = await call.services.access.administer_tenants.create(call.principal, call.body.name, call.body.title)
    return JsonReply(_object(made), status=201)


async def change_tenant(call: Call[ChangeTenantBody, None]) -> Reply:
    """Give a tenant another title, shut it out, or let it in again."""
    if call.body.disabled is not None:
        call.acts_on(call.path["tenant"], f"disabled={call.body.disabled}".lower())
    changed = await call.services.access.administer_tenants.change(
        call.principal, call.path["tenant"], title=call.body.title, disabled=call.body.disabled
    )
    return JsonReply(_object(changed))


def _object(tenant: Tenant) -> TenantObject:
    return TenantObject(
        name=tenant.tenant_id,
        title=tenant.title,
        disabled=tenant.disabled_at is not None,
        disabled_at=rfc3339_or_none(tenant.disabled_at),
        created_at=rfc3339(tenant.created_at),
        users=tenant.users,
        api_keys=tenant.api_keys,
    )
