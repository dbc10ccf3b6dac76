"""Commands about API keys: create, list, rotate, revoke."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import typer

from interlock.core.principal import LOCAL_TENANT
from interlock.doors.cli.access_tables import keys_table
from interlock.doors.cli.calling import caller_of, carry_out_async
from interlock.doors.cli.failures import DONE
from interlock.doors.cli.new_keys import MOST_DAYS, read_end, read_name, record_of
from interlock.doors.cli.options import AsJson, TenantOption, Url
from interlock.doors.cli.output import Output
from interlock.doors.cli.server import segment
from interlock.kit import strict_json

SHOWN_ONCE = "Keep it now: it is not stored and cannot be shown again."
KeyArgument = Annotated[
    str, typer.Argument(metavar="KEY", help="Id or public id of a key; never the key itself.", show_default=False)
]


def create(
    context: typer.Context,
    scope: Annotated[
        list[str],
        typer.Option("--scope", metavar="NOUN:VERB", help="What it may do; may be given again.", show_default=False),
    ],
    name: Annotated[str, typer.Argument(metavar="NAME", help="Who or what will use it.", show_default=False)] = "",
    client_name: Annotated[
        str, typer.Option("--client-name", metavar="NAME", help="The same as an option.", show_default=False)
    ] = "",
    tier: Annotated[
        str, typer.Option("--tier", metavar="WORD", help="standard, premium, or development in local mode.")
    ] = "standard",
    days: Annotated[
        int | None,
        typer.Option("--days", metavar="N", min=1, max=MOST_DAYS, help="Days until it ends.", show_default=False),
    ] = None,
    expires: Annotated[
        str,
        typer.Option("--expires", metavar="TIME", help="When it ends, such as 2027-01-31 or 90d.", show_default=False),
    ] = "",
    tool: Annotated[
        list[str] | None,
        typer.Option("--tool", metavar="NAME", help="Only these tools; may be given again.", show_default=False),
    ] = None,
    model: Annotated[
        list[str] | None,
        typer.Option("--model", metavar="NAME", help="Only these models; may be given again.", show_default=False),
    ] = None,
    signing: Annotated[bool, typer.Option("--signing", help="Also make a secret to sign requests with.")] = False,
    is_record: Annotated[
        bool, typer.Option("--config", help="Ask no server: print a record for the setting MCP_API_KEYS.")
    ] = False,
    tenant: TenantOption = LOCAL_TENANT,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Make an API key and show it once."""
    caller, output = caller_of(context), Output(as_json=as_json)

    async def work() -> int:
        body: dict[str, Any] = {
            "client_name": read_name(name, client_name),
            "scopes": scope,
            "rate_limit_tier": tier,
            "expires_at": read_end(expires, days, caller.clock.now()),
            "allowed_tools": tool or None,
            "allowed_models": model or None,
        }
        if is_record:
            _show_record(output, *record_of(body, tenant, caller.programs.environment().profile, signing=signing))
            return DONE
        body["signing"] = signing
        async with caller.administrator(url, tenant) as server:
            issued = await server.post("/api-keys", body)
        _show(output, issued)
        return DONE

    carry_out_async(output, work)


def list_keys(
    context: typer.Context,
    search: Annotated[
        str, typer.Option("--search", metavar="TEXT", help="Only names with this in them.", show_default=False)
    ] = "",
    state: Annotated[
        Literal["active", "over"] | None, typer.Option("--state", help="Only of this kind.", show_default=False)
    ] = None,
    limit: Annotated[int, typer.Option("--limit", metavar="N", min=1, max=1000, help="How many at most.")] = 50,
    offset: Annotated[int, typer.Option("--offset", metavar="N", min=0, help="How many to pass over.")] = 0,
    tenant: TenantOption = LOCAL_TENANT,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """List API keys, newest first."""
    caller, output = caller_of(context), Output(as_json=as_json)

    async def work() -> int:
        async with caller.administrator(url, tenant) as server:
            found = await server.get("/api-keys", search=search or None, state=state, limit=limit, offset=offset)
        output.json(found)
        keys = found.get("api_keys") or []
        if not keys:
            output.line(
                "There are no API keys of that kind. Make one with `interlock keys create NAME --scope NOUN:VERB`."
            )
            return DONE
        output.show(keys_table(keys))
        if found.get("has_more"):
            output.note(f"{found.get('total_count')} in all; go on with --offset {offset + len(keys)}")
        return DONE

    carry_out_async(output, work)


def rotate(
    context: typer.Context,
    key: KeyArgument,
    grace: Annotated[
        int, typer.Option("--grace", metavar="SECONDS", min=0, help="How long the old key stays good.")
    ] = 86_400,
    tenant: TenantOption = LOCAL_TENANT,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Replace an API key; the old one stays good for a while."""
    caller, output = caller_of(context), Output(as_json=as_json)

    async def work() -> int:
        async with caller.administrator(url, tenant) as server:
            issued = await server.post(f"/api-keys/{segment(key)}/rotate", {"grace_seconds": grace})
        _show(output, issued)
        return DONE

    carry_out_async(output, work)


def revoke(
    context: typer.Context,
    key: KeyArgument,
    tenant: TenantOption = LOCAL_TENANT,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """End an API key for good."""
    caller, output = caller_of(context), Output(as_json=as_json)

    async def work() -> int:
        async with caller.administrator(url, tenant) as server:
            answer = await server.delete(f"/api-keys/{segment(key)}")
        output.json(answer)
        output.line("Revoked. Within 5 s no process takes it.")
        return DONE

    carry_out_async(output, work)


def _show_record(output: Output, key: str, record: dict[str, Any]) -> None:
    output.json({"key": key, "record": record})
    output.line(key, style="bold")
    output.line(f"MCP_API_KEYS={strict_json.encode(record).decode()}")
    output.note(f"{SHOWN_ONCE} The record holds its hash; put it into the setting and start the servers again.")


def _show(output: Output, issued: dict[str, Any]) -> None:
    output.json(issued)
    output.line(str(issued.get("key")), style="bold")
    if issued.get("signing_secret"):
        output.line(f"signing secret {issued['signing_secret']}")
    output.line(f"id {issued.get('id')}  scopes {', '.join(issued.get('scopes') or [])}")
    output.note(SHOWN_ONCE)
