"""One connection to another server: one request after the other, and no more work than an honest server makes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import cast

import httptools

from interlock.backends.egress.answer import Answer, Fields
from interlock.backends.egress.failures import CUT, FLOOD, INCOMPLETE, NOT_HTTP, SWITCHED, failed
from interlock.backends.egress.target import Origin

HEAD_BYTES = 32_768
"""Status line and headers, with all 1xx answers before them."""
FRAMING_RATIO = 8
"""Bytes received for each byte of body, before it is called a flood of framing."""
FRAMING_GRACE = 65_536
PEACE_SECONDS = 1.0
"""So long the end of an answer may take of which all that is wanted is here."""
PEACE_BYTES = 65_536


class Connection(asyncio.Protocol):
    """Carries one request at a time. ``free`` is told when it can carry the next one, ``lost`` when it has ended."""

    def __init__(self, origin: Origin, free: Callable[[Connection], None], lost: Callable[[Connection], None]) -> None:
        self.origin = origin
        self.idle_since = 0.0
        self.has_heard = False  # anything of the server, since the last request was sent
        self._free = free
        self._lost = lost
        self._answer: Answer | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._peace: asyncio.TimerHandle | None = None

    @property
    def is_open(self) -> bool:
        """Whether a request may be sent."""
        return not self._transport.is_closing()

    def send(self, message: bytes, idle: float | None, *, is_head: bool) -> Answer:
        """Send a whole request; the answer to a HEAD has no body, whatever it says."""
        answer = self._answer = Answer(self, idle)
        self._is_head = is_head
        self._fields: Fields = []
        self._has_head = self._ends_with_us = self._is_spoilt = self.has_heard = False
        self._received = self._content = 0
        self._transport.write(message)
        return answer

    def abort(self) -> None:
        """Hang up at once."""
        self._transport.abort()

    # What the reader of the answer tells

    def resume(self) -> None:
        """There is room again."""
        if not self._transport.is_closing():
            self._transport.resume_reading()

    def leave(self, answer: Answer, *, in_peace: bool) -> None:
        """Nothing more is wanted: hang up, unless it is ``in_peace`` and the end comes soon."""
        if answer is not self._answer:
            return
        if in_peace and not answer.is_resting:
            self._received = 0
            self._peace = asyncio.get_running_loop().call_later(PEACE_SECONDS, self.abort)
        else:
            self.abort()

    # What the transport tells

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, exc: Exception | None) -> None:
        answer, self._answer = self._answer, None
        if self._peace is not None:
            self._peace.cancel()
        if answer is not None:
            if self._has_head and self._ends_with_us and exc is None:
                answer.end()
            else:
                answer.fail(self._failure(INCOMPLETE if self._has_head else CUT, retryable=True))
            answer.wake()
        self._lost(self)

    def data_received(self, data: bytes) -> None:
        answer = self._answer
        if answer is None:  # nobody asked for it
            self.abort()
            return
        self.has_heard = True
        while data and self._answer is not None:
            # While the head is not complete, no more at a time than it may have.
            room = len(data) if self._has_head else HEAD_BYTES - self._received
            part, data = data[:room], data[room:]
            self._received += len(part)
            self._parse(part)
            if self._answer is not None:
                self._weigh(answer)
        if answer.has_ended:
            self._end(answer, is_clean=not data)
        answer.wake()

    def _parse(self, part: bytes) -> None:
        try:
            self._parser.feed_data(part)
        except httptools.HttpParserUpgrade:
            self._break(SWITCHED)
        except httptools.HttpParserError:
            self._break(NOT_HTTP)

    def _weigh(self, answer: Answer) -> None:
        """A server has to wait for a slow reader, and may not send framing for ever."""
        if not self._has_head:
            if self._received >= HEAD_BYTES:
                self._break(f"gave an answer with more than {HEAD_BYTES} bytes of headers")
        elif self._peace is not None:
            if self._received > PEACE_BYTES:
                self.abort()
        elif self._received > self._content * FRAMING_RATIO + FRAMING_GRACE:
            self._break(FLOOD)
        elif answer.is_full and not answer.is_resting:
            answer.is_resting = True
            self._transport.pause_reading()

    def _end(self, answer: Answer, *, is_clean: bool) -> None:
        """The next request may come, if nothing is left of this one, neither here nor there."""
        if self._peace is not None:
            self._peace.cancel()
            self._peace = None
        if self._is_spoilt or not is_clean or self._transport.get_write_buffer_size():
            self.abort()
            return
        if answer.is_resting:
            answer.is_resting = False
            self.resume()
        self._free(self)

    def _break(self, what: str) -> None:
        """The server ``what``; a whole answer that came before is not harmed."""
        answer, self._answer = self._answer, None
        self._is_spoilt = True
        if answer is not None:
            answer.fail(self._failure(what))
        self.abort()

    def _failure(self, what: str, *, retryable: bool = False) -> Exception:
        return failed(self.origin, what, retryable=retryable)

    # What the parser tells

    def on_message_begin(self) -> None:
        if self._answer is None:
            self._is_spoilt = True

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._has_head:  # else a trailer
            self._fields.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        if self._answer is None or status < 200:
            return
        self._has_head = True
        names = [name for name, _ in self._fields]
        is_chunked, has_length = b"transfer-encoding" in names, b"content-length" in names
        if is_chunked and has_length:
            self._break(NOT_HTTP)
            return
        self._ends_with_us = not is_chunked and not has_length
        self._answer.began(status, self._fields)
        if self._is_head:
            self._is_spoilt = True  # the parser waits for the body
            self._finish()

    def on_body(self, body: bytes) -> None:
        self._content += len(body)
        if self._answer is not None and self._peace is None:
            self._answer.add(body)

    def on_message_complete(self) -> None:
        if not self._has_head:
            self._fields = []  # of a 1xx answer
            return
        if not self._parser.should_keep_alive():
            self._is_spoilt = True
        self._finish()

    def _finish(self) -> None:
        if self._answer is not None:
            self._answer.end()
            self._answer = None
