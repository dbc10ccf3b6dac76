"""What is told of a run while it goes: a class for each kind of frame."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar


@dataclass(frozen=True, kw_only=True)
class Frame:
    """Something that happened, in the order of ``seq``. ``data`` has all of it, also what this library has no name for.

    A kind that is not known here is a plain ``Frame``.
    """

    kind: ClassVar[str] = ""

    type: str
    seq: int
    workflow_id: str = ""
    run_id: str = ""
    trace_id: str = ""
    timestamp: str = ""
    data: Mapping[str, Any] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, kw_only=True)
class TaskStarted(Frame):
    """An attempt of a task begins on a machine. ``clamped`` is what it asked for and what it got, where less."""

    kind: ClassVar[str] = "start_task"

    task_id: str = ""
    task_name: str = ""
    attempt: int = 1
    node_id: str = ""
    node_ip: str = ""
    gpu_id: int | None = None
    batch_id: str | None = None
    batch_size: int | None = None
    clamped: Mapping[str, Any] | None = None


@dataclass(frozen=True, kw_only=True)
class TaskFinished(Frame):
    """A task gave its result."""

    kind: ClassVar[str] = "finish_task"

    task_id: str = ""
    result: Any = None
    duration_ms: float = 0


@dataclass(frozen=True, kw_only=True)
class TaskRaised(Frame):
    """A task failed for good; ``result`` is the sentence for people."""

    kind: ClassVar[str] = "task_exception"

    task_id: str = ""
    result: str = ""
    error_type: str = ""
    attempt: int = 1


@dataclass(frozen=True, kw_only=True)
class TaskSkipped(Frame):
    """A task will not run. Only with ``full=True``."""

    kind: ClassVar[str] = "task_skipped"

    task_id: str = ""
    because: Any = None


@dataclass(frozen=True, kw_only=True)
class TaskRetried(Frame):
    """An attempt failed and there will be another one. Only with ``full=True``."""

    kind: ClassVar[str] = "task_retry"

    task_id: str = ""
    attempt: int = 1
    retry_at: str = ""
    result: str = ""


@dataclass(frozen=True, kw_only=True)
class TaskWaiting(Frame):
    """A task waits, for a place for example. Only with ``full=True``."""

    kind: ClassVar[str] = "task_waiting"

    task_id: str = ""
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class TaskPrinted(Frame):
    """A task wrote to its standard output or error. Only with ``full=True``."""

    kind: ClassVar[str] = "task_log"

    task_id: str = ""
    stream: str = ""
    text: str = ""


@dataclass(frozen=True, kw_only=True)
class RunFinished(Frame):
    """The last frame: ``status`` is ``succeeded``, ``failed`` or ``cancelled``."""

    kind: ClassVar[str] = "finish_workflow"

    status: str = ""
    failed_tasks: tuple[str, ...] = ()
    skipped_tasks: tuple[str, ...] = ()


_KINDS: dict[str, type[Frame]] = {
    each.kind: each
    for each in (
        TaskStarted,
        TaskFinished,
        TaskRaised,
        TaskSkipped,
        TaskRetried,
        TaskWaiting,
        TaskPrinted,
        RunFinished,
    )
}
_OUTER = {"type", "seq", "trace_id", "timestamp", "data"}


def frame_of(message: Mapping[str, Any]) -> Frame:
    """The frame of one message of a stream."""
    data = message.get("data")
    known: Mapping[str, Any] = data if isinstance(data, Mapping) else {}
    kind = _KINDS.get(str(message.get("type")), Frame)
    named = {each.name for each in fields(kind)} - _OUTER
    told: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) and name.endswith("_tasks") else value
        for name, value in known.items()
        if name in named
    }
    return kind(
        type=str(message.get("type")),
        seq=int(message.get("seq", 0)),
        trace_id=str(message.get("trace_id", "")),
        timestamp=str(message.get("timestamp", "")),
        data=known,
        **told,
    )
