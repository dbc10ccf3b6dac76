"""``/api/llm/*``: models in the vocabulary of the tempo family."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Annotated, Any

import msgspec

from interlock.core.errors import ErrorKind, InterlockError
from interlock.core.models.prices import Usage
from interlock.core.models.requests import ModelRequest, read_chat, read_embeddings
from interlock.core.models.stream import DONE
from interlock.core.principal import Scope
from interlock.doors.http.plumbing.operation import Call, Operation, Policy, Reply
from interlock.doors.http.plumbing.relaying import CACHE, Wording, relay
from interlock.doors.http.plumbing.sse import frame_without_id
from interlock.doors.http.tempo.door import TEMPO
from interlock.services.models.embed import Completion
from interlock.services.models.relay import RelayedStream

CHAT_MODEL = "qwen-max"
EMBEDDING_MODEL = "text-embedding-v4"

_OURS = frozenset({"session_id"})
_OPENING = b": connected\n\nretry: 3000\n\n"
_DATA = re.compile(rb"^data:[ ]?(.*)$", re.MULTILINE)


class Message(msgspec.Struct):
    role: str
    content: Any = None


class TempoChatBody(msgspec.Struct):
    """A chat; fields that are not listed go to the provider as they are."""

    messages: Annotated[list[Message], msgspec.Meta(min_length=1)]
    model: str = CHAT_MODEL
    temperature: Annotated[float, msgspec.Meta(ge=0, le=2)] = 0.7
    stream: bool = False
    max_tokens: Annotated[int, msgspec.Meta(ge=1)] | None = None
    session_id: str | None = None


class EmbeddingBody(msgspec.Struct):
    """Texts to embed; fields that are not listed go to the provider as they are."""

    texts: Annotated[list[str], msgspec.Meta(min_length=1, max_length=1000)]
    model: str = EMBEDDING_MODEL
    dimensions: Annotated[int, msgspec.Meta(ge=1)] | None = None


class ChatUsage(msgspec.Struct):
    """Tokens; ``estimated`` is there and true if the provider did not tell."""

    input_tokens: int
    output_tokens: int
    estimated: bool | msgspec.UnsetType = msgspec.UNSET


class ChatAnswer(msgspec.Struct):
    """``model`` is the one that answered."""

    content: str
    model: str
    usage: ChatUsage
    finish_reason: str | None
    request_id: str


class EmbeddingUsage(msgspec.Struct):
    input_tokens: int


class EmbeddingAnswer(msgspec.Struct):
    """``vectors`` are in the order of the texts."""

    vectors: list[list[float]]
    dim: int
    model: str
    usage: EmbeddingUsage


class _Message(msgspec.Struct):
    content: str | None = None


class _Choice(msgspec.Struct):
    message: _Message = msgspec.field(default_factory=_Message)
    delta: _Message = msgspec.field(default_factory=_Message)
    finish_reason: str | None = None


class _Answer(msgspec.Struct):
    choices: list[_Choice] = []
    model: str = ""


class _Row(msgspec.Struct):
    embedding: list[float]
    index: int = 0


class _Rows(msgspec.Struct):
    data: list[_Row]
    model: str = ""


_answers = msgspec.json.Decoder(_Answer)
_rows = msgspec.json.Decoder(_Rows)


async def chat(call: Call[TempoChatBody, None]) -> Reply:
    """Answer a chat, whole or as a stream."""

    def whole(completion: Completion) -> bytes:
        answer = _read(_answers, completion.body)
        if not answer.choices:
            raise _unreadable()
        return msgspec.json.encode(
            ChatAnswer(
                content=answer.choices[0].message.content or "",
                model=answer.model or completion.deployment.model,
                usage=_usage(completion.usage),
                finish_reason=answer.choices[0].finish_reason,
                request_id=call.request_id,
            )
        )

    return relay(call, lambda: read_chat(_chat_body(call.raw_body)), Wording(whole, _Deltas, _OPENING))


async def embedding(call: Call[EmbeddingBody, None]) -> Reply:
    """Embed texts, in as many calls of the provider as it takes."""

    def whole(completion: Completion) -> bytes:
        found = _read(_rows, completion.body)
        vectors = [row.embedding for row in sorted(found.data, key=lambda row: row.index)]
        if len(vectors) != len(call.body.texts):
            raise _unreadable()
        return msgspec.json.encode(
            EmbeddingAnswer(
                vectors=vectors,
                dim=len(vectors[0]),
                model=found.model or completion.deployment.model,
                usage=EmbeddingUsage(completion.usage.input_tokens),
            )
        )

    return relay(call, lambda: _embedding_request(call.raw_body), Wording(whole))


def _chat_body(raw: bytes) -> dict[str, Any]:
    given: dict[str, Any] = msgspec.json.decode(raw)
    body = {"model": CHAT_MODEL, "temperature": 0.7, **given}
    return {name: value for name, value in body.items() if name not in _OURS}


def _embedding_request(raw: bytes) -> ModelRequest:
    given: dict[str, Any] = msgspec.json.decode(raw)
    body = {"model": EMBEDDING_MODEL, **given, "input": given["texts"], "encoding_format": "float"}
    del body["texts"]
    return read_embeddings({name: value for name, value in body.items() if name not in _OURS})


class _Deltas:
    """The provider's chunks as deltas, then all of it at once, then the end."""

    def __init__(self, stream: RelayedStream) -> None:
        self._stream = stream

    async def frames(self) -> AsyncIterator[bytes]:
        """The whole stream."""
        texts: list[str] = []
        model, reason = self._stream.model, None
        async for piece in self._stream.pieces():
            frames = []
            for data in _DATA.findall(piece):
                if data.strip() == b"[DONE]":
                    continue
                chunk = _read(_answers, data)
                model = chunk.model or model
                for choice in chunk.choices[:1]:
                    reason = choice.finish_reason or reason
                    if text := choice.delta.content:
                        texts.append(text)
                        frames.append(_frame({"type": "delta", "content": text}))
            if frames:
                yield b"".join(frames)
        done = {"type": "done", "content": "".join(texts), "model": model, "usage": _usage(self._stream.usage)}
        yield _frame({**done, "finish_reason": reason}) + DONE

    def failed(self, error: InterlockError) -> bytes:
        """The last frame of a stream that failed; no end follows."""
        told = {"type": "error", "code": error.code, "message": error.message, "retryable": error.retryable}
        return _frame(told)


def _frame(value: dict[str, Any]) -> bytes:
    return frame_without_id(msgspec.json.encode(value))


def _usage(usage: Usage) -> ChatUsage:
    return ChatUsage(usage.input_tokens, usage.output_tokens, True if usage.is_estimated else msgspec.UNSET)


def _read(decoder: msgspec.json.Decoder[Any], data: bytes) -> Any:
    try:
        return decoder.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise _unreadable() from error


def _unreadable() -> InterlockError:
    return InterlockError(ErrorKind.EXTERNAL, "LLM_PROVIDER_ERROR", "The provider's answer cannot be read")


def llm_headers(error: InterlockError) -> tuple[tuple[bytes, bytes], ...]:
    """A budget that is spent is not there again in a moment."""
    return ((b"x-should-retry", b"false"),) if error.code == "BUDGET_EXCEEDED" else ()


LLM = replace(TEMPO, error_headers=llm_headers)

OPERATIONS = (
    Operation(
        method="POST",
        path="/llm/chat",
        door=LLM,
        summary="Answer a chat",
        handler=chat,
        policy=Policy.TENANT,
        scope=Scope.MODELS_USE,
        body=TempoChatBody,
        answer=ChatAnswer,
        headers=(CACHE,),
        example={"messages": [{"role": "user", "content": "Hello"}]},
        streamed_as="text/event-stream",
        failures=(409, 422, 429, 502, 503),
        is_keyed=True,
    ),
    Operation(
        method="POST",
        path="/llm/embedding",
        door=LLM,
        summary="Embed texts",
        handler=embedding,
        policy=Policy.TENANT,
        scope=Scope.MODELS_USE,
        body=EmbeddingBody,
        answer=EmbeddingAnswer,
        headers=(CACHE,),
        example={"texts": ["Hello"]},
        failures=(409, 422, 429, 502, 503),
        is_keyed=True,
    ),
)
"""For the tempo door to include."""
