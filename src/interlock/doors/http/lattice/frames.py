"""Our events as frames of this door: only what its clients know is shown, each event at most once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from interlock.core.draft import RESOURCE_WORDS
from interlock.core.large import field_of
from interlock.kit.instants import rfc3339
from interlock.services.nouns import EventRecord

Fields = dict[str, Any]

LOCAL_WORKER, LOCAL_ADDRESS = "local-1", "127.0.0.1"
"""Where a task runs that needed no place of its own."""


class Frame(msgspec.Struct, kw_only=True):
    """What is no event has no ``seq``: a reader that goes on behind a number loses and repeats none of those."""

    type: str
    data: Fields
    seq: int | UnsetType = UNSET
    trace_id: str
    timestamp: str


class Telling(msgspec.Struct, frozen=True):
    """Whose events are told, by the ids its clients know; ``names`` are those of tasks.

    ``mark`` stands behind the place of a task where nothing holds its code in.
    """

    workflow_id: str
    run_id: str
    names: Mapping[str, str]
    mark: str = ""

    @property
    def ids(self) -> Fields:
        return {"workflow_id": self.workflow_id, "run_id": self.run_id}


RESULT = "output"
"""The field of a task's end that its frame shows as its result."""


def is_large(record: EventRecord) -> bool:
    """Whether the result that the frame of this event shows lies elsewhere."""
    return record.type == "task.completed" and any(field_of(path) == RESULT for path in record.refs or ())


def frame_of(record: EventRecord, telling: Telling, result: Any = None) -> tuple[Frame, bool] | None:
    """The frame of an event, and whether everybody gets it or only who wants the full picture; None if nobody does.

    ``result`` is that of an event that is large.
    """
    kind = _FRAMES.get(record.type)
    if kind is None:
        return None
    made = kind(msgspec.json.decode(record.data), telling, record)
    if made is None:
        return None
    name, data = made
    if result is not None:
        data["result"] = result
    timestamp = rfc3339(record.at)
    frame = Frame(type=name, data=data, seq=record.seq, trace_id=record.trace_id, timestamp=timestamp)
    return frame, name in _FOR_ALL


_Made = tuple[str, Fields] | None


def _started(fields: Fields, telling: Telling, record: EventRecord) -> _Made:
    place = fields.get("placement") or {}
    gpus = place.get("gpus")
    told = {
        **telling.ids,
        "task_id": fields["task_id"],
        "task_name": telling.names.get(fields["node_id"], fields["node_id"]),
        "node_ip": place.get("address") or LOCAL_ADDRESS,
        "node_id": (place.get("worker") or LOCAL_WORKER) + telling.mark,
        "gpu_id": gpus[0] if gpus else None,
        "attempt": fields.get("attempt", 1),
    }
    if place.get("batch_id"):
        told |= {"batch_id": place["batch_id"], "batch_size": place.get("batch_size", 1)}
    if place.get("clamped"):
        told["clamped"] = {
            RESOURCE_WORDS.get(name, name): [_plain(found) for found in pair] for name, pair in place["clamped"].items()
        }
    return "start_task", told


def _finished(fields: Fields, telling: Telling, record: EventRecord) -> _Made:
    ended = {"result": fields.get(RESULT), "duration_ms": fields.get("duration_ms", 0)}
    return "finish_task", {**telling.ids, "task_id": fields["task_id"], **ended}


def _failed(fields: Fields, telling: Telling, record: EventRecord) -> _Made:
    error = fields["error"]
    what = "Attempt lost" if fields.get("lost") else "Task failed"
    result = f"{what}: {error['code']}: {error['message']}"
    told = {**telling.ids, "task_id": fields["task_id"], "result": result, "attempt": fields["attempt"]}
    if fields.get("will_retry"):
        return "task_retry", {**told, "retry_at": fields.get("retry_at")}
    return "task_exception", {**told, "error_type": error["code"], "will_retry": False}


def _skipped(fields: Fields, telling: Telling, record: EventRecord) -> _Made:
    return "task_skipped", {**telling.ids, "task_id": fields["task_id"], "because": fields.get("reason", "")}


def _waiting(fields: Fields, telling: Telling, record: EventRecord) -> _Made:
    return "task_waiting", {**telling.ids, "task_id": fields["task_id"], "reason": fields["waits_for"]}


def _noted(fields: Fields, telling: Telling, record: EventRecord) -> _Made:
    data = fields.get("data")
    stream = data.get("stream", "stdout") if isinstance(data, dict) else "stdout"
    text = fields.get("message", "")
    return "task_log", {**telling.ids, "task_id": fields["task_id"], "stream": stream, "text": text}


def _ended(status: str) -> Callable[[Fields, Telling, EventRecord], _Made]:
    def ended(fields: Fields, telling: Telling, record: EventRecord) -> _Made:
        told = {"run_id": telling.run_id, "workflow_id": telling.workflow_id, "status": status}
        lists = {"failed_tasks": fields.get("failed") or [], "skipped_tasks": fields.get("skipped") or []}
        return "finish_workflow", {**told, **lists}

    return ended


def _plain(number: float) -> float:
    """Whole numbers are written whole."""
    return int(number) if float(number).is_integer() else number


_FOR_ALL = frozenset({"start_task", "finish_task", "task_exception", "finish_workflow"})
_FRAMES: dict[str, Callable[[Fields, Telling, EventRecord], _Made]] = {
    "task.started": _started,
    "task.completed": _finished,
    "task.failed": _failed,
    "task.skipped": _skipped,
    "task.waiting": _waiting,
    "task.progressed": _noted,
    "execution.succeeded": _ended("succeeded"),
    "execution.failed": _ended("failed"),
    "execution.cancelled": _ended("cancelled"),
}
