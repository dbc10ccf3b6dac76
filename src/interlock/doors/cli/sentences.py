"""Facts and waits in words."""

from __future__ import annotations

from interlock.doors.cli.facts import Fact, error_text
from interlock.doors.cli.folding import NodePicture, Picture, TaskPicture
from interlock.doors.cli.texts import as_json, duration, one_line, plural

_WAITS = {
    "approval": "a person's decision",
    "input": "a person's input",
    "timer": "a timer",
    "signal": "a signal",
    "callback": "a callback",
    "child": "its sub-workflow",
    "retry": "its next attempt",
}
_STEPS = 10
"""A node inside a map reports so often at most while it goes on."""


def wait_text(task: TaskPicture | None, now: float) -> str:
    """What a task waits for, and how long that can take at most."""
    if task is None:
        return ""
    text = _WAITS.get(task.waits_for, one_line(task.waits_for, 40))
    if task.wake_at is None:
        return text
    left = task.wake_at - now
    if left <= 0:
        return f"{text}, due now"
    return f"{text}, {duration(left)} left"


def count_text(node: NodePicture) -> str:
    """``12/33`` for a node inside a map or loop, ``12`` while nobody knows how many there will be, else nothing."""
    if not node.is_inner:
        return ""
    return f"{node.over}/{node.total}" if node.total is not None else str(node.over)


def sentence_of(fact: Fact, picture: Picture) -> str | None:
    """A fact as one line for people; None if it is one of many of its node and not worth a line of its own.

    ``picture`` is the picture with the fact folded in.
    """
    if fact.type.startswith("execution_"):
        return _of_execution(fact)
    if not fact.node_id:
        return one_line(f"{fact.type.replace('_', ' ')} {fact.text('name')}".strip(), 160)
    node = picture.nodes.get(fact.node_id)
    name = one_line(fact.text("node_name") or (node.name if node is not None else fact.node_id), 40)
    if node is not None and node.is_inner and fact.type in _COUNTED:
        return _of_many(fact, node, name)
    return _of_node(fact, node, name)


_COUNTED = frozenset({"node_started", "node_completed", "node_skipped", "node_output_update"})


def _of_execution(fact: Fact) -> str:
    what = fact.type.removeprefix("execution_")
    detail = error_text(fact.data.get("error")) or one_line(fact.text("reason"), 120)
    by = fact.text("by")
    by = f" by {one_line(by, 40)}" if by and what in ("paused", "resumed", "cancelled") else ""
    return f"execution {what}{by}" + (f": {detail}" if detail else "")


def _of_node(fact: Fact, node: NodePicture | None, name: str) -> str | None:
    if fact.type == "node_started":
        return _started(fact, name)
    if fact.type == "node_completed":
        took = _took(fact, node)
        return f"{name} completed" + (f" in {took}" if took else "")
    if fact.type == "node_failed":
        return f"{name} failed: {error_text(fact.data.get('error')) or 'no reason was given'}"
    if fact.type == "node_retrying":
        attempt = f" (attempt {fact.text('attempt')} failed)" if fact.text("attempt") else ""
        reason = error_text(fact.data.get("error"))
        return f"{name} will be tried again{attempt}" + (f": {reason}" if reason else "")
    if fact.type == "node_skipped":
        reason = one_line(fact.text("reason"), 80)
        return f"{name} skipped" + (f": {reason}" if reason else "")
    if fact.type == "user_input_required":
        title = one_line(fact.text("title"), 100)
        return f"{name} asks a person" + (f": {title}" if title else "")
    return _updated(fact, name)


def _started(fact: Fact, name: str) -> str:
    waits_for = fact.text("waits_for")
    attempt = int(fact.data.get("attempt") or 1)
    text = f"{name} started" + (f" (attempt {attempt})" if attempt > 1 else "")
    if not waits_for or waits_for == "iterations":
        return text
    return f"{text}, waits for {_WAITS.get(waits_for, one_line(waits_for, 40))}"


def _updated(fact: Fact, name: str) -> str:
    progress = fact.data.get("progress")
    parts = [f"{progress:.0%}" if isinstance(progress, int | float) else "", one_line(fact.text("message"), 120)]
    said = " ".join(part for part in parts if part)
    if said:
        return f"{name}: {said}"
    if fact.text("status"):
        return f"{name}: {one_line(fact.text('status'), 40)}"
    output = fact.data.get("output")
    return f"{name} went on" + (f": {as_json(output, 80)}" if output is not None else "")


def _of_many(fact: Fact, node: NodePicture, name: str) -> str | None:
    """Only round figures of a node inside a map: the first, every tenth part, the last."""
    if fact.type not in ("node_completed", "node_skipped"):
        return None
    if node.total is None:
        return f"{name} {plural(node.over, 'time')} over" if _is_round(node.over) else None
    step = max(node.total // _STEPS, 1)
    if node.over == node.total or node.over % step == 0:
        return f"{name} {node.over}/{node.total}"
    return None


def _is_round(count: int) -> bool:
    """1, 2, 5, 10, 20, 50, 100 …"""
    digits = str(count)
    return digits[0] in "125" and not digits[1:].strip("0")


def _took(fact: Fact, node: NodePicture | None) -> str:
    given = fact.data.get("duration_ms")
    if isinstance(given, int | float) and given > 0:
        return duration(given / 1000)
    if node is not None and node.started_at is not None and not node.is_inner:
        return duration(fact.at - node.started_at)
    return ""
