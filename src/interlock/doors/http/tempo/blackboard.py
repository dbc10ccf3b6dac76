"""The blackboard of a session, key by key or whole."""

from __future__ import annotations

from typing import Any

import msgspec

from interlock.core.errors import invalid
from interlock.doors.http.plumbing.operation import Call, HeaderField, Reply
from interlock.doors.http.plumbing.replies import PRIVATE, JsonReply
from interlock.doors.http.tempo.door import session_state
from interlock.services.sessions.blackboard import Board

_VERSION_DIGITS = 9
IF_MATCH = HeaderField(
    "If-Match",
    "The version the key must have: what the last write answered, or the `ETag` of the last read. 0: not written yet.",
    {"type": "string", "pattern": '^"?[0-9]{1,9}"?$'},
)


class BoardAnswer(msgspec.Struct, kw_only=True):
    session_id: str
    state: dict[str, Any]


class KeyAnswer(msgspec.Struct, kw_only=True):
    session_id: str
    key: str
    value: Any


class WriteBody(msgspec.Struct, kw_only=True):
    """Any JSON value, null too."""

    value: Any


class WriteAnswer(msgspec.Struct, kw_only=True):
    """``version`` may be sent back as ``If-Match`` with the next write."""

    session_id: str
    key: str
    status: str
    version: int


async def read_board(call: Call[None, None]) -> Reply:
    """All keys; none for an id that nobody has used."""
    return JsonReply(BoardAnswer(session_id=call.path["session_id"], state=(await _board(call)).values))


async def read_key(call: Call[None, None]) -> Reply:
    """One key; null if it is not there. Its ``ETag`` is the version that a write may name in ``If-Match``."""
    key = call.path["key"]
    board = await _board(call)
    answer = KeyAnswer(session_id=call.path["session_id"], key=key, value=board.values.get(key))
    return JsonReply(answer, headers=(*PRIVATE, (b"etag", b'"%d"' % board.versions.get(key, 0))))


async def write_key(call: Call[WriteBody, None]) -> Reply:
    """Set a key, for debugging and administration."""
    session_id, key = call.path["session_id"], call.path["key"]
    version = await call.services.blackboards.write(
        call.principal,
        session_id,
        key,
        call.body.value,
        expected=_expected(call.header("if-match")),
        trace_id=call.trace_id,
    )
    return JsonReply(WriteAnswer(session_id=session_id, key=key, status="written", version=version))


async def _board(call: Call[Any, Any]) -> Board:
    board = await call.services.blackboards.read(call.principal, call.path["session_id"])
    if board.picture is not None:
        standing = board.picture.standing
        board.values["_session_state"] = session_state(standing.status, standing.waiting_reason)
    return board


def _expected(value: str | None) -> int | None:
    """The version of ``If-Match``, bare or in quotes. Raises INVALID."""
    if value is None:
        return None
    text = value.strip().strip('"')
    if not (text.isascii() and text.isdigit() and len(text) <= _VERSION_DIGITS):
        raise invalid("INVALID_REQUEST", "If-Match must be the version of the key", field="If-Match")
    return int(text)
