"""The local models as a provider."""

from __future__ import annotations

import base64
import struct
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import msgspec

from interlock.backends.models.local import chat, embedder
from interlock.core.errors import ErrorKind, InterlockError
from interlock.core.models.requests import Kind

NAME = "local"
MODELS = (chat.MODEL, embedder.MODEL)
_DONE = b"data: [DONE]\n\n"


class LocalProvider:
    """Satisfies ``ports/models.Provider``. It knows no tools, and one text at a time is made or embedded."""

    name = NAME

    def __init__(self, threads: int = 1) -> None:
        self._chat = chat.ChatModel(threads)
        self._embedder = embedder.Embedder(threads)

    def close(self) -> None:
        """Take no more work."""
        self._chat.close()
        self._embedder.close()

    def batch_of(self, model: str) -> int | None:
        """Any number of texts."""
        return None

    @asynccontextmanager
    async def call(self, kind: Kind, body: bytes, key: str = "") -> AsyncIterator[LocalAnswer]:
        """Wait until the answer begins, or is refused. Leaving ends the work."""
        asked: dict[str, Any] = msgspec.json.decode(body)
        if kind == "embeddings":
            yield await self._embed(asked)
            return
        if reason := _not_known(asked):
            yield _refusal(400, reason)
            return
        chunks = self._chat.ask(asked)
        try:
            yield await _begun(chunks, asked)
        finally:
            await chunks.aclose()  # type: ignore[attr-defined]

    async def _embed(self, asked: dict[str, Any]) -> LocalAnswer:
        given = asked["input"]
        texts = [given] if isinstance(given, str) else given
        if not all(isinstance(text, str) for text in texts):
            return _refusal(400, "input must be texts; this model does not take token numbers")
        if asked.get("dimensions") not in (None, embedder.DIMENSIONS):
            return _refusal(400, f"this model has {embedder.DIMENSIONS} dimensions and no others")
        vectors, tokens = await self._embedder.embed(texts, is_query=asked.get("input_type") == "query")
        is_packed = asked.get("encoding_format") == "base64"
        rows = [
            {"object": "embedding", "index": index, "embedding": _pack(vector) if is_packed else vector}
            for index, vector in enumerate(vectors)
        ]
        usage = {"prompt_tokens": tokens, "total_tokens": tokens}
        return _whole(200, {"object": "list", "data": rows, "model": embedder.MODEL, "usage": usage})


class LocalAnswer:
    """Satisfies ``ports/models.Upstream``."""

    def __init__(self, status: int, content_type: str, parts: AsyncIterator[bytes]) -> None:
        self.status = status
        self.headers: Mapping[str, str] = {"content-type": content_type}
        self._parts = parts

    async def read(self, max_bytes: int) -> bytes:
        """The whole body. Raises EXTERNAL_SERVICE_ERROR if it is longer."""
        body = b"".join([part async for part in self._parts])
        if len(body) > max_bytes:
            raise InterlockError(ErrorKind.EXTERNAL, "EXTERNAL_SERVICE_ERROR", "The answer is too long")
        return body

    def pieces(self) -> AsyncIterator[bytes]:
        """Each event by itself, as it is made."""
        return self._parts

    def suffices(self) -> None:
        """Nothing is made that is not asked for."""


async def _begun(chunks: AsyncIterator[dict[str, Any]], asked: dict[str, Any]) -> LocalAnswer:
    try:
        first = await anext(chunks, None)
    except ValueError as error:
        return _refusal(400, str(error))
    if first is None or "error" in first:
        failure = (first or {}).get("error") or {}
        return _refusal(int(failure.get("code", 500)), str(failure.get("message", "no answer")))
    if asked.get("stream"):
        return LocalAnswer(200, "text/event-stream", _events(first, chunks))
    return LocalAnswer(200, "application/json", _gathered(first, chunks))


async def _all(first: dict[str, Any], rest: AsyncIterator[dict[str, Any]]) -> AsyncGenerator[dict[str, Any], None]:
    yield first
    async for chunk in rest:
        yield chunk


async def _events(first: dict[str, Any], rest: AsyncIterator[dict[str, Any]]) -> AsyncIterator[bytes]:
    async for chunk in _all(first, rest):
        told = {name: value for name, value in chunk.items() if name != "timings"}
        yield b"data: %b\n\n" % msgspec.json.encode(told)
    yield _DONE


async def _gathered(first: dict[str, Any], rest: AsyncIterator[dict[str, Any]]) -> AsyncIterator[bytes]:
    """One answer of all chunks: only a stream can be ended when its caller leaves."""
    texts: list[str] = []
    reason, usage = None, None
    async for chunk in _all(first, rest):
        usage = chunk.get("usage") or usage
        for choice in chunk.get("choices", ())[:1]:
            texts.append(choice["delta"].get("content") or "")
            reason = choice.get("finish_reason") or reason
    message = {"role": "assistant", "content": "".join(texts)}
    choices = [{"index": 0, "message": message, "logprobs": None, "finish_reason": reason}]
    head = {name: first.get(name) for name in ("id", "created", "model")}
    yield msgspec.json.encode({**head, "object": "chat.completion", "choices": choices, "usage": usage})


def _not_known(asked: dict[str, Any]) -> str | None:
    """What a caller wants that the model cannot do."""
    for name in ("tools", "functions", "audio", "logprobs"):
        if asked.get(name):
            return f"this model knows no {name}"
    return "this model gives one answer; n must be 1" if (asked.get("n") or 1) != 1 else None


def _refusal(status: int, message: str) -> LocalAnswer:
    return _whole(status, {"error": {"message": message, "code": "invalid_request_error"}})


def _whole(status: int, value: dict[str, Any]) -> LocalAnswer:
    async def parts() -> AsyncIterator[bytes]:
        yield msgspec.json.encode(value)

    return LocalAnswer(status, "application/json", parts())


def _pack(vector: list[float]) -> str:
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()
