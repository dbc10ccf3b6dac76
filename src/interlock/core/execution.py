"""The folded execution: what the events so far add up to. Only ``engine.evolve`` changes it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any
from uuid import UUID

from interlock.core.events import Answered, Failure, Parent
from interlock.core.ids import ExecutionId
from interlock.core.resources import Placement

if TYPE_CHECKING:
    from interlock.core.engine.program import Program


class Status(StrEnum):
    """Where an execution stands."""

    QUEUED = "queued"
    RUNNING = "running"
    WAITING = "waiting"
    PAUSED = "paused"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


ENDED = frozenset({Status.SUCCEEDED, Status.FAILED, Status.CANCELLED})
ACTIVE = frozenset(Status) - ENDED


DEADLINE = "TIMEOUT"
"""Code of the error of an execution that failed by a deadline."""


class FailedBy(StrEnum):
    """The two parts of ``Status.FAILED``, for those who look for one of them."""

    DEADLINE = "failed:deadline"
    OTHER = "failed:other"


class WaitingReason(StrEnum):
    """Why an execution does not move. Doors know these reasons and no others."""

    SLOT = "slot"
    TENANT_CAP = "tenant_cap"
    APPROVAL = "approval"
    INPUT = "input"
    TIMER = "timer"
    SIGNAL = "signal"
    CALLBACK = "callback"
    CHILD = "child"
    RETRY_AT = "retry_at"
    PAUSED = "paused"
    QUARANTINED = "quarantined"
    NO_WORKER = "no_worker"
    RESOURCES = "resources"
    LOST_OWNER = "lost_owner"


class Phase(StrEnum):
    """Where a live task stands."""

    RUNNING = "running"  # an attempt is on an executor
    RETRYING = "retrying"  # waits for its next attempt
    WAITING = "waiting"  # waits for a timer, a signal, a person or a child
    OPEN = "open"  # a map or loop whose iterations are live


class Task:
    """One live activation of a node. Finished tasks leave only their output."""

    __slots__ = (
        "approval_id",
        "attempt",
        "child_id",
        "crashes",
        "deadline_at",
        "failures",
        "finished",
        "first_started_at",
        "input",
        "isolated",
        "losses",
        "name",
        "node_id",
        "opened",
        "phase",
        "placement",
        "results",
        "scope",
        "started_at",
        "task_id",
        "waits_for",
        "wake_at",
    )

    def __init__(self, task_id: str, node_id: str, scope: str, started_at: datetime) -> None:
        self.task_id = task_id
        self.node_id = node_id
        self.scope = scope
        self.attempt = 1
        self.phase = Phase.RUNNING
        self.input: Any = None
        self.first_started_at = started_at
        self.started_at = started_at
        self.wake_at: datetime | None = None
        self.deadline_at: datetime | None = None
        self.waits_for = ""
        self.name = ""
        self.child_id: UUID | None = None
        self.approval_id: UUID | None = None
        self.failures = 0
        self.losses = 0
        self.crashes = 0
        self.isolated = False
        self.placement: Placement | None = None
        self.opened = 0  # iterations begun
        self.finished = 0  # iterations ended
        self.results: dict[int, Any] = {}

    def fingerprint(self) -> dict[str, Any]:
        """All of it as plain data, to compare two folds."""
        return {name: getattr(self, name) for name in self.__slots__}


class Shown:
    """What the nodes of a flow answered since the last signal, for whoever sent it."""

    __slots__ = ("artifacts", "result", "ui_schema")

    def __init__(self) -> None:
        self.result: Any = None
        self.ui_schema: Any = None
        self.artifacts: dict[str, Any] = {}

    def add(self, result: Any, ui_schema: Any, artifacts: Mapping[str, Any]) -> None:
        """One more answer; a node without a form leaves that of the one before."""
        self.result = result
        if ui_schema is not None:
            self.ui_schema = ui_schema
        self.artifacts.update(artifacts)

    def fingerprint(self) -> dict[str, Any]:
        """All of it as plain data, to compare two folds."""
        return {name: getattr(self, name) for name in self.__slots__}


class Ready:
    """A node whose inputs are decided: ``edges`` are the live connections; without any it is skipped."""

    __slots__ = ("edges", "node_id", "scope")

    def __init__(self, scope: str, node_id: str, edges: tuple[int, ...]) -> None:
        self.scope = scope
        self.node_id = node_id
        self.edges = edges


class Execution:
    """The fold of an execution's events. ``program`` is the compiled version it pins."""

    def __init__(self, execution_id: ExecutionId, program: Program) -> None:
        self.execution_id = execution_id
        self.program = program
        self.seq = 0
        self.ended: Status | None = None
        self.is_paused = False
        self.is_idle = False  # paused by itself, because its user did not come
        self.idle_after: float | None = None
        self.input: Any = None
        self.output: Any = None
        self.error: Failure | None = None
        self.started_at: datetime | None = None
        self.ended_at: datetime | None = None
        self.deadline_at: datetime | None = None
        self.parent: Parent | None = None
        self.started_by = ""
        self.start_at: str | None = None
        self.blackboard: dict[str, Any] = {}
        self.tasks: dict[str, Task] = {}
        self.running = 0  # tasks in phase RUNNING
        self.timers: dict[str, datetime] = {}  # task id (or flow state) -> when it wakes
        self.deadlines: dict[str, datetime] = {}  # task id -> when it is given up
        self.outputs: dict[str, tuple[str, Any]] = {}  # task id -> (port, output)
        self.failed: list[str] = []
        self.skipped: list[str] = []
        self.mailbox: dict[str, list[Any]] = {}  # signals nobody waited for yet
        self.activations = 0
        self.called_back: dict[str, str] = {}  # task id and node -> digest of the callback it accepted
        # graph
        self.ready: dict[str, Ready] = {}
        self.arrivals: dict[str, list[int]] = {}  # task id -> [decided, live edge, live edge, …]
        self.scopes: dict[str, int] = {}  # scope -> tasks and ready nodes in it
        self.loops: dict[str, None] = {}  # task ids in phase OPEN, in order
        # flow
        self.active: list[str] = []
        self.joined: dict[int, list[str]] = {}  # fan-in transition -> sources done
        self.entering: list[str] = []  # active flow states whose node has not started
        self.visits: dict[str, int] = {}  # flow state -> tasks begun in it
        self.payload: Any = None
        self.calling: dict[str, Any] = {}  # how it was called for, by reserved names of its board
        self.chain = 0  # transitions since the last wait
        self.asked: dict[str, str] = {}  # flow state that asks its user -> its task id
        self.last_failed: str | None = None  # the flow state that RETRY would enter again
        self.shown = Shown()  # what nodes said since the last signal
        self.held: dict[str, Answered] = {}  # task id -> its answer while the flow was paused, not followed yet
        self.written: dict[str, int] = {}  # blackboard key -> number of the event that set it last

    @property
    def status(self) -> Status:
        if self.ended is not None:
            return self.ended
        if self.is_paused:
            return Status.PAUSED
        if self.ready or self.entering:
            return Status.QUEUED if self.seq <= 1 else Status.RUNNING
        return Status.RUNNING if self.running or self._seeks_iteration() else Status.WAITING

    @property
    def waiting_reason(self) -> WaitingReason | None:
        """Why it rests, most human reason first. None while it moves or after its end."""
        if self.ended is not None:
            return None
        if self.is_paused:
            return WaitingReason.PAUSED
        if self.ready or self.entering:
            if self.program.has_places and not self.running:
                return WaitingReason.RESOURCES
            return WaitingReason.SLOT if self.seq <= 1 else None
        if self.running:
            return None
        if self._seeks_iteration():
            return WaitingReason.RESOURCES
        phases = {task.waits_for or task.phase for task in self.tasks.values()}
        for waits_for, reason in _REASONS:
            if waits_for in phases:
                return reason
        return self.program.resting_reason(self) if self.active else None

    def _seeks_iteration(self) -> bool:
        """Whether a loop would go on if there were a place for its next iteration."""
        return bool(self.loops) and self.program.has_places and self.program.seeks_iteration(self)

    def runs(self, task_id: str, attempt: int) -> bool:
        """Whether this very attempt of a task runs, and is still awaited."""
        task = self.tasks.get(task_id)
        return task is not None and task.attempt == attempt and task.phase is Phase.RUNNING

    def drop_task(self, task: Task) -> None:
        """Forget a live task with its timers: it is over."""
        del self.tasks[task.task_id]
        if task.phase is Phase.RUNNING:
            self.running -= 1
        elif task.phase is Phase.OPEN:
            del self.loops[task.task_id]
        if self.timers:
            self.timers.pop(task.task_id, None)
        if self.deadlines:
            self.deadlines.pop(task.task_id, None)

    def next_wake(self) -> datetime | None:
        """The earliest instant at which something is due without anybody calling."""
        due = [*self.deadlines.values()] if self.is_paused else [*self.timers.values(), *self.deadlines.values()]
        if self.deadline_at is not None:
            due.append(self.deadline_at)
        return min(due) if due else None

    def fingerprint(self) -> Mapping[str, Any]:
        """All of the fold as plain data, to compare two folds."""
        plain = {name: value for name, value in vars(self).items() if name != "program"}
        plain["tasks"] = {key: task.fingerprint() for key, task in self.tasks.items()}
        plain["shown"] = self.shown.fingerprint()
        plain["ready"] = {key: (ready.scope, ready.node_id, ready.edges) for key, ready in self.ready.items()}
        return plain


_REASONS = (
    ("approval", WaitingReason.APPROVAL),
    ("input", WaitingReason.INPUT),
    ("callback", WaitingReason.CALLBACK),
    ("signal", WaitingReason.SIGNAL),
    ("child", WaitingReason.CHILD),
    ("timer", WaitingReason.TIMER),
    (Phase.RETRYING, WaitingReason.RETRY_AT),
)
