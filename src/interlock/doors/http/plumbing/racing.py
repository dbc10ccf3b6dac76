"""Answers that take long: made while the caller waits, and given up as soon as the caller leaves."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from typing import Any

from starlette.types import Receive, Scope, Send

from interlock.core.errors import InterlockError
from interlock.doors.http.plumbing.errors import refuse, status_of
from interlock.doors.http.plumbing.operation import Call, Refusal, Reply
from interlock.doors.http.plumbing.replies import Headers
from interlock.doors.http.plumbing.sse import KEEP_ALIVE_SECONDS, LEFT
from interlock.kit.instants import rfc3339

STREAM_HEADERS: Headers = (
    (b"content-type", b"text/event-stream"),
    (b"cache-control", b"no-cache, no-transform"),
    (b"x-accel-buffering", b"no"),
)

Make = Callable[[], Awaitable[Reply]]


class Racing:
    """The reply that ``make`` makes. A refusal it raises is shown as the door shows it; ``status`` may choose another.

    A caller who leaves first cancels ``make`` and the sending of what it made.
    """

    def __init__(
        self, call: Call[Any, Any], make: Make, status: Callable[[InterlockError], int | None] = lambda error: None
    ) -> None:
        self._call = call
        self._make = make
        self._status = status

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        working = asyncio.current_task()
        has_left = False

        def leave() -> None:
            nonlocal has_left
            has_left = True
            if working is not None:
                working.cancel()

        stop_watching = _watch(scope, receive, leave)
        try:
            await self._answer(scope, receive, send)
        except asyncio.CancelledError:
            if not has_left:
                raise
            if working is not None:
                working.uncancel()
        finally:
            stop_watching()

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            reply = await self._make()
        except InterlockError as error:
            reply = self._refused(error)
        await reply(scope, receive, send)

    def _refused(self, error: InterlockError) -> Reply:
        call = self._call
        call.exchange.code = error.code
        door = call.operation.door
        refusal = Refusal(
            error=error,
            status=self._status(error) or status_of(error, door),
            path=call.operation.route,
            method=call.exchange.method,
            request_id=call.request_id,
            trace_id=call.trace_id,
            timestamp=rfc3339(call.context.clock.now()),
        )
        return refuse(refusal, door)


def _watch(scope: Scope, receive: Receive, leave: Callable[[], None]) -> Callable[[], object]:
    """Have ``leave`` called when the client leaves, until what comes back is called."""
    tell: Callable[[Callable[[], None]], Callable[[], None]] | None = scope.get("extensions", {}).get(LEFT)
    if tell is not None:
        return tell(leave)

    async def listen() -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        leave()

    return asyncio.get_running_loop().create_task(listen()).cancel


class Frames:
    """A stream of server-sent events that was begun elsewhere: what ``pieces`` yields, and comments while it rests.

    A failure becomes the frame that ``failed`` makes of it. ``close`` is called at the end in any case,
    maybe twice. The wire cuts off a client that takes nothing for 15 s. As soon as ``is_over``, nothing is waited for
    any more: what is left goes out with the end, in one write.
    """

    def __init__(
        self,
        pieces: AsyncIterator[bytes],
        close: Callable[[], Awaitable[None]],
        failed: Callable[[InterlockError], bytes],
        is_over: Callable[[], bool],
        opening: bytes = b"",
        headers: Headers = (),
    ) -> None:
        self._headers = (*STREAM_HEADERS, *headers)
        self._pieces = pieces
        self._close = close
        self._failed = failed
        self._is_over = is_over
        self._opening = opening

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        beat = _Beat(send)
        try:
            await send({"type": "http.response.start", "status": 200, "headers": list(self._headers)})
            if self._opening:
                await beat.write(self._opening)
            beat.start()
            left = b""
            try:
                async for piece in self._pieces:
                    if self._is_over():
                        left += piece
                    else:
                        await beat.write(piece)
            except InterlockError as error:
                left += self._failed(error)
            beat.stop()
            await self._close()  # what was used is booked, and kept, before the client knows that this is all
            await beat.write(left, more=False)
        finally:
            beat.stop()
            if isinstance(self._pieces, AsyncGenerator):
                await self._pieces.aclose()
            await self._close()


class _Beat:
    """Writes, and says that the stream is alive when nothing was written for a while."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._now = asyncio.get_running_loop().time
        self._wrote_at = self._now()
        self._timer: asyncio.TimerHandle | None = None
        self._comment: asyncio.Task[None] | None = None

    async def write(self, body: bytes, *, more: bool = True) -> None:
        """Whole events only: a comment may come between any two writes."""
        self._wrote_at = self._now()
        await self._send({"type": "http.response.body", "body": body, "more_body": more})

    def start(self) -> None:
        self._timer = asyncio.get_running_loop().call_at(self._wrote_at + KEEP_ALIVE_SECONDS, self._tick)

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._comment is not None:
            self._comment.cancel()

    def _tick(self) -> None:
        now = self._now()
        if now >= self._wrote_at + KEEP_ALIVE_SECONDS:
            self._wrote_at = now
            if self._comment is None or self._comment.done():
                comment = {"type": "http.response.body", "body": b": keep-alive\n\n", "more_body": True}
                self._comment = asyncio.get_running_loop().create_task(self._say(comment))
        self.start()

    async def _say(self, comment: dict[str, Any]) -> None:
        await self._send(comment)
