"""The scripted model. What it says is made from what it is asked by rule, and says that it is."""

from __future__ import annotations

import base64
import hashlib
import math
import struct
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import msgspec

from interlock.core.models.requests import Kind
from interlock.core.models.tokens import count_chat, count_text

NAME = "scripted"
LABEL = "[scripted model]"
"""Every answer begins with it, so that nobody takes one for a model's."""
DIMENSIONS = 1_024

_QUOTED = 200  # characters of the question
_CREATED = 1_767_225_600  # the same in every answer, like everything else
_DONE = b"data: [DONE]\n\n"


class ScriptedProvider:
    """Satisfies ``ports/models.Provider``: equal requests have equal answers, byte by byte."""

    name = NAME

    @asynccontextmanager
    async def call(self, kind: Kind, body: bytes, key: str = "") -> AsyncIterator[ScriptedAnswer]:
        """Answer at once."""
        asked: dict[str, Any] = msgspec.json.decode(body)
        if kind == "embeddings":
            yield ScriptedAnswer("application/json", [msgspec.json.encode(_embed(asked))])
        elif asked.get("stream"):
            yield ScriptedAnswer("text/event-stream", _stream(asked, body))
        else:
            yield ScriptedAnswer("application/json", [msgspec.json.encode(_complete(asked, body))])

    def batch_of(self, model: str) -> int | None:
        return None


class ScriptedAnswer:
    """Satisfies ``ports/models.Upstream``."""

    status = 200

    def __init__(self, content_type: str, parts: list[bytes]) -> None:
        self.headers: Mapping[str, str] = {"content-type": content_type}
        self._parts = parts

    async def read(self, max_bytes: int) -> bytes:
        """The whole body, which is short."""
        return b"".join(self._parts)

    async def pieces(self) -> AsyncIterator[bytes]:
        """Each event by itself."""
        for part in self._parts:
            yield part

    def suffices(self) -> None:
        """Nothing is under way."""


def _words(asked: dict[str, Any]) -> tuple[list[str], bool]:
    """The words of the answer, and whether the caller's limit cut it."""
    text = f"{LABEL} You said: {_question(asked)[:_QUOTED]}"
    words = [word + " " for word in text.split(" ")]
    words[-1] = words[-1].removesuffix(" ")
    limit = asked.get("max_completion_tokens") or asked.get("max_tokens") or len(words)
    return words[:limit], limit < len(words)


def _question(asked: dict[str, Any]) -> str:
    for message in reversed(asked["messages"]):
        content = message.get("content")
        if message.get("role") == "user" and content:
            if isinstance(content, str):
                return content
            return " ".join(str(part.get("text", "[not a text]")) for part in content if isinstance(part, dict))
    return ""


def _usage(asked: dict[str, Any], words: list[str]) -> dict[str, int]:
    prompt, completion = count_chat(asked), len(words)
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}


def _head(asked: dict[str, Any], body: bytes, kind: str) -> dict[str, Any]:
    digest = hashlib.sha256(body).hexdigest()[:24]
    return {"id": f"chatcmpl-{digest}", "object": kind, "created": _CREATED, "model": asked.get("model", NAME)}


def _complete(asked: dict[str, Any], body: bytes) -> dict[str, Any]:
    words, is_cut = _words(asked)
    message = {"role": "assistant", "content": "".join(words)}
    choices = [
        {"index": index, "message": message, "logprobs": None, "finish_reason": "length" if is_cut else "stop"}
        for index in range(asked.get("n") or 1)
    ]
    return {**_head(asked, body, "chat.completion"), "choices": choices, "usage": _usage(asked, words)}


def _stream(asked: dict[str, Any], body: bytes) -> list[bytes]:
    words, is_cut = _words(asked)
    head = _head(asked, body, "chat.completion.chunk")
    with_usage = bool((asked.get("stream_options") or {}).get("include_usage"))

    def event(choices: list[dict[str, Any]], usage: dict[str, int] | None = None) -> bytes:
        extra = {"usage": usage} if with_usage else {}
        return b"data: %b\n\n" % msgspec.json.encode({**head, "choices": choices, **extra})

    def delta(value: dict[str, Any], reason: str | None = None) -> bytes:
        return event([{"index": 0, "delta": value, "finish_reason": reason}])

    events = [delta({"role": "assistant", "content": ""}), *(delta({"content": word}) for word in words)]
    events.append(delta({}, "length" if is_cut else "stop"))
    if with_usage:
        events.append(event([], _usage(asked, words)))
    return [*events, _DONE]


def _embed(asked: dict[str, Any]) -> dict[str, Any]:
    given = asked["input"]
    inputs = [given] if isinstance(given, str) or isinstance(given[0], int) else given
    size = asked.get("dimensions") or DIMENSIONS
    vectors = [_vector(one, size) for one in inputs]
    is_packed = asked.get("encoding_format") == "base64"
    tokens = sum(count_text(one) if isinstance(one, str) else len(one) for one in inputs)
    return {
        "object": "list",
        "data": [
            {"object": "embedding", "index": index, "embedding": _pack(vector) if is_packed else vector}
            for index, vector in enumerate(vectors)
        ],
        "model": asked.get("model", NAME),
        "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
    }


def _vector(value: Any, size: int) -> list[float]:
    """A direction that depends on nothing but the value, of length 1."""
    seed = msgspec.json.encode(value)
    numbers: list[float] = []
    while len(numbers) < size:
        block = hashlib.sha512(b"%d:%b" % (len(numbers), seed)).digest()
        numbers += [part / 2**31 - 1.0 for part in struct.unpack("<16I", block)]
    numbers = numbers[:size]
    length = math.sqrt(sum(number * number for number in numbers)) or 1.0
    return [number / length for number in numbers]


def _pack(vector: list[float]) -> str:
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()
