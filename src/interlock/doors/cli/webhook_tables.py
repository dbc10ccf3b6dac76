"""Webhooks and their deliveries as tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table
from rich.text import Text

from interlock.doors.cli.tables import plain_table
from interlock.doors.cli.texts import one_line, shown

_ADDRESS = 60
_SECONDS = 19  # of an instant: date and time without fractions
_STYLES = {"delivered": "green", "failed": "red", "pending": "yellow"}


def webhooks_table(webhooks: Sequence[Mapping[str, Any]]) -> Table:
    """Webhooks with where they go and what of."""
    table = plain_table("Webhook", "", "Address", "Events")
    for webhook in webhooks:
        is_on = bool(webhook.get("is_active"))
        sign = Text("✓ on", style="green") if is_on else Text(f"✗ {shown(webhook.get('disabled_reason'))}", style="red")
        events = ", ".join(webhook.get("events") or [])
        table.add_row(shown(webhook.get("webhook_id")), sign, one_line(webhook.get("url"), _ADDRESS), shown(events))
    return table


def webhook_lines(webhook: Mapping[str, Any]) -> list[str]:
    """One webhook: where it goes, what of, and what moves it on if it is off."""
    webhook_id = shown(webhook.get("webhook_id"))
    is_on = bool(webhook.get("is_active"))
    state = "on" if is_on else f"off ({shown(webhook.get('disabled_reason'))})"
    of = f" of the workflow {shown(webhook['workflow_id'])}" if webhook.get("workflow_id") else ""
    lines = [
        f"Webhook {webhook_id} is {state}.",
        f"To:     {shown(webhook.get('url'))}",
        f"Events: {shown(', '.join(webhook.get('events') or []))}{of}",
        f"Last taken (UTC): {shown(webhook.get('last_success_at') or 'never')[:_SECONDS].replace('T', ' ')}",
    ]
    if webhook.get("description"):
        lines.append(f"For:    {shown(webhook['description'])}")
    return lines if is_on else [*lines, f"Turn it on with `interlock webhooks enable {webhook_id}`."]


def deliveries_table(deliveries: Sequence[Mapping[str, Any]]) -> Table:
    """Deliveries with their last attempt, one a line."""
    table = plain_table("Delivery", "Status", "Tries", "Last", "When (UTC)", "Event")
    for delivery in deliveries:
        attempts = delivery.get("attempts") or []
        last = attempts[-1] if attempts else {}
        status = str(delivery.get("status"))
        table.add_row(
            shown(delivery.get("delivery_id")),
            Text(shown(status), style=_STYLES.get(status, "")),
            str(len(attempts)),
            shown(last.get("status") or last.get("error") or ""),
            shown(last.get("at") or delivery.get("created_at"))[:_SECONDS].replace("T", " "),
            shown(delivery.get("type")),
        )
    return table
