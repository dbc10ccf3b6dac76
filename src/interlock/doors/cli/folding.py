"""The fold of a stream's facts into the picture of an execution: pure, and total over every kind of fact.

A node inside a map or loop has one task per iteration; the picture counts them and never lists them. A state of a
flow that runs nothing has no tasks; it rests from the transition into it to the one out of it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from interlock.doors.cli.facts import STATUS_OF, Fact, error_text
from interlock.doors.cli.picture import RETRYING, RUNNING, WAITING, NodePicture, Picture, TaskPicture
from interlock.doors.cli.texts import epoch

ITERATIONS = "iterations"
"""What a map or loop waits for."""

_REST = "state:"  # in front of a flow state that runs nothing, where a task id would stand


def fold(picture: Picture, fact: Fact) -> None:
    """Add one fact. One of a kind that is not known here changes nothing."""
    change = _FOLD.get(fact.type)
    if change is not None:
        change(picture, fact)


def learn_limits(picture: Picture, execution: Mapping[str, Any]) -> None:
    """Take from an execution object how often its maps and loops turn, where no frame said it."""
    for node in execution.get("node_executions") or []:
        limit = (node.get("input_data") or {}).get("limit") if isinstance(node.get("input_data"), dict) else None
        if picture.limits.get(str(node.get("task_id")), 0) is None and isinstance(limit, int):
            picture.limits[str(node["task_id"])] = limit


def _task(picture: Picture, fact: Fact) -> tuple[NodePicture, TaskPicture | None]:
    node = picture.node(fact.node_id, fact.text("node_name"))
    return node, node.live.get(fact.task_id)


def _execution_started(picture: Picture, fact: Fact) -> None:
    picture.status = "RUNNING"
    picture.started_at = fact.at
    start = fact.text("start_at") or picture.initial
    if start and picture.initial:
        _enter(picture, start, "event", fact.at)


def _paused(picture: Picture, fact: Fact) -> None:
    picture.status = "PAUSED"


def _resumed(picture: Picture, fact: Fact) -> None:
    picture.status = "RUNNING"


def _ended(picture: Picture, fact: Fact) -> None:
    error = fact.data.get("error")
    is_late = isinstance(error, dict) and error.get("code") == "TIMEOUT"
    picture.status = "TIMEOUT" if is_late else STATUS_OF[fact.type]
    picture.ended_at = fact.at
    picture.result = fact.data.get("output")
    picture.error = error_text(error)
    picture.asking.clear()
    for node in picture.nodes.values():
        _end(node, fact.at, is_good=picture.status == "SUCCESS")


def _end(node: NodePicture, at: float, *, is_good: bool) -> None:
    """Whatever is still under way ends with its execution; a state of a flow that succeeded has done its part."""
    if not node.live:
        return
    if is_good and all(task_id.startswith(_REST) for task_id in node.live):
        node.done += 1
    else:
        node.is_stopped = True
    node.live.clear()
    node.ended_at = at


def _node_started(picture: Picture, fact: Fact) -> None:
    node, task = _task(picture, fact)
    node.live.pop(_REST + node.node_id, None)
    if task is None:
        task = node.live[fact.task_id] = TaskPicture()
        node.begun += 1
        _note_loops(picture, node, fact)
    task.attempt = node.attempt = int(fact.data.get("attempt") or 1)
    node.started_at = node.started_at or fact.at
    node.is_stopped = False
    _rest(picture, node, task, fact)


def _note_loops(picture: Picture, node: NodePicture, fact: Fact) -> None:
    """Remember how often a map or loop turns, and in which one a task runs."""
    if fact.text("waits_for") == ITERATIONS:
        limit = _input(fact).get("limit")
        picture.limits[fact.task_id] = limit if isinstance(limit, int) else None
    loop = _loop_of(fact.task_id)
    if loop:
        node.loops.add(loop)


def _loop_of(task_id: str) -> str:
    """The map or loop task whose iteration a task belongs to: ``each`` for ``each[3]/validate``; else empty."""
    scope, _, _ = task_id.rpartition("/")
    return scope.rpartition("[")[0]


def _input(fact: Fact) -> dict[str, Any]:
    given = fact.data.get("input")
    return given if isinstance(given, dict) else {}


def _rest(picture: Picture, node: NodePicture, task: TaskPicture, fact: Fact) -> None:
    waits_for = fact.text("waits_for")
    task.waits_for = "" if waits_for == ITERATIONS else waits_for
    task.wake_at = epoch(fact.data.get("wake_at"))
    task.name = fact.text("name") or str(_input(fact).get("signal") or "")
    task.status = WAITING if task.waits_for else RUNNING
    if waits_for == "approval":
        picture.asking[fact.task_id] = node.node_id


def _waiting(picture: Picture, fact: Fact) -> None:
    node, task = _task(picture, fact)
    if task is not None:
        _rest(picture, node, task, fact)


def _progressed(picture: Picture, fact: Fact) -> None:
    node, _ = _task(picture, fact)
    progress = fact.data.get("progress")
    node.progress = float(progress) if isinstance(progress, int | float) else node.progress
    node.message = fact.text("message") or node.message


def _asked(picture: Picture, fact: Fact) -> None:
    node, task = _task(picture, fact)
    task = task or node.live.setdefault(fact.task_id, TaskPicture())
    task.status = WAITING
    task.waits_for = "approval" if fact.data.get("approval_id") else "input"
    task.wake_at = epoch(fact.data.get("expires_at"))
    if task.waits_for == "approval":
        picture.asking[fact.task_id] = node.node_id


def _decided(picture: Picture, fact: Fact) -> None:
    node, task = _task(picture, fact)
    picture.asking.pop(fact.task_id, None)
    if task is not None:
        task.status, task.waits_for, task.wake_at = RUNNING, "", None
    node.message = fact.text("status")


def _escalated(picture: Picture, fact: Fact) -> None:
    _, task = _task(picture, fact)
    if task is not None:
        task.wake_at = epoch(fact.data.get("expires_at"))


def _over(picture: Picture, fact: Fact) -> NodePicture:
    node, task = _task(picture, fact)
    if task is not None:
        del node.live[fact.task_id]
    else:
        node.begun += 1
        _note_loops(picture, node, fact)
    picture.asking.pop(fact.task_id, None)
    node.ended_at = fact.at
    return node


def _completed(picture: Picture, fact: Fact) -> None:
    node = _over(picture, fact)
    node.done += 1
    node.error = ""


def _failed(picture: Picture, fact: Fact) -> None:
    if fact.data.get("will_retry"):
        _retrying(picture, fact)
        return
    node = _over(picture, fact)
    node.failed += 1
    node.error = error_text(fact.data.get("error"))


def _skipped(picture: Picture, fact: Fact) -> None:
    _over(picture, fact).skipped += 1


def _retrying(picture: Picture, fact: Fact) -> None:
    node, task = _task(picture, fact)
    task = task or node.live.setdefault(fact.task_id, TaskPicture())
    task.status = RETRYING
    task.waits_for = "retry"
    task.wake_at = epoch(fact.data.get("retry_at"))
    node.error = error_text(fact.data.get("error"))


def _transitioned(picture: Picture, fact: Fact) -> None:
    active = _names(fact, "active")
    for state in _names(fact, "source"):
        node = picture.node(state)
        if state not in active and node.live:
            node.done += 1
            node.live.clear()
            node.ended_at = fact.at
    for state in _names(fact, "target"):
        _enter(picture, state, fact.text("rests") or "event", fact.at)


def _enter(picture: Picture, state: str, rests: str, at: float) -> None:
    """A state is active; if it runs a node, that node's first task takes this place at once."""
    node = picture.node(state)
    node.live[_REST + state] = TaskPicture(status=WAITING, waits_for=rests)
    node.started_at = node.started_at or at
    node.is_stopped = False


def _names(fact: Fact, name: str) -> list[str]:
    value = fact.data.get(name)
    return [str(item) for item in value] if isinstance(value, list) else []


Change = Callable[[Picture, Fact], None]

_FOLD: dict[str, Change] = {
    "execution.started": _execution_started,
    "execution.paused": _paused,
    "execution.resumed": _resumed,
    "execution.succeeded": _ended,
    "execution.failed": _ended,
    "execution.cancelled": _ended,
    "task.started": _node_started,
    "task.progressed": _progressed,
    "task.waiting": _waiting,
    "task.input_requested": _asked,
    "task.completed": _completed,
    "task.failed": _failed,
    "task.skipped": _skipped,
    "approval.requested": _asked,
    "approval.decided": _decided,
    "approval.escalated": _escalated,
    "flow.transitioned": _transitioned,
}
