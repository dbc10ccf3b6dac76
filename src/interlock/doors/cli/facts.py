"""What a stream of an execution says, as facts that the views are folded from."""

from __future__ import annotations

from typing import Any

import msgspec

from interlock.core.errors import ErrorKind
from interlock.doors.cli.failures import failure
from interlock.doors.cli.texts import epoch, one_line

STATUS_OF = {
    "execution_completed": "SUCCESS",
    "execution_failed": "ERROR",
    "execution_cancelled": "CANCELED",
}
"""The status an execution has after its last fact."""

ENDED = frozenset({"SUCCESS", "ERROR", "CANCELED", "TIMEOUT"})


class Fact(msgspec.Struct, frozen=True, kw_only=True):
    """One frame: its number in the log, its type in the app door's words, when (seconds since 1970), and its data."""

    seq: int
    type: str
    at: float
    data: dict[str, Any] = {}
    is_final: bool = False
    frame: dict[str, Any] = {}

    def text(self, name: str) -> str:
        """A field of the data as text; empty if it is not there."""
        value = self.data.get(name)
        return "" if value is None else str(value)

    @property
    def node_id(self) -> str:
        return self.text("node_id")

    @property
    def task_id(self) -> str:
        return self.text("task_id") or self.node_id


def read_frame(seq: int, text: str | bytes) -> Fact:
    """The fact in one frame of a stream. Raises InterlockError for a frame that is none."""
    try:
        frame = msgspec.json.decode(text, type=dict[str, Any])
    except msgspec.MsgspecError as error:
        message = f"Frame {seq} of the stream cannot be read"
        raise failure(ErrorKind.EXTERNAL, "BAD_FRAME", message, "Check the address with --url.") from error
    data = frame.get("data")
    return Fact(
        seq=seq,
        type=str(frame.get("type", "")),
        at=epoch(frame.get("timestamp")) or epoch(frame.get("created_at")) or 0.0,
        data=data if isinstance(data, dict) else {},
        is_final=bool(frame.get("is_final")),
        frame=frame,
    )


def error_text(error: Any) -> str:
    """An error as the doors write it, on one line: ``CODE: message``."""
    if not isinstance(error, dict):
        return one_line(error) if error else ""
    code, message = error.get("code") or error.get("error_code"), error.get("message") or ""
    return one_line(f"{code}: {message}" if code else message, 200)
