"""From an error to a status. The doors only choose the words around it."""

from __future__ import annotations

import math
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

from interlock.core.errors import ErrorKind, InterlockError, unavailable
from interlock.doors.http.plumbing.operation import Door, Refusal
from interlock.doors.http.plumbing.replies import NO_STORE, Headers, JsonReply

STATUS: dict[ErrorKind, int] = {
    ErrorKind.INVALID: 400,
    ErrorKind.UNAUTHENTICATED: 401,
    ErrorKind.DENIED: 403,
    ErrorKind.NOT_FOUND: 404,
    ErrorKind.GONE: 410,
    ErrorKind.CONFLICT: 409,
    ErrorKind.MISMATCH: 422,
    ErrorKind.PRECONDITION: 409,
    ErrorKind.TOO_LARGE: 413,
    ErrorKind.UNSUPPORTED_MEDIA: 415,
    ErrorKind.LIMITED: 429,
    ErrorKind.EXTERNAL: 502,
    ErrorKind.UNAVAILABLE: 503,
    ErrorKind.TIMEOUT: 504,
    ErrorKind.INTERNAL: 500,
}
"""The status of each kind; a broken rule (``RULE``) has the status its door says."""

CLOSE: Headers = ((b"connection", b"close"),)
"""The connection ends with this answer."""

_STATE_CODES = frozenset({"INVALID_TRANSITION"})
_PRECONDITION_FAILED = "PRECONDITION_FAILED"  # what If-Match named, where that header is honoured
_IANA = "https://iana.org/assignments/http-problem-types#"
_QUOTA = "RATE_LIMIT_EXCEEDED"


def status_of(error: InterlockError, door: Door) -> int:
    """The HTTP status of an error at a door."""
    if error.code in door.statuses:
        return door.statuses[error.code]
    if error.kind is ErrorKind.RULE:
        return 422 if error.code in _STATE_CODES else door.rule_status
    return 412 if error.code == _PRECONDITION_FAILED else STATUS[error.kind]


def unexpected() -> InterlockError:
    """What a caller is told of a failure that nobody foresaw: nothing but its code, and the trace id beside it."""
    return InterlockError(
        ErrorKind.INTERNAL, "INTERNAL_SERVER_ERROR", "The server failed to answer this call; its trace id says where"
    )


def stopping() -> InterlockError:
    """What a caller is told whose request takes longer than the server has left; what it did, its log says."""
    return unavailable("This server is stopping; send the request again")


def problem(refusal: Refusal) -> dict[str, Any]:
    """The envelope of paths without a door (RFC 9457), with the registered types of a used-up quota and of no room."""
    error = refusal.error
    return {
        "type": _type_of(error, refusal.status),
        "title": HTTPStatus(refusal.status).phrase,
        "status": refusal.status,
        "detail": error.message,
        **({"instance": quote(refusal.path)} if refusal.path else {}),
        "code": error.code,
        "trace_id": refusal.trace_id,
        **({"violated-policies": [error.details["window"]]} if "window" in error.details else {}),
        **({"errors": error.details["errors"]} if "errors" in error.details else {}),
        **({"details": error.details} if error.details else {}),
    }


def _type_of(error: InterlockError, status: int) -> str:
    if error.code == _QUOTA:
        return _IANA + "quota-exceeded"
    return _IANA + "temporary-reduced-capacity" if status == 503 else "about:blank"


NO_DOOR = Door(name="none", prefixes=("",), envelope=problem, media_type="application/problem+json")
"""Answers for paths that no door owns."""


def refuse(refusal: Refusal, door: Door, headers: Headers = ()) -> JsonReply:
    """The door's answer to a refused request."""
    error = refusal.error
    extra: list[tuple[bytes, bytes]] = []
    if error.retry_after is not None:
        extra.append((b"retry-after", b"%d" % max(1, math.ceil(error.retry_after))))
    if error.kind is ErrorKind.UNAUTHENTICATED:
        extra.append((b"www-authenticate", b"Bearer"))
    if error.kind is ErrorKind.TOO_LARGE:
        extra += CLOSE  # whatever else comes of that body is not worth reading
    return JsonReply(
        door.envelope(refusal),
        status=refusal.status,
        headers=(*NO_STORE, *extra, *door.error_headers(error), *headers),
        media_type=door.media_type,
    )
