"""What happened to an execution, as facts that the views are folded from: one form for stored events and for frames."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from interlock.core.errors import ErrorKind
from interlock.doors.cli.failures import failure
from interlock.doors.cli.texts import epoch, one_line

STATUS_OF = {
    "execution.succeeded": "SUCCESS",
    "execution.failed": "ERROR",
    "execution.cancelled": "CANCELED",
}
"""The status an execution has after its last fact, in the app door's words."""

ENDED = frozenset({"SUCCESS", "ERROR", "CANCELED", "TIMEOUT"})

_OWN_NAMES = {
    "inputs": "input",
    "input_data": "input",
    "result": "output",
    "output_data": "output",
    "triggered_by": "started_by",
    "flow_event": "event",
}
"""Fields that frames of the app door call otherwise than the stored events do."""


class Fact(msgspec.Struct, frozen=True, kw_only=True):
    """One event: its number in the log, its stored type, when (seconds since 1970), its fields, and how it came."""

    seq: int
    type: str
    at: float
    data: dict[str, Any] = {}
    is_final: bool = False
    raw: dict[str, Any] = {}

    def text(self, name: str) -> str:
        """A field as text; empty if it is not there."""
        value = self.data.get(name)
        return "" if value is None else str(value)

    @property
    def node_id(self) -> str:
        return self.text("node_id")

    @property
    def task_id(self) -> str:
        return self.text("task_id") or self.node_id


def read_frame(seq: int, text: str | bytes) -> Fact:
    """The fact in one frame of a stream. Raises EXTERNAL for a frame that is none."""
    try:
        frame: dict[str, Any] = msgspec.json.decode(text, type=dict)
    except msgspec.MsgspecError as error:
        message = f"Frame {seq} of the stream cannot be read"
        raise failure(ErrorKind.EXTERNAL, "BAD_FRAME", message, "Check the address with --url.") from error
    data: dict[str, Any] = dict(frame["data"]) if isinstance(frame.get("data"), dict) else {}
    kind = str(data.pop("event", ""))
    return Fact(
        seq=seq,
        type=kind,
        at=epoch(frame.get("timestamp")) or 0.0,
        data={_OWN_NAMES.get(name, name): value for name, value in data.items()},
        is_final=bool(frame.get("is_final")),
        raw={"seq": seq, **frame},
    )


def read_stored(event: Mapping[str, Any]) -> Fact:
    """The fact in one stored event as the app door lists it."""
    kind = str(event["type"])
    return Fact(
        seq=int(event["seq"]),
        type=kind,
        at=epoch(event.get("at")) or 0.0,
        data=event["data"],
        is_final=kind in STATUS_OF,
        raw=dict(event),
    )


def error_text(error: Any) -> str:
    """An error as the doors write it, on one line: ``CODE: message``."""
    if not isinstance(error, dict):
        return one_line(error) if error else ""
    code, message = error.get("code") or error.get("error_code"), error.get("message") or ""
    return one_line(f"{code}: {message}" if code else message, 200)
