"""Server-sent events: frames of a log, kept alive while it is quiet, ended whole."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol

from starlette.types import Receive, Scope, Send

from interlock.core.errors import ErrorKind, InterlockError, invalid
from interlock.doors.http.plumbing.operation import Call

KEEP_ALIVE_SECONDS = 8.0
"""Longest silence; clients may count on 10 s."""
WRITE_SECONDS = 15.0
"""A client that takes nothing for so long is cut off; it resumes by id."""
PROOF_SECONDS = 30.0
"""How often is checked again, while a stream is open, that the caller may see what it shows."""

ABORT = "interlock.abort"
"""Name of an ASGI extension: a function that drops the connection without waiting for unsent data."""
LEFT = "interlock.left"
"""Name of an ASGI extension: takes what is to be called when the client leaves, and returns what takes that back."""

_OPENING = b": connected\n\nretry: 3000\n\n"
_KEEP_ALIVE = b": keep-alive\n\n"
_MAX_CURSOR_DIGITS = 9
"""No log has nearly so many events; more digits would not fit into the 32 bits of their numbers."""


class Source(Protocol):
    """Where a stream's frames come from."""

    async def next(self, timeout: float) -> Sequence[bytes]:
        """What is new, framed; nothing after ``timeout`` seconds or a ``wake``.

        Raises StopAsyncIteration at the end.
        """
        ...

    def wake(self) -> None:
        """Make a waiting ``next`` return."""
        ...

    def close(self) -> None:
        """Forget everything; called exactly once."""
        ...


def frame(seq: int, data: bytes) -> bytes:
    """One event; ``data`` is one line of JSON."""
    return b"id: %d\ndata: %b\n\n" % (seq, data)


def frame_without_id(data: bytes) -> bytes:
    """One event of a stream that cannot be resumed."""
    return b"data: %b\n\n" % data


def resume_after(last_event_id: str | None, since: str | None) -> int:
    """The number after which to go on; the header wins over the query. Raises INVALID_CURSOR."""
    text = last_event_id if last_event_id not in (None, "") else since
    if text is None:
        return 0
    if not (text.isascii() and text.isdigit() and len(text) <= _MAX_CURSOR_DIGITS):
        raise invalid("INVALID_CURSOR", "A stream resumes after a whole number of an event, 0 or more", field="since")
    return int(text)


class EventStream:
    """The reply of a stream operation.

    Ends whole after the last frame, when the server drains, when the caller's credential is good no longer, and when
    ``prove`` (called every 30 s) raises because the caller may not watch any more. A seat is taken before the first
    byte and given up at the end.
    """

    @classmethod
    async def open(cls, call: Call[Any, Any], source: Source, prove: Callable[[], Awaitable[None]]) -> EventStream:
        """Take a seat for ``source``. Raises LIMITED if there is none; then the source is closed."""
        try:
            leave = await call.context.seats.take(call.operation.door.name, call.principal)
        except BaseException:
            source.close()
            raise
        return cls(call, source, prove, leave)

    def __init__(
        self,
        call: Call[Any, Any],
        source: Source,
        prove: Callable[[], Awaitable[None]],
        leave: Callable[[], None],
    ) -> None:
        self._source = source
        self._prove = prove
        self._leave = leave
        self._call = call
        self._clock = call.context.clock
        self._drain = call.context.drain
        self._is_over = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        call = self._call
        forget = self._drain.on_begin(self._stop)
        believe = call.context.proofs.keep(call.context, call.exchange, call.principal, lambda error: self._stop())
        listener = asyncio.create_task(self._listen(receive))
        try:
            await self._pump(send)
        except TimeoutError:
            call.context.telemetry.stream_dropped(call.operation.door.name)
            abort = scope.get("extensions", {}).get(ABORT)
            if abort is not None:
                abort()
        finally:
            listener.cancel()
            forget()
            believe()
            self._leave()
            self._source.close()

    async def _pump(self, send: Send) -> None:
        headers = [
            (b"content-type", b"text/event-stream"),
            (b"cache-control", b"no-cache, no-transform"),
            (b"x-accel-buffering", b"no"),
        ]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await self._write(send, _OPENING)
        proven = self._clock.monotonic()
        try:
            while not self._is_over and not self._drain.has_begun:
                frames = await self._source.next(KEEP_ALIVE_SECONDS)
                await self._write(send, b"".join(frames) or _KEEP_ALIVE)
                if self._clock.monotonic() - proven >= PROOF_SECONDS:
                    await self._prove_again()
                    proven = self._clock.monotonic()
        except (StopAsyncIteration, InterlockError):
            pass  # the log is complete, or the caller may see no more of it: both end the stream
        await self._write(send, b"", more=False)

    async def _prove_again(self) -> None:
        try:
            await self._prove()
        except InterlockError as error:
            if error.kind not in (ErrorKind.UNAVAILABLE, ErrorKind.TIMEOUT):  # then the next time decides
                raise

    async def _write(self, send: Send, body: bytes, *, more: bool = True) -> None:
        async with asyncio.timeout(WRITE_SECONDS):
            await send({"type": "http.response.body", "body": body, "more_body": more})

    async def _listen(self, receive: Receive) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        self._stop()

    def _stop(self) -> None:
        self._is_over = True
        self._source.wake()
