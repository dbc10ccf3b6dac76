"""What a server and its child tell each other: messages, each behind four bytes that give its length.

What a child says is JSON: of its other forms, few bytes could become very much memory. What a server says, and the
files of a child, are msgpack: a large value is written many times faster, and bytes are taken as they are. Only what
msgpack cannot hold, which is whole numbers of more than 64 bits, is JSON there too; the first byte tells.

Arguments and results may hold packed values, whose bytes stand behind the message as they are: ``parts``.
"""

from __future__ import annotations

import contextlib
from typing import Any, Generic, TypeAlias, TypeVar

import msgspec
from msgspec.structs import replace

from interlock.backends.executor.frames import framed
from interlock.backends.executor.pool.parts import Part, join, put_together, split, take_apart
from interlock.core.code import ARGUMENTS
from interlock.core.commands import TaskErred, TaskReported, TaskSucceeded, TaskSuspended
from interlock.core.events import ArtifactRef, Failure
from interlock.ports.egress import EgressResponse
from interlock.ports.node import Attempt, NodeFailed

MAX_FRAME = 96 * 1_048_576
"""Bytes of one message; a larger one means that the other side is not who it should be."""


class Message(msgspec.Struct, frozen=True, kw_only=True, tag_field="say", tag=str.lower):
    """Base of all messages."""


# From the server


class Run(Message, frozen=True, kw_only=True):
    """Run this attempt; there is one at a time."""

    attempt: Attempt
    parts: tuple[Part, ...] = ()


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


class Worn(Message, frozen=True, kw_only=True):
    """The child's memory grows with its attempts: after this one it should be replaced."""


class Succeeded(Message, frozen=True, kw_only=True):
    result: TaskSucceeded
    parts: tuple[Part, ...] = ()


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
FromChild: TypeAlias = Ready | Unable | Worn | Succeeded | Suspended | Erred | Reported | Printed | Store | Call

_T = TypeVar("_T")
_in_json = msgspec.json.Encoder()
_packer = msgspec.msgpack.Encoder()
_PACKED = (Run, Stored, Answered, Refused, Store)
_OPENING = b"{"  # what JSON begins with, and no packed message does


class Reader(Generic[_T]):
    """Decodes what the other side says, in both forms."""

    def __init__(self, kinds: Any) -> None:
        self._json: msgspec.json.Decoder[_T] = msgspec.json.Decoder(kinds)
        self._packed: msgspec.msgpack.Decoder[_T] = msgspec.msgpack.Decoder(kinds)

    def decode(self, body: bytes | bytearray) -> _T:
        """The message. Raises msgspec.MsgspecError or UnicodeError for anything else."""
        told, contents = split(body)
        message = (self._json if told[:1] == _OPENING else self._packed).decode(told)
        if contents or getattr(message, "parts", None):
            _complete(message, contents)
        return message


read_server: Reader[FromServer] = Reader(FromServer)
read_child: Reader[FromChild] = Reader(FromChild)


def frame(message: Message) -> bytes:
    """The bytes of a message with its length in front. Raises NodeFailed MESSAGE_TOO_LARGE over ``MAX_FRAME``."""
    message, contents = _apart(message)
    encoded = _encode(message)
    size = len(encoded) + sum(map(len, contents))
    if size > MAX_FRAME:
        limit = MAX_FRAME // 1_048_576
        told = f"{size:,} bytes are too many to pass to a process; at most {limit} MiB are taken"
        raise NodeFailed("MESSAGE_TOO_LARGE", told)
    body = join(encoded, contents)
    return framed(body)


def is_file(body: bytes) -> bool:
    """Whether a message stores a file, as ``frame`` writes such a one."""
    return body.startswith(_FILE)


def is_json(body: bytes | bytearray) -> bool:
    """Whether a message is JSON, whatever stands behind it."""
    return split(body)[0][:1] == _OPENING


def _apart(message: Message) -> tuple[Message, list[bytes]]:
    contents: list[bytes] = []
    if type(message) is Run and message.attempt.packs:
        attempt = message.attempt
        rest, parts, contents = take_apart(attempt.parameters.get(ARGUMENTS))
        if parts:
            parameters = {**attempt.parameters, ARGUMENTS: rest}
            message = Run(attempt=replace(attempt, parameters=parameters), parts=parts)
    elif type(message) is Succeeded:
        rest, parts, contents = take_apart(message.result.output)
        if parts:
            message = Succeeded(result=replace(message.result, output=rest), parts=parts)
    return message, contents


def _complete(message: Any, contents: memoryview) -> None:
    """Put its packed values into a message that was just read."""
    if type(message) is Run:
        put_together(message.attempt.parameters.get(ARGUMENTS), message.parts, contents)
    elif type(message) is Succeeded:
        put_together(message.result.output, message.parts, contents)
    else:
        raise msgspec.ValidationError("Bytes behind a message that has no place for them")


def _encode(message: Message) -> bytes:
    if isinstance(message, _PACKED):
        with contextlib.suppress(OverflowError):
            return _packer.encode(message)
    return _in_json.encode(message)


_FILE = _packer.encode(Store(call=0, name="", content=b"", content_type=""))[:11]
"""The number of its fields and the first of them, which says what it is."""
