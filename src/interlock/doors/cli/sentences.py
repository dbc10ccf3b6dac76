"""Facts and waits in words."""

from __future__ import annotations

from collections.abc import Callable

from interlock.doors.cli.facts import Fact, error_text
from interlock.doors.cli.folding import ITERATIONS
from interlock.doors.cli.picture import NodePicture, Picture, TaskPicture
from interlock.doors.cli.texts import as_json, duration, one_line, plural

_WAITS = {
    "approval": "a person's decision",
    "input": "a person's input",
    "user": "a person's input",
    "timer": "a timer",
    "signal": "a signal",
    "event": "an event",
    "callback": "a callback",
    "child": "its sub-workflow",
    "retry": "its next attempt",
}
_PARTS = 10
"""How often a node inside a map reports while it goes on, at most."""

_COUNTED = frozenset({"task.started", "task.completed", "task.skipped", "task.progressed", "task.waiting"})


def wait_text(task: TaskPicture | None, now: float) -> str:
    """What a task waits for, and how long that can take at most."""
    if task is None or task.waits_for == "end":
        return ""
    text = _WAITS.get(task.waits_for, one_line(task.waits_for, 40))
    if task.name:
        text += f" {one_line(task.name, 40)}"
    if task.wake_at is None:
        return text
    left = task.wake_at - now
    return f"{text}, {duration(left)} left" if left > 0 else f"{text}, due now"


def count_text(node: NodePicture) -> str:
    """``12/33`` for a node inside a map or loop, ``12`` while nobody knows how many there will be, else nothing."""
    if not node.is_inner:
        return ""
    total = node.total
    return f"{node.over}/{total}" if total is not None else str(node.over)


def sentence_of(fact: Fact, picture: Picture) -> str | None:
    """A fact as one line for people; None if it is one of many of its node and not worth a line of its own.

    ``picture`` is the picture with the fact folded in.
    """
    if fact.type.startswith("execution."):
        return _of_execution(fact)
    node = picture.nodes.get(fact.node_id) if fact.node_id else None
    name = one_line(fact.text("node_name") or (node.name if node is not None else fact.node_id), 40)
    if node is not None and node.is_inner and fact.type in _COUNTED:
        return _of_many(fact, node, name)
    say = _SAY.get(fact.type)
    return say(fact, node, name) if say is not None else one_line(f"{name} {fact.type}".strip(), 160)


def _of_execution(fact: Fact) -> str:
    what = fact.type.removeprefix("execution.")
    detail = error_text(fact.data.get("error")) or one_line(fact.text("reason"), 120)
    return f"execution {what}{_by(fact)}" + (f": {detail}" if detail else "")


def _by(fact: Fact) -> str:
    return f" by {one_line(fact.text('by'), 40)}" if fact.text("by") else ""


def _of_many(fact: Fact, node: NodePicture, name: str) -> str | None:
    """Only round figures of a node inside a map: every tenth part and the last."""
    if fact.type not in ("task.completed", "task.skipped"):
        return None
    total = node.total
    if total is None:
        return f"{name} {plural(node.over, 'time')}" if _is_round(node.over) else None
    if node.over == total or node.over % max(total // _PARTS, 1) == 0:
        return f"{name} {node.over}/{total}"
    return None


def _is_round(count: int) -> bool:
    """1, 2, 5, 10, 20, 50, 100 …"""
    digits = str(count)
    return digits[0] in "125" and not digits[1:].strip("0")


def _started(fact: Fact, node: NodePicture | None, name: str) -> str:
    waits_for = fact.text("waits_for")
    attempt = int(fact.data.get("attempt") or 1)
    text = f"{name} started" + (f" (attempt {attempt})" if attempt > 1 else "")
    if not waits_for or waits_for == ITERATIONS:
        return text
    return f"{text}, waits for {_WAITS.get(waits_for, one_line(waits_for, 40))}"


def _completed(fact: Fact, node: NodePicture | None, name: str) -> str:
    took = fact.data.get("duration_ms")
    seconds = took / 1000 if isinstance(took, int | float) and took > 0 else None
    if seconds is None and node is not None and node.started_at is not None:
        seconds = fact.at - node.started_at
    return f"{name} completed" + (f" in {duration(seconds)}" if seconds is not None else "")


def _failed(fact: Fact, node: NodePicture | None, name: str) -> str:
    if fact.data.get("will_retry"):
        return _retrying(fact, node, name)
    return f"{name} failed: {error_text(fact.data.get('error')) or 'no reason was given'}"


def _retrying(fact: Fact, node: NodePicture | None, name: str) -> str:
    attempt = f" (attempt {fact.text('attempt')} failed)" if fact.text("attempt") else ""
    reason = error_text(fact.data.get("error"))
    return f"{name} will be tried again{attempt}" + (f": {reason}" if reason else "")


def _skipped(fact: Fact, node: NodePicture | None, name: str) -> str:
    reason = one_line(fact.text("reason"), 80)
    return f"{name} skipped" + (f": {reason}" if reason else "")


def _asked(fact: Fact, node: NodePicture | None, name: str) -> str:
    title = one_line(fact.text("title"), 100)
    return f"{name} asks a person" + (f": {title}" if title else "")


def _progressed(fact: Fact, node: NodePicture | None, name: str) -> str:
    progress = fact.data.get("progress")
    parts = [f"{progress:.0%}" if isinstance(progress, int | float) else "", one_line(fact.text("message"), 120)]
    return f"{name}: {' '.join(part for part in parts if part) or 'goes on'}"


def _waiting(fact: Fact, node: NodePicture | None, name: str) -> str:
    waits_for = fact.text("waits_for")
    return f"{name} waits for {_WAITS.get(waits_for, one_line(waits_for, 40))}"


def _decided(fact: Fact, node: NodePicture | None, name: str) -> str:
    reason = one_line(fact.text("reason"), 80)
    return f"{name} {one_line(fact.text('status'), 20)}{_by(fact)}" + (f": {reason}" if reason else "")


def _escalated(fact: Fact, node: NodePicture | None, name: str) -> str:
    people = fact.data.get("assignees")
    return f"{name} now asks {one_line(', '.join(map(str, people)), 80) if isinstance(people, list) else 'others'}"


def _signal(fact: Fact, node: NodePicture | None, name: str) -> str:
    payload = fact.data.get("payload")
    carried = f": {as_json(payload, 80)}" if payload is not None else ""
    return f"signal {one_line(fact.text('name'), 60)}{_by(fact)}{carried}"


def _written(fact: Fact, node: NodePicture | None, name: str) -> str:
    return f"blackboard {one_line(fact.text('key'), 60)} = {as_json(fact.data.get('value'), 80)}{_by(fact)}"


def _called_back(fact: Fact, node: NodePicture | None, name: str) -> str:
    reason = one_line(fact.text("reason"), 60)
    return f"{name} was called back" + (f", too late: {reason}" if reason else "")


def _file_ready(fact: Fact, node: NodePicture | None, name: str) -> str:
    made = fact.data.get("artifact")
    return f"{name} has made the file {one_line(made.get('name') if isinstance(made, dict) else made, 60)}"


def _raised(fact: Fact, node: NodePicture | None, name: str) -> str:
    return f"{one_line(fact.text('flow_state'), 40)} raised {one_line(fact.text('event'), 40)}"


def _transitioned(fact: Fact, node: NodePicture | None, name: str) -> str:
    source, target = (_listed(fact.data.get(name)) for name in ("source", "target"))
    if not target:
        return f"{source} left: nothing moves it any more"
    events = fact.data.get("valid_events")
    awaited = ""
    if fact.data.get("rests") in ("user", "event") and isinstance(events, list) and events:
        awaited = f"; it waits for {one_line(' or '.join(map(str, events)), 100)}"
    return f"{source} → {target} on {one_line(fact.text('event'), 40)}{awaited}"


def _listed(names: object) -> str:
    return one_line(" and ".join(map(str, names)) if isinstance(names, list) else names, 60)


Say = Callable[[Fact, NodePicture | None, str], str]

_SAY: dict[str, Say] = {
    "task.started": _started,
    "task.progressed": _progressed,
    "task.waiting": _waiting,
    "task.input_requested": _asked,
    "task.completed": _completed,
    "artifact.ready": _file_ready,
    "task.failed": _failed,
    "task.skipped": _skipped,
    "approval.requested": _asked,
    "approval.decided": _decided,
    "approval.escalated": _escalated,
    "signal.received": _signal,
    "callback.received": _called_back,
    "blackboard.written": _written,
    "flow.event_raised": _raised,
    "flow.transitioned": _transitioned,
}
