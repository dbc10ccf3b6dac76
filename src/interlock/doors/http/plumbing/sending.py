"""What goes out of one request: the head waits for the first part of its body, and both leave in one write.

A write is a call of the kernel that wakes the receiver, and most answers are small: two of them cost more than all of
the routing.
"""

from __future__ import annotations

import asyncio

from starlette.types import Message
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

_NO_BODY = (204, 304)


class Sending:
    """In place of the cycle's own ``send``: the same messages, the same bytes, fewer writes.

    A head whose body does not come within the same turn of the loop, such as that of a stream, leaves at its end.
    Raises RuntimeError for an app that speaks out of turn, puts a line break into a header, or sends another length
    than it said.
    """

    __slots__ = ("_cycle", "_head", "_loop")

    def __init__(self, cycle: RequestResponseCycle, loop: asyncio.AbstractEventLoop) -> None:
        self._cycle = cycle
        self._loop = loop
        self._head = b""

    @property
    def has_begun(self) -> bool:
        """Whether the caller gets an answer by now."""
        return self._cycle.response_started

    async def __call__(self, message: Message) -> None:
        cycle = self._cycle
        if cycle.flow.write_paused and not cycle.disconnected:
            await cycle.flow.drain()
        if cycle.disconnected:
            return
        if not cycle.response_started:
            self._begin(message)
        elif not cycle.response_complete:
            self._go_on(message)
        else:
            raise RuntimeError(f"{message['type']} came after the end of the answer")

    def _begin(self, message: Message) -> None:
        if message["type"] != "http.response.start":
            raise RuntimeError(f"{message['type']} came before the beginning of the answer")
        cycle, status = self._cycle, message["status"]
        cycle.response_started = True
        cycle.waiting_for_100_continue = False
        headers = [*cycle.default_headers, *message.get("headers", ())]
        for name, value in headers:
            if name == b"content-length" and cycle.chunked_encoding is None:
                cycle.expected_content_length = int(value)
                cycle.chunked_encoding = False
            elif name == b"connection" and value.lower() == b"close":
                cycle.keep_alive = False
        if not cycle.keep_alive and (b"connection", b"close") not in headers:
            headers.append((b"connection", b"close"))
        if cycle.chunked_encoding is None and cycle.scope["method"] != "HEAD" and status not in _NO_BODY:
            cycle.chunked_encoding = True
            headers.append((b"transfer-encoding", b"chunked"))
        self._head = _head_of(STATUS_LINE[status], headers)
        self._loop.call_soon(self._release)

    def _go_on(self, message: Message) -> None:
        if message["type"] != "http.response.body":
            raise RuntimeError(f"{message['type']} came within the answer")
        cycle = self._cycle
        body: bytes = message.get("body", b"")
        is_last = not message.get("more_body", False)
        self._write(self._framed(body, is_last=is_last))
        if not is_last:
            return
        if cycle.expected_content_length != 0:
            raise RuntimeError("The answer is shorter than its Content-Length")
        cycle.response_complete = True
        cycle.message_event.set()
        if not cycle.keep_alive:
            cycle.transport.close()
        cycle.on_response()

    def _framed(self, body: bytes, *, is_last: bool) -> bytes:
        cycle = self._cycle
        if cycle.scope["method"] == "HEAD":
            cycle.expected_content_length = 0
            return b""
        if not cycle.chunked_encoding:
            if len(body) > cycle.expected_content_length:
                raise RuntimeError("The answer is longer than its Content-Length")
            cycle.expected_content_length -= len(body)
            return body
        chunk = b"%x\r\n%b\r\n" % (len(body), body) if body else b""
        return chunk + b"0\r\n\r\n" if is_last else chunk

    def _write(self, data: bytes) -> None:
        if self._head:
            data, self._head = self._head + data, b""
        if data:
            self._cycle.transport.write(data)

    def _release(self) -> None:
        if self._head and not self._cycle.disconnected:
            self._write(b"")


def _head_of(status: bytes, headers: list[tuple[bytes, bytes]]) -> bytes:
    """The head on the wire. A value with a line break in it would be another header, or another answer."""
    head = status + b"".join([b"%b: %b\r\n" % header for header in headers]) + b"\r\n"
    ends = len(headers) + 2
    if head.count(b"\r") != ends or head.count(b"\n") != ends or b"\0" in head:
        raise RuntimeError("A header has a character that cannot be in it")
    return head
