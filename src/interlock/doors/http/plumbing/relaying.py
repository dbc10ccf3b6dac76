"""Answers of models: relayed within a seat, given again for an Idempotency-Key, or from a cache if that is wanted."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Protocol

from starlette.types import Receive, Scope, Send

from interlock.core.errors import InterlockError, invalid
from interlock.core.models.requests import ModelRequest
from interlock.doors.http.plumbing.idempotency import REPLAYED, key_of
from interlock.doors.http.plumbing.operation import Call, HeaderField, Reply
from interlock.doors.http.plumbing.racing import STREAM_HEADERS, Frames, Racing
from interlock.doors.http.plumbing.replies import PRIVATE, BytesReply, Headers
from interlock.services.models.embed import Completion
from interlock.services.models.once import Claimed
from interlock.services.models.relay import RelayedStream

CACHE_HEADER = "x-interlock-cache"
"""In a request: how old an answer may be, in seconds. In its answer: ``hit`` or ``miss``."""
MAX_CACHE_SECONDS = 86_400
CACHE = HeaderField(
    "X-Interlock-Cache",
    f"How many seconds an answer may be old that is given again, 1 to {MAX_CACHE_SECONDS}.",
    {"type": "string", "pattern": "^[1-9][0-9]{0,4}$"},
)
"""As the document tells of it."""
MAX_KEPT = 8 * 1_048_576
"""Bytes of a stream that can be given again; a longer one is only relayed."""


class Telling(Protocol):
    """One stream in a door's words."""

    def frames(self) -> AsyncIterator[bytes]:
        """Whole events until the end; raises what the stream raises."""
        ...

    def failed(self, error: InterlockError) -> bytes:
        """The last event of a stream that broke off."""
        ...


@dataclass(frozen=True, slots=True)
class Wording:
    """How a door words what models answer: a whole answer, and a stream, which begins with ``opening``."""

    whole: Callable[[Completion], bytes]
    stream: Callable[[RelayedStream], Telling] | None = None
    opening: bytes = b""
    status: Callable[[InterlockError], int | None] = lambda error: None


def relay(call: Call[Any, Any], read: Callable[[], ModelRequest], wording: Wording) -> Reply:
    """The reply to a request of a model. ``read`` makes the request out of the body, and may refuse it."""

    async def make() -> Reply:
        request = read()
        call.services.models.relay.require(call.principal, request)
        seconds = _cache_seconds(call)
        claimed = await call.services.models.once.claim(call.principal, key_of(call))
        if claimed is not None and claimed.answer is not None:
            return _again(call, request, claimed.answer, REPLAYED)
        if claimed is None and seconds is not None:
            return await _from_cache(call, request, wording, seconds)
        return await _ask(call, request, wording, claimed, None, ())

    return Racing(call, make, wording.status)


Keep = Callable[[bytes], Awaitable[None]]


async def _from_cache(call: Call[Any, Any], request: ModelRequest, wording: Wording, seconds: float) -> Reply:
    cached, asked = call.services.models.cached, b"%b\0%b" % (call.operation.route.encode(), call.raw_body)
    found = await cached.find(call.principal, asked, seconds)
    if found is not None:
        return _again(call, request, found, ((CACHE_HEADER.encode(), b"hit"),))

    async def keep(answer: bytes) -> None:
        await cached.keep(call.principal, asked, answer)

    return await _ask(call, request, wording, None, keep, ((CACHE_HEADER.encode(), b"miss"),))


async def _ask(
    call: Call[Any, Any],
    request: ModelRequest,
    wording: Wording,
    claimed: Claimed | None,
    keep: Keep | None,
    headers: Headers,
) -> Reply:
    try:
        if request.is_stream and wording.stream is not None:
            return await _stream(call, request, wording.stream, wording.opening, claimed, keep, headers)
        relayed = call.services.models.relay
        completion = await relayed.complete(
            call.principal, request, call.trace_id, claimed=claimed, render=wording.whole
        )
    except BaseException:
        await call.services.models.once.end(claimed)
        raise
    await call.services.models.once.end(claimed)
    if keep is not None:
        await keep(completion.body)
    return _whole(call, completion.body, headers)


async def _stream(
    call: Call[Any, Any],
    request: ModelRequest,
    word: Callable[[RelayedStream], Telling],
    opening: bytes,
    claimed: Claimed | None,
    keep: Keep | None,
    headers: Headers,
) -> Reply:
    leave = await call.context.seats.take(call.operation.door.name, call.principal)
    try:
        stream = await call.services.models.relay.stream(call.principal, request, call.trace_id, claimed=claimed)
    except BaseException:
        leave()
        raise
    telling = word(stream)
    kept = _Kept(telling.frames(), opening) if claimed is not None or keep is not None else None
    is_closed = False

    async def close() -> None:
        nonlocal is_closed
        if is_closed:
            return
        is_closed = True
        leave()
        try:
            if kept is not None and kept.body is not None:
                stream.keep(kept.body)
            await stream.close()
        finally:
            await call.services.models.once.end(claimed)
        if keep is not None and kept is not None and kept.body is not None:
            await keep(kept.body)

    frames = kept.pieces() if kept else telling.frames()
    return Frames(frames, close, telling.failed, lambda: stream.is_over, opening, headers)


class _Kept:
    """Hands frames on and remembers them: ``body`` is all of them once the last was taken, if they are not too many."""

    def __init__(self, frames: AsyncIterator[bytes], opening: bytes) -> None:
        self.body: bytes | None = None
        self._frames = frames
        self._opening = opening

    async def pieces(self) -> AsyncIterator[bytes]:
        """The frames as they are."""
        kept, size = [self._opening], 0
        try:
            async for frame in self._frames:
                size += len(frame)
                if size <= MAX_KEPT:
                    kept.append(frame)
                yield frame
        finally:
            if isinstance(self._frames, AsyncGenerator):
                await self._frames.aclose()
        if size <= MAX_KEPT:
            self.body = b"".join(kept)


class _Replayed:
    """A stream that was kept, all at once."""

    def __init__(self, body: bytes, headers: Headers) -> None:
        self._body = body
        self._headers = headers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = [*STREAM_HEADERS, *self._headers]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": self._body, "more_body": False})


def _again(call: Call[Any, Any], request: ModelRequest, body: bytes, headers: Headers) -> Reply:
    return _Replayed(body, headers) if request.is_stream else _whole(call, body, headers)


def _whole(call: Call[Any, Any], body: bytes, headers: Headers) -> Reply:
    milliseconds = (call.context.clock.monotonic() - call.exchange.started) * 1000
    told = (*PRIVATE, (b"openai-processing-ms", b"%d" % milliseconds), *headers)
    return BytesReply(body, media_type="application/json", headers=told)


def _cache_seconds(call: Call[Any, Any]) -> int | None:
    value = call.header(CACHE_HEADER)
    if value is None:
        return None
    if not (value.isascii() and value.isdigit() and len(value) <= 5 and 1 <= int(value) <= MAX_CACHE_SECONDS):
        message = f"X-Interlock-Cache must be a whole number of seconds from 1 to {MAX_CACHE_SECONDS}"
        raise invalid("INVALID_REQUEST", message, field="X-Interlock-Cache")
    return int(value)
