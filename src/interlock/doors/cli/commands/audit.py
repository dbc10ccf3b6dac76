"""The command that reads the audit log."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Literal

import typer

from interlock.core.principal import LOCAL_TENANT
from interlock.doors.cli.access_tables import audit_table
from interlock.doors.cli.calling import caller_of, carry_out_async
from interlock.doors.cli.failures import DONE, WrongUseError
from interlock.doors.cli.options import AsJson, Url
from interlock.doors.cli.output import Output


def audit(
    context: typer.Context,
    actor: Annotated[
        str, typer.Option("--actor", "--subject", metavar="WHO", help="Only of this caller.", show_default=False)
    ] = "",
    action: Annotated[
        str, typer.Option("--action", metavar="TEXT", help="Only actions that begin so.", show_default=False)
    ] = "",
    outcome: Annotated[
        Literal["done", "refused", "failed"] | None,
        typer.Option("--outcome", help="Only calls that ended so.", show_default=False),
    ] = None,
    target: Annotated[
        str, typer.Option("--target", metavar="ID", help="Only calls about this.", show_default=False)
    ] = "",
    since: Annotated[
        str,
        typer.Option("--since", metavar="TIME", help="From then on, such as 2026-11-22T00:00Z.", show_default=False),
    ] = "",
    until: Annotated[str, typer.Option("--until", metavar="TIME", help="Before then.", show_default=False)] = "",
    limit: Annotated[int, typer.Option("--limit", metavar="N", min=1, max=100, help="How many at most.")] = 50,
    cursor: Annotated[
        str, typer.Option("--cursor", metavar="CURSOR", help="Go on behind this page.", show_default=False)
    ] = "",
    tenant: Annotated[
        str, typer.Option("--tenant", metavar="NAME", help="Tenant whose log is meant; the operator may name any.")
    ] = LOCAL_TENANT,
    strangers: Annotated[
        bool, typer.Option("--strangers", help="Calls whose credential named no tenant, such as failed log-ins.")
    ] = False,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Show who did what, from where, and how it ended."""
    caller, output = caller_of(context), Output(as_json=as_json)

    async def work() -> int:
        async with caller.administrator(url) as server:  # not as one of a tenant that may be disabled
            found = await server.get(
                "/audit",
                actor=actor or None,
                action=action or None,
                outcome=outcome,
                target=target or None,
                since=_instant("--since", since),
                until=_instant("--until", until),
                limit=limit,
                cursor=cursor or None,
                tenant=tenant if tenant != LOCAL_TENANT else None,
                strangers="true" if strangers else None,
            )
        output.json(found)
        entries = found.get("entries") or []
        if not entries:
            output.line("The audit log has nothing of that kind.")
            return DONE
        output.show(audit_table(entries))
        if found.get("has_more"):
            output.note(f"{found.get('total_count')} in all; go on with --cursor {found.get('next_cursor')}")
        return DONE

    carry_out_async(output, work)


def _instant(option: str, text: str) -> str | None:
    """A time with its zone, UTC if it names none; a day is its first moment."""
    if not text:
        return None
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise WrongUseError(f"{option}: {text!r} is no time; write it like 2026-11-22T08:30Z") from error
    return (found if found.tzinfo is not None else found.replace(tzinfo=UTC)).isoformat()
