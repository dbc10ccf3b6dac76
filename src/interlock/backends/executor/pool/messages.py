"""What a server and its child tell each other: JSON messages, each behind four bytes that give its length."""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from interlock.core.commands import TaskErred, TaskReported, TaskSucceeded, TaskSuspended
from interlock.core.events import ArtifactRef, Failure
from interlock.ports.egress import EgressResponse
from interlock.ports.node import Attempt, NodeFailed

HEADER = 4
"""Bytes of the length, most significant first."""
MAX_FRAME = 96 * 1_048_576
"""Bytes of one message; a larger one means that the other side is not who it should be."""


class Message(msgspec.Struct, frozen=True, kw_only=True, tag_field="say", tag=str.lower):
    """Base of all messages."""


# From the server


class Run(Message, frozen=True, kw_only=True):
    """Run this attempt; there is one at a time."""

    attempt: Attempt


class Stored(Message, frozen=True, kw_only=True):
    """The artifact is durable."""

    call: int
    ref: ArtifactRef


class Answered(Message, frozen=True, kw_only=True):
    """What the other server said."""

    call: int
    response: EgressResponse


class Refused(Message, frozen=True, kw_only=True):
    """The call failed. ``kind`` is that of an InterlockError, or empty for a NodeFailed."""

    call: int
    kind: str
    error: Failure


# From the child


class Ready(Message, frozen=True, kw_only=True):
    """The registry is loaded."""


class Unable(Message, frozen=True, kw_only=True):
    """The registry could not be loaded; the child ends."""

    reason: str


class Began(Message, frozen=True, kw_only=True):
    """The attempt has reached the child: if it dies now, it died of that."""


class Succeeded(Message, frozen=True, kw_only=True):
    result: TaskSucceeded


class Suspended(Message, frozen=True, kw_only=True):
    result: TaskSuspended


class Erred(Message, frozen=True, kw_only=True):
    """``trace`` is the traceback of an unforeseen error, for the server's log."""

    result: TaskErred
    trace: str = ""


class Reported(Message, frozen=True, kw_only=True):
    result: TaskReported


class Printed(Message, frozen=True, kw_only=True):
    """What users' code wrote to ``stdout`` or ``stderr``."""

    stream: str
    text: str


class Store(Message, frozen=True, kw_only=True):
    """Store an artifact. Answered by Stored or Refused."""

    call: int
    name: str
    content: bytes
    content_type: str


class Call(Message, frozen=True, kw_only=True):
    """Make an HTTP call. Answered by Answered or Refused."""

    call: int
    method: str
    url: str
    headers: dict[str, str]
    body: bytes | None
    timeout: float
    max_bytes: int
    follow_redirects: bool


Answer: TypeAlias = Stored | Answered | Refused
FromServer: TypeAlias = Run | Stored | Answered | Refused
Ending: TypeAlias = Succeeded | Suspended | Erred
FromChild: TypeAlias = Ready | Unable | Began | Succeeded | Suspended | Erred | Reported | Printed | Store | Call

_encoder = msgspec.json.Encoder()
read_server: msgspec.json.Decoder[FromServer] = msgspec.json.Decoder(FromServer)
"""Decodes what a server says; ``decode`` raises msgspec.MsgspecError for anything else."""
read_child: msgspec.json.Decoder[FromChild] = msgspec.json.Decoder(FromChild)
"""Decodes what a child says; ``decode`` raises msgspec.MsgspecError for anything else."""


def frame(message: Message) -> bytes:
    """The bytes of a message with its length in front. Raises NodeFailed MESSAGE_TOO_LARGE over ``MAX_FRAME``."""
    encoded = _encoder.encode(message)
    if len(encoded) > MAX_FRAME:
        limit = MAX_FRAME // 1_048_576
        told = f"{len(encoded):,} bytes are too many to pass to a process; at most {limit} MiB are taken"
        raise NodeFailed("MESSAGE_TOO_LARGE", told)
    return len(encoded).to_bytes(HEADER, "big") + encoded
