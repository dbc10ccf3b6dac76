"""What somebody wants an execution to do. The engine makes events of it, or says why not."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

import msgspec

from interlock.core.events import ArtifactRef, Failure
from interlock.core.resources import Placement


class Command(msgspec.Struct, frozen=True, kw_only=True):
    """Base of all commands."""


class Advance(Command, frozen=True, kw_only=True):
    """Do whatever is due: ready tasks, timers, retries, tasks whose attempt was lost."""


class TaskSucceeded(Command, frozen=True, kw_only=True):
    """An attempt brought a result. Late or repeated results are dropped."""

    task_id: str
    attempt: int
    output: Any = None
    port: str = "result"
    blackboard: dict[str, Any] = {}
    artifacts: tuple[ArtifactRef, ...] = ()
    raised: tuple[str, ...] = ()
    ui_schema: Any = None
    needs_input: bool = False
    duration_ms: int = 0


class TaskErred(Command, frozen=True, kw_only=True):
    """An attempt failed with an error of the task itself."""

    task_id: str
    attempt: int
    error: Failure


class AttemptLost(Command, frozen=True, kw_only=True):
    """Nobody will hear of an attempt again; ``crashed`` if the child process that ran it alone has died.

    ``error`` says what was away that every attempt needs (a process, the code, the blob store): the next one waits for
    it. ``has_begun`` is False for an attempt that cannot have had any effect.
    """

    task_id: str
    attempt: int
    crashed: bool = False
    error: Failure | None = None
    has_begun: bool = True


class TaskPlaced(Command, frozen=True, kw_only=True):
    """Resources are set aside for an attempt, the first or a further one: it begins.

    ``replaces`` says how the attempt before was lost, as in ``task.started``. If the attempt is not wanted any more,
    nothing begins.
    """

    task_id: str
    attempt: int
    placement: Placement
    replaces: str = ""


class TaskReported(Command, frozen=True, kw_only=True):
    """A running attempt reports progress."""

    task_id: str
    attempt: int
    progress: float | None = None
    message: str = ""
    data: Any = None


class TaskSuspended(Command, frozen=True, kw_only=True):
    """An attempt answered with an intent: wait until a time, a signal or a callback, or ask a person."""

    task_id: str
    attempt: int
    waits_for: str  # timer, signal, callback, approval
    name: str = ""
    wake_at: datetime | None = None
    approval: dict[str, Any] | None = None


class SignalKind(StrEnum):
    """What an inbox row asks for."""

    EVENT = "event"
    DECISION = "decision"
    CANCEL = "cancel"
    PAUSE = "pause"
    RESUME = "resume"
    RETRY = "retry"
    CHILD_ENDED = "child_ended"
    BLACKBOARD = "blackboard"
    CALLBACK = "callback"


class Signal(Command, frozen=True, kw_only=True):
    """Input from outside, in the order of the execution's inbox."""

    inbox_seq: int
    kind: SignalKind
    name: str = ""
    payload: Any = None
    by: str = ""
    signal_id: str = ""
    trace_id: str = ""
    expected_state: str | None = None


class ChildStart(msgspec.Struct, frozen=True, kw_only=True):
    """A sub-workflow's execution, to be started in the same entry as its parent's event."""

    execution_id: UUID
    parent_task_id: str
    workflow: str  # id or name of the workflow
    input: Any = None
    depth: int = 1  # executions above it
