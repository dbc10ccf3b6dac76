"""What goes out of one request: the head waits for the first part of its body, and both leave in one write.

A write is a call of the kernel that wakes the receiver, and most answers are small: two of them cost more than all of
the routing.
"""

from __future__ import annotations

import asyncio
import math

from starlette.types import Message
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

_NO_BODY = (204, 304)


class _UntilClosed(float):
    """The length of a body of unknown length, which is over when it is: uvicorn counts down and compares with 0."""

    def __sub__(self, other: float) -> _UntilClosed:
        return self

    def __ne__(self, other: object) -> bool:
        return False

    __hash__ = float.__hash__


UNTIL_CLOSED = _UntilClosed(math.inf)


class Answering(RequestResponseCycle):
    """One request and its answer: uvicorn's messages and bytes, in fewer writes.

    A head whose body does not come within the same turn of the loop, such as that of a stream, leaves at its end.
    ``send`` raises RuntimeError for an app that speaks out of turn, puts a line break into a header, or sends another
    length than it said.
    """

    _head = b""

    @classmethod
    def over(cls, cycle: RequestResponseCycle) -> None:
        """Make it one of these. Uvicorn has made the cycle by its own name for it, and its task has not begun yet."""
        cycle.__class__ = cls

    async def send(self, message: Message) -> None:  # type: ignore[override]  # Starlette's name for the same messages
        if self.flow.write_paused and not self.disconnected:
            await self.flow.drain()
        if self.disconnected:
            return
        if not self.response_started:
            self._begin(message)
        elif not self.response_complete:
            self._go_on(message)
        else:
            raise RuntimeError(f"{message['type']} came after the end of the answer")

    def _begin(self, message: Message) -> None:
        if message["type"] != "http.response.start":
            raise RuntimeError(f"{message['type']} came before the beginning of the answer")
        status = message["status"]
        self.response_started = True
        self.waiting_for_100_continue = False
        headers = [*self.default_headers, *message.get("headers", ())]
        for name, value in headers:
            if name == b"content-length" and self.chunked_encoding is None:
                self.expected_content_length = int(value)
                self.chunked_encoding = False
            elif name == b"connection" and value.lower() == b"close":
                self.keep_alive = False
        if not self.keep_alive and (b"connection", b"close") not in headers:
            headers.append((b"connection", b"close"))
        if self.chunked_encoding is None and self.scope["method"] != "HEAD" and status not in _NO_BODY:
            self.chunked_encoding = True
            headers.append((b"transfer-encoding", b"chunked"))
        self._head = _head_of(STATUS_LINE[status], headers)
        if self.chunked_encoding:  # a body whose length is known is there
            asyncio.get_running_loop().call_soon(self._release)

    def _go_on(self, message: Message) -> None:
        if message["type"] != "http.response.body":
            raise RuntimeError(f"{message['type']} came within the answer")
        body: bytes = message.get("body", b"")
        is_last = not message.get("more_body", False)
        self._write(self._framed(body, is_last=is_last))
        if not is_last:
            return
        if self.expected_content_length != 0:
            raise RuntimeError("The answer is shorter than its Content-Length")
        self.response_complete = True
        self.message_event.set()
        if not self.keep_alive:
            self.transport.close()
        self.on_response()

    def _framed(self, body: bytes, *, is_last: bool) -> bytes:
        if self.scope["method"] == "HEAD":
            self.expected_content_length = 0
            return b""
        if not self.chunked_encoding:
            if len(body) > self.expected_content_length:
                raise RuntimeError("The answer is longer than its Content-Length")
            self.expected_content_length -= len(body)
            return body
        chunk = b"%x\r\n%b\r\n" % (len(body), body) if body else b""
        return chunk + b"0\r\n\r\n" if is_last else chunk

    def _write(self, data: bytes) -> None:
        if self._head:
            data, self._head = self._head + data, b""
        if data:
            self.transport.write(data)

    def _release(self) -> None:
        if self._head and not self.disconnected:
            self._write(b"")


def _head_of(status: bytes, headers: list[tuple[bytes, bytes]]) -> bytes:
    """The head on the wire. A value with a line break in it would be another header, or another answer."""
    head = status + b"".join([b"%b: %b\r\n" % header for header in headers]) + b"\r\n"
    ends = len(headers) + 2
    if head.count(b"\r") != ends or head.count(b"\n") != ends or b"\0" in head:
        raise RuntimeError("A header has a character that cannot be in it")
    return head
