"""Answers to what never became a request: the bytes made no sense, took too long, or came when there was no room."""

from __future__ import annotations

import re
from collections.abc import Iterable
from urllib.parse import unquote

from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from interlock.core.errors import ErrorKind, InterlockError, invalid, not_found, unavailable
from interlock.doors.http.plumbing.doorstep import MethodsAt
from interlock.doors.http.plumbing.errors import CLOSE, NO_DOOR, refuse
from interlock.doors.http.plumbing.operation import Refusal
from interlock.doors.http.plumbing.replies import Headers
from interlock.doors.http.plumbing.security import ALWAYS
from interlock.doors.http.plumbing.trace import Exchange, own_headers
from interlock.kit.ids import RandomIds

RawHeaders = Iterable[tuple[bytes, bytes]]

_IDS = RandomIds()
_LINE = re.compile(rb"(?:\r\n)*([!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}) (/[^ \r\n?]*)(?:\?[^ \r\n]*)? HTTP/1\.[01]\r\n")
_REASONS = {
    400: invalid("INVALID_REQUEST", "The bytes that came are no HTTP request that has exactly one meaning"),
    408: InterlockError(ErrorKind.TIMEOUT, "TIMEOUT", "The request did not arrive in time"),
    431: InterlockError(ErrorKind.TOO_LARGE, "PAYLOAD_TOO_LARGE", "The headers are too large or too many"),
    503: unavailable("There are too many connections; close some first"),
}


def answer(status: int, headers: RawHeaders = (), seconds: float = 0.0) -> bytes:
    """A whole answer for a request that no door has seen, with its ids if ``headers`` came so far.

    ``status`` is 400, 408, 431 or 503; the connection ends with it. ``seconds`` is how long it took until now.
    """
    return _written(_REASONS[status], status, headers, "", (), seconds)


def answer_to_unknown_method(beginning: bytes, methods_at: MethodsAt) -> bytes:
    """The answer to a request whose method is not one of HTTP's: 405 where a path is known, 404 where it is not.

    ``beginning`` is its first bytes; 400 if they do not hold the whole first line. ``methods_at`` says what is
    possible at a path.
    """
    line = _LINE.match(beginning)
    if line is None:
        return answer(400)
    path = unquote(line[2].decode("latin-1"))
    allow = ", ".join(methods_at(path))
    if not allow:
        error = not_found("NOT_FOUND", "There is nothing at this path; /openapi.json lists what there is")
        return _written(error, 404, (), path, (), 0.0)
    message = f"{line[1][:16].decode()} is not possible here; use {allow}"
    return _written(invalid("METHOD_NOT_ALLOWED", message), 405, (), path, ((b"allow", allow.encode()),), 0.0)


def _written(
    error: InterlockError, status: int, headers: RawHeaders, path: str, more: Headers, seconds: float
) -> bytes:
    exchange = Exchange({"headers": headers, "path": path}, 0.0, _IDS)
    refusal = Refusal(
        error=error,
        status=status,
        path=path[:256],
        method="",
        request_id=exchange.request_id,
        trace_id=exchange.trace_id,
        timestamp="",
    )
    reply = refuse(refusal, NO_DOOR, (*more, *CLOSE))
    head = [
        (b"content-type", reply.media_type.encode()),
        (b"content-length", b"%d" % len(reply.body)),
        *dict.fromkeys(reply.headers),
        *ALWAYS,
        *own_headers(exchange, seconds),
    ]
    return b"".join((STATUS_LINE[status], *(b"%b: %b\r\n" % header for header in head), b"\r\n", reply.body))
