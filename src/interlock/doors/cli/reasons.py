"""Why an execution does not move, in sentences with what its reader can do about it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from interlock.doors.cli.facts import ENDED
from interlock.doors.cli.picture import NodePicture, Picture
from interlock.doors.cli.sentences import wait_text
from interlock.doors.cli.texts import epoch, instant, one_line, shown


@dataclass(frozen=True, slots=True)
class Reason:
    """A sentence, the request it is about (None: about none), and the commands that help (none if time alone does)."""

    sentence: str
    commands: tuple[str, ...] = ()
    request: Any = None


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


def why_it_rests(execution: Mapping[str, Any], picture: Picture, now: float) -> list[Reason]:
    """Every reason; nothing while it moves or after its end."""
    status = str(execution.get("status") or "")
    if status in ENDED or status == "RUNNING":
        return []
    execution_id = str(execution.get("execution_id"))
    reason = _reason(status, str(execution.get("waiting_detail") or execution.get("waiting_reason") or ""))
    since = epoch(execution.get("waiting_since"))
    why = _WHY.get(reason, f"It waits ({one_line(reason, 40)})." if reason else "It rests.")
    help_lines = (f"interlock resume {execution_id}",) if reason == "paused" else ()
    lines = [Reason(why + (f" Since {instant(since)} UTC." if since is not None else ""), help_lines)]
    lines.extend(_asked(approval) for approval in execution.get("pending_approvals") or [])
    lines.extend(_node(node, execution_id, now) for node in picture.nodes.values() if _rests(node))
    accepted = [shown(event) for event in execution.get("valid_events") or []]
    if accepted:
        lines.append(Reason(f"It accepts {', '.join(accepted)}.", (f"interlock signal {execution_id} {accepted[0]}",)))
    return lines


def _reason(status: str, told: str) -> str:
    if status == "PAUSED":
        return "paused"
    return "slot" if status == "NEW" and not told else told


def _asked(approval: Mapping[str, Any]) -> Reason:
    title = one_line(approval.get("title") or approval.get("node_id") or "a question", 1000)
    people = ", ".join(one_line(name, 40) for name in approval.get("assignees") or [])
    until = epoch(approval.get("expires_at"))
    text = f"The question is “{title}”" + (f" to {people}" if people else "")
    approval_id = shown(approval["approval_id"])
    return Reason(
        f"{text}{f', until {instant(until)} UTC' if until else ''}.",
        (f"interlock approve {approval_id}", f"interlock deny {approval_id}"),
        approval.get("request"),
    )


def _rests(node: NodePicture) -> bool:
    """Whether the node waits for something that no approval and no event of the list says already."""
    waiting = node.waits()
    return waiting is not None and waiting.waits_for not in ("approval", "event", "user")


def _node(node: NodePicture, execution_id: str, now: float) -> Reason:
    waiting = node.waits()
    needs_signal = waiting is not None and waiting.waits_for in ("signal", "callback", "input")
    command = f"interlock signal {execution_id} {shown(waiting.name) or 'NAME'}" if waiting and needs_signal else ""
    return Reason(f"{one_line(node.name, 60)} waits for {wait_text(waiting, now)}.", (command,) if command else ())
