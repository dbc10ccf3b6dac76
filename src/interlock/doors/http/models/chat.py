"""``/v1/chat/completions`` and ``/v1/embeddings``: the provider's answers as they are."""

from __future__ import annotations

from typing import Any

import msgspec

from interlock.core.errors import InterlockError
from interlock.core.models.requests import read_chat, read_embeddings
from interlock.doors.http.models.door import error_object, status_of_field
from interlock.doors.http.plumbing.operation import Call, Reply
from interlock.doors.http.plumbing.racing import Frames, Racing
from interlock.doors.http.plumbing.replies import PRIVATE, BytesReply


class ChatBody(msgspec.Struct):
    """A chat in OpenAI's shape; fields that are not listed go to the provider as they are."""

    messages: list[dict[str, Any]]
    model: str | None = None
    models: list[str] | None = None
    stream: bool | None = None
    stream_options: dict[str, Any] | None = None
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    n: int | None = None


class EmbeddingsBody(msgspec.Struct):
    """Texts to embed in OpenAI's shape; fields that are not listed go to the provider as they are."""

    input: str | list[Any]
    model: str | None = None
    models: list[str] | None = None
    dimensions: int | None = None
    encoding_format: str | None = None


async def complete_chat(call: Call[ChatBody, None]) -> Reply:
    """Relay a chat, whole or as a stream."""

    async def make() -> Reply:
        request = read_chat(msgspec.json.decode(call.raw_body))
        models = call.services.models.relay
        if request.is_stream:
            stream = await models.stream(call.principal, request, call.trace_id)
            return Frames(stream.pieces(), stream.close, broken_off)
        completion = await models.complete(call.principal, request, call.trace_id)
        return whole(call, completion.body)

    return Racing(call, make, status_of_field)


async def embed(call: Call[EmbeddingsBody, None]) -> Reply:
    """Relay texts to embed; too many for one call of the provider go in several, and come back in order."""

    async def make() -> Reply:
        request = read_embeddings(msgspec.json.decode(call.raw_body))
        completion = await call.services.models.relay.complete(call.principal, request, call.trace_id)
        return whole(call, completion.body)

    return Racing(call, make, status_of_field)


def whole(call: Call[Any, Any], body: bytes) -> Reply:
    """A whole answer, with the time it took."""
    milliseconds = (call.context.clock.monotonic() - call.exchange.started) * 1000
    headers = (*PRIVATE, (b"openai-processing-ms", b"%d" % milliseconds))
    return BytesReply(body, media_type="application/json", headers=headers)


def broken_off(error: InterlockError) -> bytes:
    """The last event of a stream that failed; no ``[DONE]`` follows."""
    return b"data: %b\n\n" % msgspec.json.encode({"error": error_object(error)})
