"""Tenants, API keys and audit entries as tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table
from rich.text import Text

from interlock.doors.cli.tables import plain_table
from interlock.doors.cli.texts import one_line, shown

_NAME = 32
_ACTION = 60
_SECONDS = 19  # of an instant: date and time without fractions


def keys_table(keys: Sequence[Mapping[str, Any]]) -> Table:
    """Keys with what they may do and when they were used last."""
    table = plain_table("Key", "Name", "", "Last used (UTC)", "Ends (UTC)", "Scopes")
    for key in keys:
        sign = Text("✓ good", style="green") if key.get("active") else Text("✗ over", style="red")
        table.add_row(
            shown(key.get("public_id")),
            one_line(key.get("client_name"), _NAME),
            sign,
            _moment(key.get("last_used_at")),
            _moment(key.get("expires_at") if key.get("revoked_at") is None else key.get("revoked_at")),
            shown(", ".join(key.get("scopes") or [])),
        )
    return table


def tenants_table(tenants: Sequence[Mapping[str, Any]]) -> Table:
    """Tenants, one a line."""
    table = plain_table("Tenant", "", "Since (UTC)", "Title")
    for tenant in tenants:
        table.add_row(
            shown(tenant.get("name")),
            Text("✗ disabled", style="red") if tenant.get("disabled") else Text("✓ active", style="green"),
            _moment(tenant.get("created_at")),
            one_line(tenant.get("title"), _NAME),
        )
    return table


def tenant_facts(tenant: Mapping[str, Any]) -> str:
    """A tenant in a line."""
    name = str(tenant.get("name")) + (f" ({tenant['title']})" if tenant.get("title") else "")
    word = f"disabled since {_moment(tenant.get('disabled_at'))} UTC" if tenant.get("disabled") else "active"
    return f"{name}: {word}, accounts: {tenant.get('users')}, API keys: {tenant.get('api_keys')}"


def audit_table(entries: Sequence[Mapping[str, Any]]) -> Table:
    """Entries of the audit log, one a line."""
    table = plain_table("When (UTC)", "Outcome", "Who", "From", "Did what")
    styles = {"done": "green", "refused": "yellow", "failed": "red"}
    for entry in entries:
        outcome = str(entry.get("outcome"))
        code = f" {entry['code']}" if entry.get("code") else ""
        times = f" ({entry['times']} times)" if entry.get("times", 1) > 1 else ""
        table.add_row(
            _moment(entry.get("at")),
            Text(shown(outcome), style=styles.get(outcome, "")),
            one_line(entry.get("subject"), _NAME),
            shown(entry.get("client") or ""),
            one_line(f"{_did(entry)}{code}{times}", _ACTION),
        )
    return table


def _did(entry: Mapping[str, Any]) -> str:
    return " ".join(str(entry[name]) for name in ("action", "target", "detail") if entry.get(name))


def _moment(text: Any) -> str:
    return shown(text)[:_SECONDS].replace("T", " ") if text else ""
