"""A stream of chunks on its way through: handed on as bytes, and looked into only where there is something to see."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import msgspec

from interlock.core.errors import ErrorKind, InterlockError
from interlock.core.models.answers import read_chunk_usage, vendor_code
from interlock.core.models.prices import Usage
from interlock.core.models.tokens import count_bytes

MAX_EVENT = 1_048_576
"""Bytes of one event; a longer one ends the stream."""
DONE = b"data: [DONE]\n\n"

_MOST_UNCOUNTED = 16_384
"""Bytes that are kept and not counted yet: a provider that tells the usage makes counting needless."""

# What is worth a look begins with a mark and goes on like this. A plain search for the marks is much the cheapest.
_MARKS = (
    (b'"usage"', re.compile(rb"\s*:\s*\{")),
    (b"[DONE]", re.compile(rb"")),
    (b'"error"', re.compile(rb"\s*:\s*[^n\s]")),
)
_TEXT = re.compile(rb'"(?:content|reasoning_content|reasoning|arguments|refusal)"\s*:\s*"((?:[^"\\]|\\.)*)"')


class StreamReader:
    """Reads a provider's stream in whole events.

    ``usage`` is what the provider told last, ``has_gone_on`` that text came after that, ``is_done`` that it came to its
    end, ``failure`` the error that it told in mid-stream. Chunks that bring nothing but the usage are left out unless
    ``keeps_usage``.
    """

    def __init__(self, *, keeps_usage: bool) -> None:
        self.usage: Usage | None = None
        self.has_gone_on = False
        self.is_done = False
        self.failure: InterlockError | None = None
        self._keeps_usage = keeps_usage
        self._rest = b""
        self._uncounted: list[bytes] = []
        self._uncounted_bytes = 0
        self._events = 0
        self._text_bytes = 0

    def is_over(self) -> bool:
        """Whether nothing more is to come."""
        return self.is_done or self.failure is not None

    @property
    def output_tokens(self) -> int:
        """Tokens of what came so far, by our own count."""
        self._count()
        return max(self._events, count_bytes(self._text_bytes)) if self._text_bytes else 0

    def feed(self, piece: bytes) -> bytes:
        """What to hand on: every whole event that is there now. Raises EXTERNAL for an event that is too long."""
        if self.is_over():
            return b""
        data = self._rest + piece
        if b"\r" in data:
            data = data.replace(b"\r\n", b"\n")
        end = data.rfind(b"\n\n") + 2
        whole, self._rest = (data[:end], data[end:]) if end > 1 else (b"", data)
        if len(self._rest) > MAX_EVENT:
            self._rest = b""
            raise _failed("The provider sent an event that is too long")
        whole = self._readable(whole)
        if not whole:
            return b""
        self._uncounted.append(whole)
        self._uncounted_bytes += len(whole)
        if self._uncounted_bytes > _MOST_UNCOUNTED:
            self._count()
        if self.usage is not None and not self.has_gone_on:
            self.has_gone_on = _TEXT.search(whole) is not None
        return b"".join(self._look_where_needed(whole)) if _has_sights(whole) else whole

    def _readable(self, whole: bytes) -> bytes:
        """Everything before the first event that is not JSON, which no caller could read; it ends the stream."""
        body = whole.removesuffix(DONE)
        if not body or _are_objects(body):
            return whole
        end = 0
        for event in whole.split(b"\n\n")[:-1]:
            data = _data_of(event)
            if data == b"[DONE]":
                break
            if data and not _is_object(data):
                self.failure = _failed("The provider sent an event that is not JSON")
                return whole[:end]
            end += len(event) + 2
        return whole

    def _look_where_needed(self, whole: bytes) -> Iterator[bytes]:
        start, seen = 0, _sights(whole, 0, [-1] * len(_MARKS))
        while (at := min(seen)) < len(whole):
            before = whole.rfind(b"\n\n", start, at)
            begin = before + 2 if before >= 0 else start
            end = whole.index(b"\n\n", at) + 2
            if begin > start:
                yield whole[start:begin]
            yield self._look(whole[begin : end - 2].strip(b"\n"))
            start = end
            if self.is_over():
                return
            seen = _sights(whole, start, seen)
        yield whole[start:]

    def _count(self) -> None:
        texts = _TEXT.findall(b"".join(self._uncounted))
        self._uncounted.clear()
        self._uncounted_bytes = 0
        self._events += len(texts)
        self._text_bytes += sum(map(len, texts))

    def _look(self, event: bytes) -> bytes:
        """One event as it is to be handed on, which may be not at all."""
        data = event.removeprefix(b"data:").strip()
        if data == b"[DONE]":
            self.is_done = True
            return DONE
        if not event.startswith(b"data:"):
            return event + b"\n\n"
        try:
            failed, is_usage_only = self._look_into(data)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            return event + b"\n\n"  # not what we know; the caller may
        if failed or (is_usage_only and not self._keeps_usage):
            return b""
        return event + b"\n\n"

    def _look_into(self, data: bytes) -> tuple[bool, bool]:
        if _has_error(data):
            code = vendor_code(data)
            self.failure = _failed("The provider broke off its answer" + (f" ({code})" if code else ""))
            return True, False
        usage, is_bare = read_chunk_usage(data)
        if usage is not None:
            self.usage, self.has_gone_on = usage, False
        return False, is_bare


def _has_sights(whole: bytes) -> bool:
    """Whether there is anything to see, which there rarely is: it is asked of every piece."""
    for mark, rest in _MARKS:  # noqa: SIM110 - a generator would cost as much as all of it
        if mark in whole and _sight(whole, 0, mark, rest) < len(whole):
            return True
    return False


def _sights(whole: bytes, start: int, known: list[int]) -> list[int]:
    """Where the next thing to see of each kind is from ``start`` on, the length of ``whole`` if nowhere.

    What is ``known`` and still to come is not searched for again: an event costs no look at all that follows it.
    """
    return [
        at if at >= start else _sight(whole, start, mark, rest) for at, (mark, rest) in zip(known, _MARKS, strict=True)
    ]


def _sight(whole: bytes, start: int, mark: bytes, rest: re.Pattern[bytes]) -> int:
    at = whole.find(mark, start)
    while at >= 0 and rest.match(whole, at + len(mark)) is None:
        at = whole.find(mark, at + 1)
    return at if at >= 0 else len(whole)


class _Object(msgspec.Struct):
    """Any object: nothing of it is kept."""


_object = msgspec.json.Decoder(_Object)
_objects = msgspec.json.Decoder(list[_Object])


def _are_objects(events: bytes) -> bool:
    """Whether these are JSON objects with nothing around them, which they nearly always are: one look at them all.

    A line break within a text is escaped in JSON, so that one before ``data:`` is always between two events.
    """
    if not events.startswith(b"data:"):
        return False
    try:
        if not events.isascii():
            events.decode()
        return len(_objects.decode(b"[%b]" % events[5:-2].replace(b"\n\ndata:", b","))) == events.count(b"\n\n")
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return False


def _data_of(event: bytes) -> bytes:
    """What an event carries; empty for a comment."""
    lines = (line[5:].removeprefix(b" ") for line in event.split(b"\n") if line.startswith(b"data:"))
    return b"\n".join(lines).strip()


def _is_object(data: bytes) -> bool:
    try:
        data.decode()
        _object.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return False
    return True


class _Error(msgspec.Struct):
    error: Any = None


_errors = msgspec.json.Decoder(_Error)


def _has_error(data: bytes) -> bool:
    return _errors.decode(data).error is not None


def _failed(message: str) -> InterlockError:
    return InterlockError(ErrorKind.EXTERNAL, "LLM_PROVIDER_ERROR", message)
