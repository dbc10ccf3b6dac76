"""``/v1/chat/completions`` and ``/v1/embeddings``: the provider's answers as they are."""

from __future__ import annotations

from typing import Any

import msgspec

from interlock.core.errors import InterlockError
from interlock.core.models.requests import read_chat, read_embeddings
from interlock.doors.http.models.door import error_object, status_of_field
from interlock.doors.http.plumbing.operation import Call, Reply
from interlock.doors.http.plumbing.relaying import Wording, relay
from interlock.services.models.relay import RelayedStream


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
    return relay(call, lambda: read_chat(msgspec.json.decode(call.raw_body)), _AS_IT_CAME)


async def embed(call: Call[EmbeddingsBody, None]) -> Reply:
    """Relay texts to embed; too many for one call of the provider go in several, and come back in order."""
    return relay(call, lambda: read_embeddings(msgspec.json.decode(call.raw_body)), _AS_IT_CAME)


class _Chunks:
    """The provider's own chunks."""

    def __init__(self, stream: RelayedStream) -> None:
        self.frames = stream.pieces

    def failed(self, error: InterlockError) -> bytes:
        """The last event of a stream that failed; no ``[DONE]`` follows."""
        return b"data: %b\n\n" % msgspec.json.encode({"error": error_object(error)})


_AS_IT_CAME = Wording(lambda completion: completion.body, _Chunks, status=status_of_field)
