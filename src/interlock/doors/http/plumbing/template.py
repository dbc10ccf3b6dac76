"""Answers to refused requests, written out once for many: only their ids differ."""

from __future__ import annotations

from collections.abc import Coroutine, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from starlette.types import Message, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from interlock.core.errors import InterlockError
from interlock.doors.http.plumbing.access_log import Lines, RequestLog
from interlock.doors.http.plumbing.errors import status_of
from interlock.doors.http.plumbing.limits import Limited
from interlock.doors.http.plumbing.operation import Operation
from interlock.doors.http.plumbing.settings import NoTelemetry
from interlock.doors.http.plumbing.trace import EXCHANGE, Exchange, Traced

if TYPE_CHECKING:
    from interlock.doors.http.plumbing.context import Context
    from interlock.doors.http.plumbing.pipeline import Pipeline

SECONDS = 0.1
"""So long a template is good: its seconds and its times are no older."""

_REFUSED = "interlock.refused"
_NAMES = frozenset({b"x-request-id", b"x-trace-id", b"traceparent"})

RawHeaders = Sequence[tuple[bytes, bytes]]


@dataclass(frozen=True, slots=True)
class Written:
    """An answer on the wire, whole or with ids to be filled in. ``until`` is of the monotonic clock."""

    text: bytes
    status: int
    code: str
    until: float
    is_whole: bool


class Templates:
    """Writes answers by the very parts that answer other requests, without waiting and without a log line."""

    def __init__(self, context: Context, pipeline: Pipeline, lines: Lines, always: list[tuple[bytes, bytes]]) -> None:
        self._context = context
        self._pipeline = pipeline
        silent = RequestLog(lines, NoTelemetry(), is_on=False)
        self._answering = Traced(self._refuse, context.clock, context.ids, silent, always)
        # Unlike any id that a caller could send, because nobody knows them.
        self._request_id, self._trace_id = self._new_id(), self._new_id()
        self._span = self._trace_id + b"-" + self._request_id[16:]

    def is_named(self, scope: Scope) -> bool:
        """Whether a request brings an id of its own, so that its answer must be rendered for it alone."""
        return any(name in _NAMES for name, _ in scope["headers"])

    def write(
        self, operation: Operation, error: InterlockError, limited: Limited | None, scope: Scope, first: RawHeaders
    ) -> Written:
        """The answer to this request if it brings an id, else a template; ``first`` stands before all other headers."""
        is_whole = self.is_named(scope)
        if not is_whole:
            scope = {**scope, "headers": [(b"x-request-id", self._request_id), (b"x-trace-id", self._trace_id)]}
        start, body = self._messages({**scope, _REFUSED: (operation, error, limited)})
        status: int = start["status"]
        lines = [b"%b: %b\r\n" % header for header in (*first, *start["headers"])]
        text = b"".join((STATUS_LINE[status], *lines, b"\r\n", body["body"]))
        return Written(text, status, error.code, self._context.clock.monotonic() + SECONDS, is_whole=is_whole)

    def fill(self, template: bytes) -> bytes:
        """The answer to one request: ids are as long as the ones they replace."""
        request_id, trace_id = self._new_id(), self._new_id()
        named = template.replace(self._span, trace_id + b"-" + request_id[16:])
        return named.replace(self._request_id, request_id).replace(self._trace_id, trace_id)

    def _messages(self, scope: Scope) -> list[Message]:
        messages: list[Message] = []

        async def send(message: Message) -> None:
            messages.append(message)

        _run(self._answering(scope, _receive, send))
        return messages

    async def _refuse(self, scope: Scope, receive: Receive, send: Send) -> None:
        operation, error, limited = scope[_REFUSED]
        exchange: Exchange = scope[EXCHANGE]
        exchange.route = operation.route
        exchange.door = operation.door.name
        exchange.limited = limited
        status = status_of(error, operation.door)
        await self._pipeline.refuse(error, status, (), scope, receive, send, operation.door)

    def _new_id(self) -> bytes:
        return self._context.ids.new().hex.encode()


async def _receive() -> Message:
    """A refusal looks at no body."""
    return {"type": "http.disconnect"}


def _run(answering: Coroutine[Any, Any, None]) -> None:
    """Carry out what never waits. Raises RuntimeError if it does."""
    try:
        answering.send(None)
    except StopIteration:
        return
    answering.close()
    raise RuntimeError("A refusal has waited for something")
