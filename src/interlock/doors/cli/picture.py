"""The picture of one execution that views are drawn from: its nodes, each with all its tasks taken together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from interlock.doors.cli.facts import ENDED

PENDING, RUNNING, WAITING, RETRYING = "pending", "running", "waiting", "retrying"
COMPLETED, FAILED, SKIPPED, STOPPED = "completed", "failed", "skipped", "stopped"


@dataclass(slots=True)
class TaskPicture:
    """One live task: where it stands, and what it waits for until when (seconds since 1970)."""

    status: str = RUNNING
    attempt: int = 1
    waits_for: str = ""
    name: str = ""  # of the signal it waits for
    wake_at: float | None = None


@dataclass(slots=True)
class NodePicture:
    """A node with all its tasks. Instants are seconds since 1970."""

    node_id: str
    name: str
    limits: Mapping[str, int | None]  # task id of a map or loop -> how often it turns, None if nobody told yet
    kind: str = ""
    live: dict[str, TaskPicture] = field(default_factory=dict)
    begun: int = 0
    done: int = 0
    failed: int = 0
    skipped: int = 0
    loops: set[str] = field(default_factory=set)  # task ids of the maps and loops it runs in
    started_at: float | None = None
    ended_at: float | None = None
    attempt: int = 1
    progress: float | None = None
    message: str = ""
    error: str = ""
    is_stopped: bool = False

    @property
    def is_inner(self) -> bool:
        """Whether it lies inside a map or loop."""
        return bool(self.loops)

    @property
    def over(self) -> int:
        """Tasks that have ended one way or another."""
        return self.done + self.failed + self.skipped

    @property
    def total(self) -> int | None:
        """How many tasks there will be; None if nobody knows."""
        limits = [self.limits.get(loop) for loop in self.loops]
        known = [limit for limit in limits if limit is not None]
        return sum(known) if limits and len(known) == len(limits) else None

    @property
    def status(self) -> str:
        """Where the node stands, all its tasks taken together."""
        if self.live:
            return _status_of_live([task.status for task in self.live.values()])
        if self.is_stopped:
            return STOPPED
        if self.over == 0:
            return PENDING
        total = self.total
        if total is not None and self.over < total:
            return RUNNING
        if self.failed:
            return FAILED
        return COMPLETED if self.done else SKIPPED

    @property
    def share(self) -> float:
        """How much of it is over, from 0 to 1."""
        if self.status in (COMPLETED, FAILED, SKIPPED, STOPPED):
            return 1.0
        total = self.total
        if total:
            return min(self.over / total, 1.0)
        return self.progress if self.progress is not None and self.live else 0.0

    def waits(self) -> TaskPicture | None:
        """The task whose waiting stands for the node's: the one that wakes first."""
        waiting = [task for task in self.live.values() if task.waits_for]
        return min(waiting, key=lambda task: task.wake_at or float("inf"), default=None)


def _status_of_live(statuses: list[str]) -> str:
    return next((status for status in (RUNNING, RETRYING) if status in statuses), statuses[0])


@dataclass(slots=True)
class Picture:
    """Everything that views show of one execution."""

    execution_id: str
    workflow: str = ""
    initial: str = ""  # the state a flow begins in
    status: str = "NEW"
    nodes: dict[str, NodePicture] = field(default_factory=dict)
    asking: dict[str, str] = field(default_factory=dict)  # task id -> node id, where a person's decision is awaited
    limits: dict[str, int | None] = field(default_factory=dict)
    started_at: float | None = None
    ended_at: float | None = None
    result: Any = None
    error: str = ""

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
            found = self.nodes[node_id] = NodePicture(node_id, name or node_id, self.limits)
        return found


def begin(
    execution_id: str, workflow: str, nodes: Iterable[tuple[str, str, str]] = (), *, initial: str = ""
) -> Picture:
    """An empty picture with the nodes of the definition in their order: (id, name, type)."""
    picture = Picture(execution_id, workflow, initial)
    for node_id, name, kind in nodes:
        picture.node(node_id, name).kind = kind
    return picture
