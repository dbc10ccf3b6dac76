"""An answer while it comes: filled by its connection, and emptied by who asked."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Protocol

from interlock.core.errors import ErrorKind, InterlockError

MOST_WAITING = 262_144
"""Bytes of a body that may wait for the reader; then the other server has to."""


Fields = list[tuple[bytes, bytes]]
"""Names in lower case, and values."""

_PER_PART = 64
"""What a part takes beside its bytes."""


class Source(Protocol):
    """Where an answer comes from."""

    def resume(self) -> None:
        """Go on after a rest."""
        ...

    def leave(self, answer: Answer, *, in_peace: bool) -> None:
        """Nothing more of it is wanted; ``in_peace``: and it is at its end."""
        ...


class Answer:
    """Satisfies ``ports/egress.EgressAnswer``. ``idle`` is how many seconds may pass between two pieces of the body.

    ``fail`` and ``end`` finish it; what came before is read all the same. An answer that has ended needs its
    connection no more.
    """

    __slots__ = (
        "_error",
        "_fields",
        "_idle",
        "_in_peace",
        "_parts",
        "_source",
        "_waiter",
        "_waiting",
        "has_ended",
        "is_resting",
        "status",
    )

    def __init__(self, source: Source, idle: float | None) -> None:
        self.status = 0  # until the head is here
        self.has_ended = False
        self.is_resting = False
        self._source = source
        self._idle = idle
        self._fields: Fields = []
        self._parts: list[bytes] = []
        self._waiting = 0
        self._waiter: asyncio.Future[None] | None = None
        self._error: Exception | None = None
        self._in_peace = False

    # What the connection tells

    def began(self, status: int, fields: Fields) -> None:
        """The head is here."""
        self.status, self._fields = status, fields

    def add(self, part: bytes) -> None:
        """More of the body; the reader hears of it by ``wake``."""
        self._parts.append(part)
        self._waiting += len(part) + _PER_PART

    def end(self) -> None:
        """All of it is here."""
        self.has_ended = True

    def fail(self, error: Exception) -> None:
        """Nothing more will come."""
        self._error = error

    def wake(self) -> None:
        """There is news."""
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    @property
    def is_full(self) -> bool:
        """Whether the reader should read first."""
        return self._waiting > MOST_WAITING

    # What the reader asks

    @property
    def headers(self) -> Mapping[str, str]:
        headers: dict[str, str] = {}
        for field, raw in self._fields:
            name, value = field.decode("latin-1"), raw.decode("utf-8", "surrogateescape")
            headers[name] = f"{headers[name]}, {value}" if name in headers else value
        return headers

    @property
    def encoding(self) -> str:
        """What the body is packed in; ``identity`` if in nothing."""
        if not any(name == b"content-encoding" for name, _ in self._fields):
            return "identity"
        return self.headers["content-encoding"].strip().lower() or "identity"

    async def head(self, seconds: float | None) -> None:
        """Wait until the status is known, at most so long. Raises what made it fail, TimeoutError."""
        while not self.status:
            if self._error is not None:
                raise self._error
            await self._news(seconds)

    async def read(self, max_bytes: int) -> bytes:
        """The whole body, if it is not longer than ``max_bytes``."""
        self.require_plain()
        body = await self.next()
        if self._parts or not self.has_ended:
            body = await self._read_rest(body, max_bytes)
        if len(body) > max_bytes:
            raise _failed(f"The answer has more than {max_bytes} bytes.")
        return body

    def pieces(self) -> Pieces:
        """What has come, each time that something comes."""
        return Pieces(self)

    async def next(self) -> bytes:
        """All of the body that waits, packed as it may be; nothing at its end. Raises like ``pieces``."""
        while True:
            if self._parts:
                return self._take()
            if self._error is not None:
                raise self._error
            if self.has_ended:
                return b""
            try:
                await self._news(self._idle)
            except TimeoutError as error:
                message = f"The answer stopped for {self._idle or 0:g} seconds."
                raise InterlockError(ErrorKind.TIMEOUT, "TIMEOUT", message) from error

    def suffices(self) -> None:
        """All that is wanted is here."""
        self._in_peace = True

    def leave(self) -> None:
        """Nothing more of it is wanted."""
        if not self.has_ended:
            self._source.leave(self, in_peace=self._in_peace)

    async def _read_rest(self, first: bytes, max_bytes: int) -> bytes:
        body = bytearray(first)
        while len(body) <= max_bytes and (piece := await self.next()):
            body += piece
        return bytes(body)

    def _take(self) -> bytes:
        parts = self._parts
        piece = parts[0] if len(parts) == 1 else b"".join(parts)
        self._parts, self._waiting = [], 0
        if self.is_resting:
            self.is_resting = False
            self._source.resume()
        return piece

    async def _news(self, seconds: float | None) -> None:
        loop = asyncio.get_running_loop()
        waiter = self._waiter = loop.create_future()
        clock = None if seconds is None else loop.call_later(seconds, _too_late, waiter)
        try:
            await waiter
        finally:
            self._waiter = None
            if clock is not None:
                clock.cancel()

    def require_plain(self) -> None:
        """Raise EXTERNAL_SERVICE_ERROR for a body that is packed."""
        if self.encoding != "identity":
            raise _failed("The answer is compressed, which was not asked for.")


class Pieces:
    """The body of one answer, piece by piece; a generator would have to be closed."""

    __slots__ = ("_answer",)

    def __init__(self, answer: Answer) -> None:
        self._answer = answer

    def __aiter__(self) -> Pieces:
        return self

    async def __anext__(self) -> bytes:
        self._answer.require_plain()
        piece = await self._answer.next()
        if not piece:
            raise StopAsyncIteration
        return piece


def _too_late(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_exception(TimeoutError())


def _failed(message: str) -> InterlockError:
    return InterlockError(ErrorKind.EXTERNAL, "EXTERNAL_SERVICE_ERROR", message)
