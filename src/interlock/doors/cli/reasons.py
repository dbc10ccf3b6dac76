"""Why an execution does not move, in sentences with what its reader can do about it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from interlock.doors.cli.facts import ENDED
from interlock.doors.cli.texts import duration, epoch, instant, one_line

_WHY: dict[str, str] = {
    "slot": "It waits for a free slot of the server; nothing of it has run yet.",
    "tenant_cap": "Its tenant has as many executions under way as it may have; it starts when one of them rests.",
    "approval": "It waits for a person's decision.",
    "human": "It waits for a person.",
    "input": "It waits for a person's input.",
    "timer": "It waits for a timer.",
    "signal": "It waits for a signal.",
    "event": "It waits for an event.",
    "callback": "It waits for a callback from outside.",
    "child": "It waits for a sub-workflow.",
    "retry_at": "A node failed and waits for its next attempt.",
    "paused": "It is paused: no new node starts.",
    "quarantined": "A node's process died three times, so it is not started again.",
    "no_worker": "No worker can run its next node.",
    "resources": "Its next node needs resources that are not free.",
    "lost_owner": "The server process that worked on it is gone; another takes it over within seconds.",
}


def why_it_rests(
    execution: Mapping[str, Any], approvals: Sequence[Mapping[str, Any]], now: float
) -> list[tuple[str, str]]:
    """Each reason with the command that helps (empty if time alone does); nothing while it moves or after its end."""
    status = str(execution.get("status") or "")
    if status in ENDED or status == "RUNNING":
        return []
    execution_id = str(execution.get("execution_id") or execution.get("id") or "")
    reason = "paused" if status == "PAUSED" else str(execution.get("waiting_reason") or "")
    if not reason and status == "NEW":
        reason = "slot"
    since = epoch(execution.get("waiting_since"))
    why = _WHY.get(reason, f"It waits ({one_line(reason, 40)})." if reason else "It rests.")
    lines = [(why + (f" Since {instant(since)} UTC." if since is not None else ""), _help(reason, execution_id))]
    lines.extend(_asked(approval) for approval in approvals)
    lines.extend(_task(node, execution_id, now) for node in _waiting_nodes(execution))
    return lines


def _help(reason: str, execution_id: str) -> str:
    if reason == "paused":
        return f"interlock resume {execution_id}"
    if reason in ("signal", "event", "callback"):
        return f"interlock signal {execution_id} NAME"
    return ""


def _asked(approval: Mapping[str, Any]) -> tuple[str, str]:
    title = one_line(approval.get("title") or approval.get("node_id") or "a question", 80)
    people = ", ".join(one_line(name, 40) for name in approval.get("assignees") or [])
    until = epoch(approval.get("expires_at"))
    text = f"Asked: {title}" + (f" (for {people})" if people else "") + (f", until {instant(until)} UTC" if until else "")
    return f"{text}.", f"interlock approve {approval.get('approval_id')}"


def _waiting_nodes(execution: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    nodes = execution.get("node_executions")
    found = [node for node in nodes if isinstance(node, dict)] if isinstance(nodes, list) else []
    return [node for node in found if node.get("waits_for") in ("timer", "signal", "callback", "child") or node.get("status") == "retrying"]


def _task(node: Mapping[str, Any], execution_id: str, now: float) -> tuple[str, str]:
    name = one_line(node.get("node_name") or node.get("node_id") or "a node", 40)
    waits_for = "its next attempt" if node.get("status") == "retrying" else f"a {node.get('waits_for')}"
    wake_at = epoch(node.get("wake_at"))
    left = "" if wake_at is None else f", {duration(wake_at - now)} left" if wake_at > now else ", due now"
    help_line = f"interlock signal {execution_id} NAME" if node.get("waits_for") == "signal" else ""
    return f"{name} waits for {one_line(waits_for, 40)}{left}.", help_line
