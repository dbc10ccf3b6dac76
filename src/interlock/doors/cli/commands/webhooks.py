"""Commands about outgoing webhooks: create, list, show, turn on and off, change the secret, deliveries, delete."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from interlock.doors.cli.calling import caller_of, carry_out_async
from interlock.doors.cli.failures import DONE
from interlock.doors.cli.options import AsJson, Url
from interlock.doors.cli.output import Output
from interlock.doors.cli.server import segment
from interlock.doors.cli.webhook_tables import deliveries_table, webhook_lines, webhooks_table

SHOWN_ONCE = "Keep the secret now: it cannot be shown again. The receiver checks signatures with it."
WebhookArgument = Annotated[str, typer.Argument(metavar="WEBHOOK", help="Id of a webhook.", show_default=False)]


def create(
    context: typer.Context,
    address: Annotated[str, typer.Argument(metavar="ADDRESS", help="Where messages go.", show_default=False)],
    event: Annotated[
        list[str],
        typer.Option(
            "--event",
            metavar="TYPE",
            help="A type of event, a group such as execution.*, or *; may be given again.",
            show_default=False,
        ),
    ],
    workflow: Annotated[
        str, typer.Option("--workflow", metavar="ID", help="Only this workflow's, or this flow's.", show_default=False)
    ] = "",
    description: Annotated[
        str, typer.Option("--description", metavar="TEXT", help="What it is for.", show_default=False)
    ] = "",
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Send events to an address, and show the secret that signs them once."""
    output = Output(as_json=as_json)

    async def work() -> int:
        body: dict[str, Any] = {"url": address, "events": event, "description": description}
        if workflow:
            body["workflow_id"] = workflow
        async with caller_of(context).server(url) as server:
            made = await server.post("/webhooks", body)
        output.json(made)
        output.line(str(made.get("secret")), style="bold")
        output.line(f"webhook {made.get('webhook_id')}  events {', '.join(made.get('events') or [])}")
        output.note(SHOWN_ONCE)
        return DONE

    carry_out_async(output, work)


def list_webhooks(context: typer.Context, url: Url = None, as_json: AsJson = False) -> None:
    """List webhooks, newest first."""
    output = Output(as_json=as_json)

    async def work() -> int:
        async with caller_of(context).server(url) as server:
            found = await server.get("/webhooks")
        output.json(found)
        webhooks = found.get("webhooks") or []
        if webhooks:
            output.show(webhooks_table(webhooks))
        else:
            output.line("There are no webhooks. Make one with `interlock webhooks create ADDRESS --event TYPE`.")
        return DONE

    carry_out_async(output, work)


def show(context: typer.Context, webhook: WebhookArgument, url: Url = None, as_json: AsJson = False) -> None:
    """Show a webhook: where it goes, what of, and why it is off if it is."""
    output = Output(as_json=as_json)

    async def work() -> int:
        async with caller_of(context).server(url) as server:
            found = await server.get(f"/webhooks/{segment(webhook)}")
        _say(output, found)
        return DONE

    carry_out_async(output, work)


def enable(context: typer.Context, webhook: WebhookArgument, url: Url = None, as_json: AsJson = False) -> None:
    """Send to a webhook again that was turned off; what happened meanwhile is not told."""
    _switch(context, webhook, url, as_json, is_active=True)


def disable(context: typer.Context, webhook: WebhookArgument, url: Url = None, as_json: AsJson = False) -> None:
    """Send nothing to a webhook until it is enabled again."""
    _switch(context, webhook, url, as_json, is_active=False)


def rotate_secret(context: typer.Context, webhook: WebhookArgument, url: Url = None, as_json: AsJson = False) -> None:
    """Give a webhook a new secret; for a day messages are signed with the former one too."""
    output = Output(as_json=as_json)

    async def work() -> int:
        async with caller_of(context).server(url) as server:
            made = await server.post(f"/webhooks/{segment(webhook)}/rotate-secret")
        output.json(made)
        output.line(str(made.get("secret")), style="bold")
        output.note(SHOWN_ONCE)
        return DONE

    carry_out_async(output, work)


def _switch(context: typer.Context, webhook: str, url: str | None, as_json: bool, *, is_active: bool) -> None:
    output = Output(as_json=as_json)

    async def work() -> int:
        async with caller_of(context).server(url) as server:
            found = await server.patch(f"/webhooks/{segment(webhook)}", {"is_active": is_active})
        _say(output, found)
        return DONE

    carry_out_async(output, work)


def _say(output: Output, webhook: dict[str, Any]) -> None:
    output.json(webhook)
    for line in webhook_lines(webhook):
        output.line(line)


def deliveries(
    context: typer.Context,
    webhook: WebhookArgument,
    status: Annotated[
        str, typer.Option("--status", metavar="WORD", help="pending, delivered or failed.", show_default=False)
    ] = "",
    limit: Annotated[int, typer.Option("--limit", metavar="N", min=1, max=200, help="At most so many.")] = 20,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """List what was sent, newest first, and how it went."""
    output = Output(as_json=as_json)

    async def work() -> int:
        async with caller_of(context).server(url) as server:
            path = f"/webhooks/{segment(webhook)}/deliveries"
            found = await server.get(path, status=status or None, limit=limit)
        output.json(found)
        rows = found.get("deliveries") or []
        if rows:
            output.show(deliveries_table(rows))
        else:
            output.line("Nothing was sent yet, or only about executions that you may not see.")
        return DONE

    carry_out_async(output, work)


def redeliver(
    context: typer.Context,
    delivery: Annotated[str, typer.Argument(metavar="DELIVERY", help="Id of a delivery.", show_default=False)],
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Send a message again."""
    output = Output(as_json=as_json)

    async def work() -> int:
        async with caller_of(context).server(url) as server:
            made = await server.post(f"/webhooks/deliveries/{segment(delivery)}/redeliver")
        output.json(made)
        output.line(f"Sent again as delivery {made.get('delivery_id')}.")
        return DONE

    carry_out_async(output, work)


def delete(context: typer.Context, webhook: WebhookArgument, url: Url = None, as_json: AsJson = False) -> None:
    """Delete a webhook with all it remembers."""
    output = Output(as_json=as_json)

    async def work() -> int:
        async with caller_of(context).server(url) as server:
            answer = await server.delete(f"/webhooks/{segment(webhook)}")
        output.json(answer)
        output.line("Deleted. Nothing more is sent.")
        return DONE

    carry_out_async(output, work)
