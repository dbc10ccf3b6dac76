"""Commands that look after tenants: list, show, create, disable, enable."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import typer

from interlock.doors.cli.access_tables import tenant_facts, tenants_table
from interlock.doors.cli.calling import caller_of, carry_out_async
from interlock.doors.cli.failures import DONE
from interlock.doors.cli.options import AsJson, Url
from interlock.doors.cli.output import Output
from interlock.doors.cli.server import segment

TenantName = Annotated[str, typer.Argument(metavar="NAME", help="Name of a tenant.", show_default=False)]
Search = Annotated[str, typer.Option("--search", metavar="TEXT", help="Only names that begin so.", show_default=False)]
State = Annotated[
    Literal["active", "disabled"] | None, typer.Option("--state", help="Only of this kind.", show_default=False)
]


def list_tenants(
    context: typer.Context,
    search: Search = "",
    state: State = None,
    limit: Annotated[int, typer.Option("--limit", metavar="N", min=1, max=100, help="How many at most.")] = 50,
    cursor: Annotated[
        str, typer.Option("--cursor", metavar="CURSOR", help="Go on behind this page.", show_default=False)
    ] = "",
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """List the tenants of the installation by name."""
    caller, output = caller_of(context), Output(as_json=as_json)

    async def work() -> int:
        async with caller.administrator(url) as server:
            found = await server.get("/tenants", search=search or None, state=state, limit=limit, cursor=cursor or None)
        output.json(found)
        tenants = found.get("tenants") or []
        if not tenants:
            output.line("There are no tenants of that kind. Make one with `interlock tenants create NAME`.")
            return DONE
        output.show(tenants_table(tenants))
        if found.get("has_more"):
            output.note(f"{found.get('total_count')} in all; go on with --cursor {found.get('next_cursor')}")
        return DONE

    carry_out_async(output, work)


def show(context: typer.Context, name: TenantName, url: Url = None, as_json: AsJson = False) -> None:
    """Show a tenant with how many accounts and keys it has."""
    caller, output = caller_of(context), Output(as_json=as_json)

    async def work() -> int:
        async with caller.administrator(url) as server:
            found = await server.get(f"/tenants/{segment(name)}")
        _say(output, found)
        return DONE

    carry_out_async(output, work)


def create(
    context: typer.Context,
    name: TenantName,
    title: Annotated[
        str, typer.Option("--title", metavar="TEXT", help="What people call it.", show_default=False)
    ] = "",
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Make a tenant before anybody comes from it."""
    caller, output = caller_of(context), Output(as_json=as_json)

    async def work() -> int:
        async with caller.administrator(url) as server:
            made = await server.post("/tenants", {"name": name, "title": title})
        _say(output, made)
        output.note(f"Its first administrator: interlock users create EMAIL --role admin --tenant {name}")
        return DONE

    carry_out_async(output, work)


def disable(context: typer.Context, name: TenantName, url: Url = None, as_json: AsJson = False) -> None:
    """Refuse every credential of a tenant, within 5 s in all processes. What it runs goes on."""
    _change(context, name, {"disabled": True}, url, as_json=as_json)


def enable(context: typer.Context, name: TenantName, url: Url = None, as_json: AsJson = False) -> None:
    """Let a disabled tenant in again."""
    _change(context, name, {"disabled": False}, url, as_json=as_json)


def _change(context: typer.Context, name: str, body: dict[str, Any], url: str | None, *, as_json: bool) -> None:
    caller, output = caller_of(context), Output(as_json=as_json)

    async def work() -> int:
        async with caller.administrator(url) as server:
            changed = await server.put(f"/tenants/{segment(name)}", body)
        _say(output, changed)
        return DONE

    carry_out_async(output, work)


def _say(output: Output, tenant: dict[str, Any]) -> None:
    output.json(tenant)
    output.line(tenant_facts(tenant))
