"""From a turn to an entry: which rows an execution's new events mean."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

import msgspec

from interlock.core.commands import ChildStart, SignalKind
from interlock.core.engine.turn import Turn
from interlock.core.events import (
    ApprovalDecided,
    ApprovalRequested,
    Event,
    ExecutionCancelled,
    ExecutionStarted,
    ExecutionSucceeded,
    Parent,
    TaskCompleted,
    encode_data,
)
from interlock.core.execution import Execution, Status
from interlock.core.large import field_of
from interlock.ports.ledger import Head
from interlock.runtime.entry import Committed, Entry
from interlock.runtime.owned import Owned
from interlock.runtime.payloads import MAX_INLINE, LargeValues, has_parcels

LEFT = "nobody waits for it any more"
Released = Callable[[Entry, Committed], None]
Refused = Callable[[Entry, Exception], None]


class Large(NamedTuple):
    """An input or output without its large values, and the blobs of these by path."""

    rest: Any
    refs: dict[str, str]


class Recording:
    """An entry together with the blobs that must be durable before it is sent.

    ``refs`` are the large values of each ended or started execution's own output and input, by path.
    """

    __slots__ = ("blobs", "entry", "input", "output")

    def __init__(self, entry: Entry) -> None:
        self.entry = entry
        self.blobs: list[bytes] = []
        self.input: Large | None = None
        self.output: Large | None = None


def record(owned: Owned, turn: Turn, now: datetime, released: Released, refused: Refused) -> Recording:
    """The entry of a turn: its events, and the change of the execution's row if its standing changed."""
    execution = owned.execution
    entry = Entry(execution.execution_id, owned.tenant_id, released, refused)
    recording = Recording(entry)
    _add_events(recording, owned, execution.execution_id, execution.seq - len(turn.events), turn.events, now)
    entry.turn_events = turn.events
    for event in turn.events:
        if type(event) is ApprovalRequested:
            owned.questions[event.task_id] = event.approval_id
            entry.approvals.append(_approval_row(owned, event, now))
        elif type(event) is ApprovalDecided:
            owned.questions.pop(event.task_id, None)
        elif type(event) is TaskCompleted and event.artifacts:
            entry.artifacts.extend(_artifact_rows(execution.execution_id, event, now))
    if owned.questions:
        _close_questions(entry, owned, now)
    entry.status = execution.status
    reason = owned.waiting_reason
    if entry.status is not owned.recorded_status or reason is not owned.recorded_reason:
        entry.change = _change(recording, execution, entry.status, reason, now)
        owned.recorded_status, owned.recorded_reason = entry.status, reason
    if execution.ended is not None and execution.parent is not None:
        entry.notices.append(_end_notice(recording, execution, execution.parent, owned.trace_id))
    return recording


def record_reason(owned: Owned, now: datetime, released: Released, refused: Refused) -> Recording | None:
    """The entry that says why an execution does not move; None if its row says so already."""
    execution = owned.execution
    entry = Entry(execution.execution_id, owned.tenant_id, released, refused)
    entry.status = execution.status
    reason = owned.waiting_reason
    if entry.status is owned.recorded_status and reason is owned.recorded_reason:
        return None
    recording = Recording(entry)
    entry.change = _change(recording, execution, entry.status, reason, now)
    owned.recorded_status, owned.recorded_reason = entry.status, reason
    return recording


def _add_events(
    recording: Recording, owned: Owned, execution_id: UUID, seq: int, events: list[Event], now: datetime
) -> None:
    entry = recording.entry
    for event in events:
        seq += 1
        if owned.large is None and owned.execution.program.carries_parcels and has_parcels(event):
            owned.large = LargeValues()
        data = encode_data(event) if owned.large is None else b""
        refs: str | None = None
        if len(data) > MAX_INLINE or owned.large is not None:
            data, refs = _take_out(recording, owned, event)
        entry.size += len(data)
        entry.rows.append((execution_id, seq, event.type, data.decode(), refs, now, owned.trace_id))


def _take_out(recording: Recording, owned: Owned, event: Event) -> tuple[bytes, str | None]:
    if owned.large is None:
        owned.large = LargeValues()
    taken = owned.large.take_out(event)
    recording.blobs.extend(taken.blobs)
    if not taken.refs:
        return taken.data, None
    if isinstance(taken.event, ExecutionStarted):
        recording.input = Large(taken.event.input, _refs_of("input", taken.refs))
    elif isinstance(taken.event, ExecutionSucceeded):
        recording.output = Large(taken.event.output, taken.refs)
    return taken.data, msgspec.json.encode(taken.refs).decode()


def _refs_of(field: str, refs: dict[str, str]) -> dict[str, str]:
    return {path: sha256 for path, sha256 in refs.items() if field_of(path) == field}


def start_row(
    recording: Recording,
    owned: Owned,
    event: ExecutionStarted,
    now: datetime,
    *,
    is_owned: bool,
    metadata: dict[str, Any],
    wake_at: datetime | None,
) -> dict[str, Any]:
    """The rows of a new execution: its own, and its live row unless it ended at once."""
    execution = owned.execution
    status, reason = execution.status, execution.waiting_reason
    owned.recorded_status, owned.recorded_reason = status, reason
    return {
        "execution_id": execution.execution_id,
        "entry_of": execution.execution_id,
        "tenant_id": owned.tenant_id,
        "user_id": owned.user_id,
        "visibility": owned.visibility,
        "private_to": owned.user_id if owned.visibility == "private" else None,
        "workflow_id": owned.workflow_id,
        "version_id": event.version_id,
        "workflow_number": owned.number,
        "kind": owned.kind,
        "status": status,
        "waiting_reason": reason,
        **_large("input", event.input, recording.input),
        **_large("output", execution.output, recording.output),
        "error": execution.error,
        "mode": event.mode,
        "started_by": event.started_by,
        "parent_id": event.parent.execution_id if event.parent is not None else None,
        "root_id": owned.root_id,
        "trace_id": owned.trace_id,
        "metadata": metadata,
        "at": now,
        "ended_at": execution.ended_at,
        "is_owned": is_owned,
        "wake_at": wake_at,
        "priority": owned.priority,
    }


def add_child(
    recording: Recording, owned: Owned, child: ChildStart, head: Head, now: datetime, *, is_left: bool
) -> None:
    """The first event and the rows of a child, queued, in its parent's entry.

    With ``is_left`` the same turn of its parent has given it up already: it begins and ends at once.
    """
    event = ExecutionStarted(
        workflow_id=head.workflow_id,
        version_id=head.version_id,
        kind=head.kind,
        input=child.input,
        mode="subworkflow",
        started_by=owned.user_id,
        parent=Parent(owned.execution.execution_id, child.parent_task_id, child.depth),
        deadline_at=now + timedelta(seconds=head.timeout) if head.timeout is not None else None,
    )
    events: list[Event] = [event, ExecutionCancelled(reason=LEFT, by="engine")] if is_left else [event]
    own, recording.input = recording.input, None  # an execution that starts may start children in the same entry
    _add_events(recording, owned, child.execution_id, 0, events, now)
    given, recording.input = recording.input, own
    recording.entry.starts.append(
        {
            "execution_id": child.execution_id,
            "entry_of": owned.execution.execution_id,
            "tenant_id": owned.tenant_id,
            "user_id": owned.user_id,
            "visibility": owned.visibility,
            "private_to": owned.user_id if owned.visibility == "private" else None,
            "workflow_id": head.workflow_id,
            "version_id": head.version_id,
            "workflow_number": head.number,
            "kind": head.kind,
            "status": Status.CANCELLED if is_left else Status.QUEUED,
            "waiting_reason": None if is_left else "slot",
            **_large("input", child.input, given),
            "mode": "subworkflow",
            "started_by": owned.user_id,
            "parent_id": owned.execution.execution_id,
            "root_id": owned.root_id,
            "trace_id": owned.trace_id,
            "metadata": {},
            "at": now,
            "ended_at": now if is_left else None,
            "is_owned": False,
            "wake_at": now,
            "priority": owned.priority,
        }
    )


def _large(field: str, value: Any, large: Large | None) -> dict[str, Any]:
    """The columns of an input or output; most have no large values."""
    return {field: value} if large is None else {field: large.rest, f"{field}_refs": large.refs}


def _change(recording: Recording, execution: Execution, status: Status, reason: Any, now: datetime) -> dict[str, Any]:
    return {
        "execution_id": execution.execution_id,
        "status": status,
        "waiting_reason": reason,
        **_large("output", execution.output, recording.output),
        "error": execution.error,
        "at": now,
        "is_end": execution.ended is not None,
    }


def _end_notice(recording: Recording, execution: Execution, parent: Parent, trace_id: str) -> dict[str, Any]:
    error = execution.error
    return {
        "from_id": execution.execution_id,
        "execution_id": parent.execution_id,
        "kind": SignalKind.CHILD_ENDED,
        "dedupe_key": f"child:{execution.execution_id}",
        "trace_id": trace_id,
        "payload": {
            "task_id": parent.task_id,
            "child_id": execution.execution_id,
            "status": execution.status,
            "output": recording.output.rest if recording.output is not None else execution.output,
            "refs": recording.output.refs if recording.output is not None else {},
            "error": {"code": error.code, "message": error.message} if error is not None else None,
        },
    }


def leave_notice(owned: Owned, child_id: UUID) -> dict[str, Any]:
    """Tells a sub-workflow that nobody waits for it any more."""
    return {
        "from_id": owned.execution.execution_id,
        "execution_id": child_id,
        "kind": SignalKind.CANCEL,
        "dedupe_key": "left",
        "trace_id": owned.trace_id,
        "payload": {"reason": LEFT},
    }


def _close_questions(entry: Entry, owned: Owned, now: datetime) -> None:
    """Questions whose tasks are over: nobody may answer them any more."""
    execution = owned.execution
    for task_id, approval_id in list(owned.questions.items()):
        task = execution.tasks.get(task_id)
        if execution.ended is not None or task is None or task.approval_id != approval_id:
            del owned.questions[task_id]
            entry.closings.append({"execution_id": execution.execution_id, "approval_id": approval_id, "at": now})


def _approval_row(owned: Owned, event: ApprovalRequested, now: datetime) -> dict[str, Any]:
    return {
        "approval_id": event.approval_id,
        "execution_id": owned.execution.execution_id,
        "workflow_id": owned.workflow_id,
        "task_id": event.task_id,
        "node_id": event.node_id,
        "kind": event.kind,
        "interaction_type": event.interaction_type,
        "title": event.title,
        "description": event.description,
        "request": event.request,
        "fields": event.fields,
        "options": event.options,
        "assignees": event.assignees,
        "priority": event.priority,
        "reason_required": event.reason_required,
        "forbid_requester": event.forbid_requester,
        "requested_by": owned.execution.started_by,
        "on_timeout": event.on_timeout,
        "default_response": event.default_response,
        "escalate_to": event.escalate_to,
        "created_at": now,
        "expires_at": event.expires_at,
    }


def _artifact_rows(execution_id: UUID, event: TaskCompleted, now: datetime) -> list[dict[str, Any]]:
    return [
        {
            "execution_id": execution_id,
            "name": artifact.name,
            "task_id": event.task_id,
            "sha256": artifact.sha256,
            "size": artifact.size,
            "content_type": artifact.content_type,
            "at": now,
        }
        for artifact in event.artifacts
    ]
