"""The one catalogue of events: everything that can happen to an execution, as immutable numbered facts.

An event is one row of the log. The rows of an execution are numbered 1, 2, 3 … by ``seq``, and each has its type,
data, time and trace. What only concerns the server (claims, parking, takeovers, hints) is no event. Doors show each
event as one frame of their own; ``docs/reference/events.md`` says how.

A new kind needs a class here and what it changes in ``evolve``. Fields may be added with a default, never removed or
given another meaning; what cannot be said so gets a new type and a higher ``FORMAT``.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, ClassVar
from uuid import UUID

import msgspec

from interlock.core.errors import unreadable
from interlock.core.resources import Placement

FORMAT = 2
"""Version of the event format that this code writes. Executions of a higher one are left to runners that know it.

2 brought ``callback.received`` and ``artifact.ready``. An execution has the highest format of those that held it.
"""


class Failure(msgspec.Struct, frozen=True, omit_defaults=True):
    """Why a task or an execution failed: a code for programs, a message for people, both safe to show."""

    code: str
    message: str
    retryable: bool = False
    node_id: str | None = None
    task_id: str | None = None
    details: dict[str, Any] = {}


class Parent(msgspec.Struct, frozen=True):
    """The task of another execution that waits for this one. ``depth`` is how many executions are above this one."""

    execution_id: UUID
    task_id: str
    depth: int = 1


class ArtifactRef(msgspec.Struct, frozen=True):
    """A file that a task made; its bytes are a blob. ``size`` is bytes, ``sha256`` lower-case hex."""

    name: str
    size: int
    sha256: str
    content_type: str = "application/octet-stream"


class Event(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Base of all events. ``type`` is the stored, dotted name."""

    type: ClassVar[str] = ""


class ExecutionStarted(Event, frozen=True, kw_only=True):
    """The execution exists and is durable. Always seq 1."""

    type: ClassVar[str] = "execution.started"
    workflow_id: UUID | None
    version_id: UUID
    kind: str
    input: Any = None
    mode: str = "manual"  # manual, webhook, schedule, event, subworkflow, retry
    started_by: str = ""
    parent: Parent | None = None
    inherited_from: UUID | None = None
    start_at: str | None = None  # a flow state or graph node to begin at
    blackboard: dict[str, Any] = {}
    deadline_at: datetime | None = None
    idle_after: float | None = None  # seconds a flow may wait for its user before it is paused
    calling: dict[str, Any] = {}  # what a flow's states may read of how it was called for, by reserved names


class ExecutionPaused(Event, frozen=True, kw_only=True):
    """No new task starts until resumed; running attempts may finish."""

    type: ClassVar[str] = "execution.paused"
    reason: str = ""
    by: str = ""


class ExecutionResumed(Event, frozen=True, kw_only=True):
    type: ClassVar[str] = "execution.resumed"
    reason: str = ""
    by: str = ""


class ExecutionSucceeded(Event, frozen=True, kw_only=True):
    """Terminal."""

    type: ClassVar[str] = "execution.succeeded"
    output: Any = None


class ExecutionFailed(Event, frozen=True, kw_only=True):
    """Terminal."""

    type: ClassVar[str] = "execution.failed"
    error: Failure
    failed: tuple[str, ...] = ()  # task ids
    skipped: tuple[str, ...] = ()


class ExecutionCancelled(Event, frozen=True, kw_only=True):
    """Terminal."""

    type: ClassVar[str] = "execution.cancelled"
    reason: str = ""
    by: str = ""
    failed: tuple[str, ...] = ()  # task ids of those that had failed before
    skipped: tuple[str, ...] = ()


class TaskStarted(Event, frozen=True, kw_only=True):
    """An attempt of a task begins with exactly this input (recorded, so replay evaluates nothing again).

    ``input`` is given with the first attempt only; later attempts have the same. ``wake_at`` is when a waiting
    kernel task wakes by itself, ``deadline_at`` when the task is given up, ``child_id`` the sub-workflow's
    execution.
    """

    type: ClassVar[str] = "task.started"
    task_id: str
    node_id: str
    attempt: int = 1
    input: Any = None
    waits_for: str | None = None
    wake_at: datetime | None = None
    deadline_at: datetime | None = None
    child_id: UUID | None = None
    replaces: str = ""  # "lost": the attempt before was lost; "crashed": its own child process died
    isolated: bool = False  # runs alone in a child process, because inline attempts were lost
    placement: Placement | None = None  # where it runs, if resources were set aside for it


class TaskProgressed(Event, frozen=True, kw_only=True):
    """A long task says how far it is, ``progress`` from 0 to 1."""

    type: ClassVar[str] = "task.progressed"
    task_id: str
    node_id: str
    progress: float | None = None
    message: str = ""
    data: Any = None


class TaskCompleted(Event, frozen=True, kw_only=True):
    """A task is over with this result, its only one. ``dead`` lists connections whose condition did not hold."""

    type: ClassVar[str] = "task.completed"
    task_id: str
    node_id: str
    output: Any = None
    port: str = "result"
    dead: tuple[int, ...] = ()
    blackboard: dict[str, Any] = {}
    artifacts: tuple[ArtifactRef, ...] = ()
    raised: tuple[str, ...] = ()  # events a node asks its flow to raise, best first
    ui_schema: Any = None
    duration_ms: int = 0


class ArtifactReady(Event, frozen=True, kw_only=True):
    """A file that a node of a flow made can be fetched; follows its result. Graphs say so with the result alone."""

    type: ClassVar[str] = "artifact.ready"
    task_id: str
    node_id: str
    artifact: ArtifactRef


class TaskFailed(Event, frozen=True, kw_only=True):
    """An attempt failed. Without ``will_retry`` the task is over; if its branch goes on, ``dead`` is as in a result.

    ``lost``: what every attempt needs was away, as ``error`` says. That is no failure of the task and uses up no retry.
    """

    type: ClassVar[str] = "task.failed"
    task_id: str
    node_id: str
    attempt: int
    error: Failure
    will_retry: bool = False
    retry_at: datetime | None = None
    dead: tuple[int, ...] = ()
    quarantined: bool = False
    lost: bool = False


class TaskSkipped(Event, frozen=True, kw_only=True):
    """No live connection reaches the node, so it will not run."""

    type: ClassVar[str] = "task.skipped"
    task_id: str
    node_id: str
    reason: str = ""


class TaskInputRequested(Event, frozen=True, kw_only=True):
    """A node of a flow asks its user for input; ``ui_schema`` describes the form."""

    type: ClassVar[str] = "task.input_requested"
    task_id: str
    node_id: str
    ui_schema: Any = None
    output: Any = None
    blackboard: dict[str, Any] = {}


class TaskWaiting(Event, frozen=True, kw_only=True):
    """A task answered with an intent: it rests until the time, the signal or the person it named."""

    type: ClassVar[str] = "task.waiting"
    task_id: str
    node_id: str
    waits_for: str  # timer, signal, callback, approval
    name: str = ""
    wake_at: datetime | None = None


class ApprovalRequested(Event, frozen=True, kw_only=True):
    """A task asks people and waits for them."""

    type: ClassVar[str] = "approval.requested"
    approval_id: UUID
    task_id: str
    node_id: str
    kind: str = "node"
    interaction_type: str = "approval"
    title: str = ""
    description: str = ""
    request: Any = None
    fields: list[dict[str, Any]] = []
    options: list[str] = []
    assignees: list[str] = []
    priority: str = "normal"
    reason_required: bool = False
    forbid_requester: bool = False
    expires_at: datetime | None = None
    on_timeout: str = "fail"  # fail, continue, default_response, escalate
    default_response: Any = None
    escalate_to: list[str] = []


class ApprovalDecided(Event, frozen=True, kw_only=True):
    """The approval's row was decided; this event follows from the inbox."""

    type: ClassVar[str] = "approval.decided"
    approval_id: UUID
    task_id: str
    node_id: str
    status: str  # approved, denied, expired
    decision: str = ""
    data: Any = None
    reason: str = ""
    by: str = ""


class ApprovalEscalated(Event, frozen=True, kw_only=True):
    """Nobody answered in time: other people may decide now, until a new deadline."""

    type: ClassVar[str] = "approval.escalated"
    approval_id: UUID
    task_id: str
    node_id: str
    assignees: list[str] = []
    expires_at: datetime | None = None


class CallbackReceived(Event, frozen=True, kw_only=True):
    """A webhook answered. Only an accepted answer changes anything; ``digest`` tells an equal one again."""

    type: ClassVar[str] = "callback.received"
    task_id: str
    node_id: str
    status: str = "success"  # success, error, need_user_input
    accepted: bool = True
    reason: str = ""  # why it was not
    callback_id: str = ""
    digest: str = ""
    by: str = ""


class SignalReceived(Event, frozen=True, kw_only=True):
    """Input from outside was accepted. A graph holds it back for the node that will wait for it."""

    type: ClassVar[str] = "signal.received"
    name: str
    payload: Any = None
    by: str = ""
    signal_id: str = ""


class BlackboardWritten(Event, frozen=True, kw_only=True):
    """A value of the blackboard was set from outside."""

    type: ClassVar[str] = "blackboard.written"
    key: str
    value: Any = None
    by: str = ""


class FlowEventRaised(Event, frozen=True, kw_only=True):
    """A node result or a timer became an event of the flow, or somebody said that a state without a node is done."""

    type: ClassVar[str] = "flow.event_raised"
    flow_state: str
    event: str
    task_id: str = ""


class FlowTransitioned(Event, frozen=True, kw_only=True):
    """The flow moved. ``active`` lists the flow states that are active now.

    Without a ``target`` it only left branches, at its end, whose fan-in could not be taken any more.
    """

    type: ClassVar[str] = "flow.transitioned"
    source: tuple[str, ...]
    target: tuple[str, ...]
    event: str
    active: tuple[str, ...]
    valid_events: tuple[str, ...] = ()
    rests: str = ""  # user, timer, event, end or "" while a node runs


Answered = TaskCompleted | TaskFailed | TaskInputRequested
"""How a node of a flow can answer."""


class Recorded(msgspec.Struct, frozen=True):
    """An event in its place in the log. ``at`` is aware UTC."""

    seq: int
    at: datetime
    trace_id: str
    event: Event


EVENT_TYPES: dict[str, type[Event]] = {cls.type: cls for cls in Event.__subclasses__()}
"""Every stored type name and its class."""

TERMINAL: frozenset[type[Event]] = frozenset({ExecutionSucceeded, ExecutionFailed, ExecutionCancelled})

_encoder = msgspec.json.Encoder()
_decoders = {name: msgspec.json.Decoder(cls) for name, cls in EVENT_TYPES.items()}


def encode_data(event: Event) -> bytes:
    """The event's data as JSON; its type name is stored beside it."""
    return _encoder.encode(event)


def decode_event(type_name: str, data: bytes | str) -> Event:
    """The event of a stored row.

    Raises KeyError for a type this code does not know, INTERNAL STORED_UNREADABLE for data that is none of its type.
    """
    decoder = _decoders[type_name]
    try:
        return decoder.decode(data)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise unreadable(f"An event of type {type_name}") from error
