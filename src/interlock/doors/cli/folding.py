"""The picture of a watched execution: a pure fold of its facts, with the tasks of one node taken together.

A node inside a map or loop has one task per iteration; the picture counts them and never lists them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from interlock.doors.cli.facts import ENDED, STATUS_OF, Fact, error_text
from interlock.doors.cli.texts import epoch

PENDING, RUNNING, WAITING, RETRYING = "pending", "running", "waiting", "retrying"
COMPLETED, FAILED, SKIPPED, STOPPED = "completed", "failed", "skipped", "stopped"


@dataclass(slots=True)
class TaskPicture:
    """One live task: where it stands, and what it waits for until when (seconds since 1970)."""

    status: str = RUNNING
    attempt: int = 1
    waits_for: str = ""
    wake_at: float | None = None


@dataclass(slots=True)
class NodePicture:
    """A node with all its tasks. ``total`` is how many there will be, where that is known; times are seconds since 1970."""

    node_id: str
    name: str
    kind: str = ""
    live: dict[str, TaskPicture] = field(default_factory=dict)
    begun: int = 0
    done: int = 0
    failed: int = 0
    skipped: int = 0
    total: int | None = None
    is_inner: bool = False  # inside a map or loop
    started_at: float | None = None
    ended_at: float | None = None
    attempt: int = 1
    progress: float | None = None
    message: str = ""
    error: str = ""
    is_stopped: bool = False

    @property
    def over(self) -> int:
        """Tasks that have ended one way or another."""
        return self.done + self.failed + self.skipped

    @property
    def status(self) -> str:
        """Where the node stands, all its tasks taken together."""
        if self.live:
            return _status_of_live([task.status for task in self.live.values()])
        if self.is_stopped:
            return STOPPED
        if self.over == 0:
            return PENDING
        if self.is_inner and self.total is not None and self.over < self.total:
            return RUNNING
        if self.failed:
            return FAILED
        return COMPLETED if self.done else SKIPPED

    @property
    def share(self) -> float:
        """How much of it is over, from 0 to 1."""
        if self.status in (COMPLETED, FAILED, SKIPPED, STOPPED):
            return 1.0
        if self.is_inner and self.total:
            return min(self.over / self.total, 1.0)
        return self.progress if self.progress is not None and self.live else 0.0

    def waits(self) -> TaskPicture | None:
        """The task whose waiting stands for the node's: the one that wakes first."""
        waiting = [task for task in self.live.values() if task.waits_for]
        return min(waiting, key=lambda task: task.wake_at or float("inf"), default=None)


def _status_of_live(statuses: list[str]) -> str:
    for status in (RUNNING, RETRYING):
        if status in statuses:
            return status
    return statuses[0]


@dataclass(slots=True)
class Picture:
    """Everything the live view shows of one execution."""

    execution_id: str
    workflow: str = ""
    status: str = "NEW"
    nodes: dict[str, NodePicture] = field(default_factory=dict)
    asking: dict[str, str] = field(default_factory=dict)  # task id -> node id, where a person is asked
    started_at: float | None = None
    ended_at: float | None = None
    output: Any = None
    error: str = ""
    seq: int = 0
    limits: dict[str, int] = field(default_factory=dict)  # task id of a map or loop -> iterations
    owners: set[tuple[str, str]] = field(default_factory=set)  # (node id, loop task) already counted in its total

    @property
    def is_over(self) -> bool:
        return self.status in ENDED

    @property
    def share(self) -> float:
        """How much of the known nodes is over, from 0 to 1."""
        if self.status == "SUCCESS":
            return 1.0
        if not self.nodes:
            return 0.0
        return sum(node.share for node in self.nodes.values()) / len(self.nodes)

    def node(self, node_id: str, name: str = "") -> NodePicture:
        """The node's picture, made when it is first heard of."""
        found = self.nodes.get(node_id)
        if found is None:
            found = self.nodes[node_id] = NodePicture(node_id, name or node_id)
        return found


def begin(execution_id: str, workflow: str, nodes: Iterable[tuple[str, str, str]]) -> Picture:
    """An empty picture with the nodes of the definition in their order: (id, name, type)."""
    picture = Picture(execution_id, workflow)
    for node_id, name, kind in nodes:
        picture.nodes[node_id] = NodePicture(node_id, name or node_id, kind)
    return picture


def fold(picture: Picture, fact: Fact) -> None:
    """Add one fact. A type that is not known here changes nothing."""
    picture.seq = max(picture.seq, fact.seq)
    change = _FOLD.get(fact.type)
    if change is not None:
        change(picture, fact)


def _task(picture: Picture, fact: Fact) -> tuple[NodePicture, TaskPicture | None]:
    node = picture.node(fact.node_id, fact.text("node_name"))
    return node, node.live.get(fact.task_id)


def _execution_started(picture: Picture, fact: Fact) -> None:
    picture.status = "RUNNING"
    picture.started_at = fact.at


def _paused(picture: Picture, fact: Fact) -> None:
    picture.status = "PAUSED"


def _resumed(picture: Picture, fact: Fact) -> None:
    picture.status = "RUNNING"


def _ended(picture: Picture, fact: Fact) -> None:
    picture.status = STATUS_OF[fact.type]
    if fact.text("status") in ENDED:
        picture.status = fact.text("status")
    picture.ended_at = fact.at
    picture.output = fact.data.get("output", fact.data.get("result"))
    picture.error = error_text(fact.data.get("error"))
    picture.asking.clear()
    for node in picture.nodes.values():
        if node.live:
            node.live.clear()
            node.is_stopped = True
            node.ended_at = fact.at


def _node_started(picture: Picture, fact: Fact) -> None:
    node, task = _task(picture, fact)
    if task is None:
        task = node.live[fact.task_id] = TaskPicture()
        node.begun += 1
        _count_iterations(picture, node, fact)
    task.attempt = node.attempt = int(fact.data.get("attempt") or 1)
    node.started_at = node.started_at or fact.at
    node.is_stopped = False
    _rest(picture, node, task, fact)


def _count_iterations(picture: Picture, node: NodePicture, fact: Fact) -> None:
    """Remember how often a map or loop turns, and add it once to the total of each node inside."""
    given = fact.data.get("input", fact.data.get("input_data"))
    if fact.text("waits_for") == "iterations" and isinstance(given, dict) and isinstance(given.get("limit"), int):
        picture.limits[fact.task_id] = given["limit"]
    owner = _owner(fact.task_id)
    if owner is None:
        return
    node.is_inner = True
    if owner in picture.limits and (node.node_id, owner) not in picture.owners:
        picture.owners.add((node.node_id, owner))
        node.total = (node.total or 0) + picture.limits[owner]


def _owner(task_id: str) -> str | None:
    """The map or loop task whose iteration a task belongs to: ``each`` for ``each[3]/validate``."""
    scope, slash, _ = task_id.rpartition("/")
    return scope.rpartition("[")[0] if slash else None


def _rest(picture: Picture, node: NodePicture, task: TaskPicture, fact: Fact) -> None:
    waits_for = fact.text("waits_for")
    task.waits_for = "" if waits_for == "iterations" else waits_for
    task.wake_at = epoch(fact.data.get("wake_at"))
    task.status = WAITING if task.waits_for else RUNNING
    if waits_for == "approval":
        picture.asking[fact.task_id] = node.node_id


def _updated(picture: Picture, fact: Fact) -> None:
    node, task = _task(picture, fact)
    if isinstance(fact.data.get("progress"), int | float):
        node.progress = float(fact.data["progress"])
    node.message = fact.text("message") or node.message
    if task is not None and fact.text("waits_for"):
        _rest(picture, node, task, fact)


def _asked(picture: Picture, fact: Fact) -> None:
    node, task = _task(picture, fact)
    if task is None:
        task = node.live[fact.task_id] = TaskPicture()
    task.status = WAITING
    task.waits_for = "approval" if fact.data.get("approval_id") else "input"
    task.wake_at = epoch(fact.data.get("expires_at"))
    if task.waits_for == "approval":
        picture.asking[fact.task_id] = node.node_id


def _over(picture: Picture, fact: Fact) -> NodePicture:
    node, task = _task(picture, fact)
    if task is not None:
        del node.live[fact.task_id]
    else:
        node.begun += 1
        _count_iterations(picture, node, fact)
    picture.asking.pop(fact.task_id, None)
    node.ended_at = fact.at
    return node


def _completed(picture: Picture, fact: Fact) -> None:
    _over(picture, fact).done += 1


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
    if task is None:
        task = node.live[fact.task_id] = TaskPicture()
    task.status = RETRYING
    task.waits_for = "retry"
    task.wake_at = epoch(fact.data.get("retry_at"))
    node.error = error_text(fact.data.get("error"))


_FOLD: dict[str, Callable[[Picture, Fact], None]] = {
    "execution_started": _execution_started,
    "execution_paused": _paused,
    "execution_resumed": _resumed,
    "execution_completed": _ended,
    "execution_failed": _ended,
    "execution_cancelled": _ended,
    "node_started": _node_started,
    "node_output_update": _updated,
    "user_input_required": _asked,
    "node_completed": _completed,
    "node_failed": _failed,
    "node_skipped": _skipped,
    "node_retrying": _retrying,
}
