"""Embeddings of more texts than a provider takes at once: cut into batches, put together in order."""

from __future__ import annotations

import base64
import struct
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import msgspec

from interlock.core.errors import ErrorKind, InterlockError
from interlock.core.models.prices import Usage, total
from interlock.core.models.requests import ModelRequest, texts_of
from interlock.core.models.routing import Deployment
from interlock.core.models.tokens import bound_inputs, count_inputs


class Completion(msgspec.Struct, frozen=True):
    """A whole answer in OpenAI's shape."""

    body: bytes
    usage: Usage
    deployment: Deployment


Ask = Callable[[ModelRequest, Sequence[Deployment]], Awaitable[Completion]]


class _Row(msgspec.Struct):
    embedding: list[float]
    index: int


class _Part(msgspec.Struct):
    data: list[_Row]
    model: str = ""


_parts = msgspec.json.Decoder(_Part)


async def embed_in_batches(
    ask: Ask, request: ModelRequest, deployments: Sequence[Deployment], batch: int
) -> Completion:
    """One answer for all texts, in their order, from calls of at most ``batch`` texts, one after the other.

    The provider is asked for plain numbers; a caller who wants them packed (``base64``) gets them packed here.
    Raises LLM_PROVIDER_ERROR if a part does not have one vector for each of its texts.
    """
    texts = texts_of(request)
    vectors: list[list[float]] = []
    model, used = "", list[Usage]()
    for start in range(0, len(texts), batch):
        part = texts[start : start + batch]
        body = {**request.body, "input": part, "encoding_format": "float"}
        counts = {"prompt_tokens": count_inputs(part), "most_prompt": bound_inputs(part)}
        smaller = msgspec.structs.replace(request, body=body, **counts)
        answer = await ask(smaller, deployments)
        model = _collect(answer.body, len(part), vectors) or answer.deployment.model
        deployments = [answer.deployment]  # vectors of different models do not belong together
        used.append(answer.usage)
    usage = total(used)
    is_packed = request.body.get("encoding_format") == "base64"
    return Completion(_joined(vectors, model, usage.input_tokens, is_packed), usage, deployments[0])


def _collect(answer: bytes, count: int, vectors: list[list[float]]) -> str:
    try:
        part = _parts.decode(answer)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise _failed("The provider's embeddings cannot be read") from error
    rows = sorted(part.data, key=lambda row: row.index)
    if [row.index for row in rows] != list(range(count)):
        raise _failed(f"The provider gave {len(rows)} vectors for {count} texts")
    vectors += [row.embedding for row in rows]
    return part.model


def _joined(vectors: list[list[float]], model: str, tokens: int, is_packed: bool) -> bytes:
    rows: list[dict[str, Any]] = [
        {"object": "embedding", "index": index, "embedding": _pack(vector) if is_packed else vector}
        for index, vector in enumerate(vectors)
    ]
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return msgspec.json.encode({"object": "list", "data": rows, "model": model, "usage": usage})


def _pack(vector: list[float]) -> str:
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()


def _failed(message: str) -> InterlockError:
    return InterlockError(ErrorKind.EXTERNAL, "LLM_PROVIDER_ERROR", message)
