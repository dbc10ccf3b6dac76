"""Every event is one frame of the app door, and nothing of it is lost on the way."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import msgspec
import pytest

from interlock.core.events import (
    EVENT_TYPES,
    ApprovalRequested,
    ArtifactRef,
    Event,
    ExecutionFailed,
    ExecutionStarted,
    ExecutionSucceeded,
    Failure,
    FlowTransitioned,
    TaskCompleted,
    TaskFailed,
    TaskStarted,
    encode_data,
)
from interlock.doors.http.app.frames import FRAME_OF, app_frame
from interlock.doors.http.plumbing.sse import frame, frame_without_id
from interlock.ports.store import EventRecord

AT = datetime(2026, 11, 21, 12, 30, 15, 250_000, UTC)
ID = UUID(int=7)
TYPES = {
    "execution_started", "node_started", "node_output_update", "node_completed", "node_failed", "node_retrying",
    "node_skipped", "user_input_required", "execution_paused", "execution_resumed", "execution_completed",
    "execution_failed", "execution_cancelled",
}  # fmt: skip


def record(event: Event, refs: Any = None) -> EventRecord:
    return EventRecord(seq=5, type=event.type, data=encode_data(event).decode(), refs=refs, at=AT, trace_id="t")


def shown(event: Event, refs: Any = None) -> dict[str, Any]:
    made = app_frame(record(event, refs), "E", {"n": "my node"}, is_final=False)
    return msgspec.json.decode(msgspec.json.encode(made))  # type: ignore[no-any-return]


def sample(kind: type[Event]) -> Event:
    """An event of a kind with whatever it must have."""
    fields = {"error": Failure(code="X", message="x"), "workflow_id": None, "version_id": ID, "approval_id": ID}
    needed = {
        info.name: fields.get(info.name, () if "tuple" in str(info.type) else "x")
        for info in msgspec.structs.fields(kind)
        if info.required
    }
    return kind(**{**needed, **({"attempt": 1} if "attempt" in needed else {})})


@pytest.mark.parametrize("kind", EVENT_TYPES.values(), ids=str)
def test_every_kind_of_event_is_a_frame_of_a_known_type(kind: type[Event]) -> None:
    body = shown(sample(kind))
    assert body["type"] in TYPES
    assert body["content"] == body["data"]
    assert (body["data"]["execution_id"], body["data"]["event"]) == ("E", kind.type)
    assert (body["session_id"], body["timestamp"], body["created_at"]) == (
        "E",
        1795264215250,
        "2026-11-21T12:30:15.250Z",
    )


def test_types_without_a_frame_of_their_own_are_updates() -> None:
    assert set(FRAME_OF) <= set(EVENT_TYPES)
    assert set(FRAME_OF.values()) | {"node_retrying", "node_output_update"} == TYPES
    for name in EVENT_TYPES.keys() - FRAME_OF.keys():
        assert shown(sample(EVENT_TYPES[name]))["type"] == "node_output_update"


def test_a_failed_attempt_is_a_retry_or_a_failure() -> None:
    error = Failure(code="X", message="x")
    again = TaskFailed(task_id="n", node_id="n", attempt=1, error=error, will_retry=True, retry_at=AT)
    assert shown(again)["type"] == "node_retrying"
    over = shown(TaskFailed(task_id="n", node_id="n", attempt=2, error=error, dead=(1, 2)))
    assert over["type"] == "node_failed"
    assert over["data"]["error"] == {"code": "X", "message": "x"}
    assert "dead" not in over["data"]


def test_fields_have_the_names_of_this_door() -> None:
    started = shown(ExecutionStarted(workflow_id=None, version_id=ID, kind="graph", input={"a": 1}, started_by="me"))
    assert (started["data"]["inputs"], started["data"]["triggered_by"]) == ({"a": 1}, "me")
    task = shown(TaskStarted(task_id="each[3]/n", node_id="n", input={"x": 1}))
    assert (task["data"]["task_id"], task["data"]["node_name"], task["data"]["input_data"]) == (
        "each[3]/n",
        "my node",
        {"x": 1},
    )
    artifact = ArtifactRef(name="a.md", size=1, sha256="00")
    done = shown(TaskCompleted(task_id="n", node_id="n", output=[1], artifacts=(artifact,)))
    assert (done["data"]["output_data"], done["data"]["artifacts"][0]["name"]) == ([1], "a.md")
    end = shown(ExecutionSucceeded(output=7))
    assert (end["data"]["result"], end["data"]["status"]) == (7, "SUCCESS")
    moved = shown(FlowTransitioned(source=("a",), target=("b",), event="GO", active=("b",)))
    assert (moved["data"]["event"], moved["data"]["flow_event"]) == ("flow.transitioned", "GO")
    asked = shown(ApprovalRequested(approval_id=ID, task_id="n", node_id="n", title="Pay?"))
    assert (asked["data"]["approval_id"], asked["data"]["title"]) == (str(ID), "Pay?")


def test_a_deadline_is_told_as_timeout() -> None:
    assert shown(ExecutionFailed(error=Failure(code="TIMEOUT", message="late")))["data"]["status"] == "TIMEOUT"
    assert shown(ExecutionFailed(error=Failure(code="X", message="x")))["data"]["status"] == "ERROR"


def test_what_was_too_large_for_the_log_is_named() -> None:
    body = shown(TaskCompleted(task_id="n", node_id="n"), refs={"output": "ab12"})
    assert body["data"]["omitted"] == {"output_data": {"sha256": "ab12"}}


def test_a_frame_is_one_block_of_the_stream() -> None:
    assert frame(12, b"{}") == b"id: 12\ndata: {}\n\n"
    assert frame_without_id(b"{}") == b"data: {}\n\n"


def test_a_frame_is_one_line_whatever_its_data_hold() -> None:
    made = app_frame(record(ExecutionSucceeded(output="a\nb\r\n\u2028")), "E", {}, is_final=True)
    assert b"\n" not in msgspec.json.encode(made)
    assert b"\r" not in msgspec.json.encode(made)
