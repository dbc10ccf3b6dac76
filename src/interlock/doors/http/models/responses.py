"""``/v1/responses``: the newer vocabulary of OpenAI's clients over the same chats."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from typing import Any

import msgspec

from interlock.core.errors import ErrorKind, InterlockError
from interlock.core.models.requests import read_chat
from interlock.core.models.responses import chat_of, message_item, response_object, text_part
from interlock.doors.http.models.door import error_object, status_of_field
from interlock.doors.http.plumbing.operation import Call, Reply
from interlock.doors.http.plumbing.relaying import Wording, relay
from interlock.services.models.embed import Completion
from interlock.services.models.relay import RelayedStream

_DATA = re.compile(rb"^data:[ ]?(.*)$", re.MULTILINE)


class ResponsesBody(msgspec.Struct):
    """A request for a response; fields that are not listed go to the provider as they are."""

    input: str | list[Any]
    model: str | None = None
    instructions: str | None = None
    stream: bool | None = None
    max_output_tokens: int | None = None


class _Text(msgspec.Struct):
    content: str | None = None


class _Choice(msgspec.Struct):
    message: _Text = msgspec.field(default_factory=_Text)
    delta: _Text = msgspec.field(default_factory=_Text)
    finish_reason: str | None = None


class _Answer(msgspec.Struct):
    choices: list[_Choice] = []
    model: str = ""


_answers = msgspec.json.Decoder(_Answer)


async def respond(call: Call[ResponsesBody, None]) -> Reply:
    """Answer, whole or as a stream of events."""
    response_id, created_at = f"resp_{call.request_id}", int(call.context.clock.now().timestamp())

    def whole(completion: Completion) -> bytes:
        answer = _read(completion.body)
        choice = answer.choices[0] if answer.choices else _Choice()
        told = response_object(
            response_id,
            created_at,
            answer.model or completion.deployment.model,
            text=choice.message.content or "",
            reason=choice.finish_reason,
            usage=completion.usage,
        )
        return msgspec.json.encode(told)

    wording = Wording(whole, lambda stream: _Events(response_id, created_at, stream), status=status_of_field)
    return relay(call, lambda: read_chat(chat_of(msgspec.json.decode(call.raw_body))), wording)


class _Events:
    """The events of one streamed response, numbered from 0."""

    def __init__(self, response_id: str, created_at: int, stream: RelayedStream) -> None:
        self._id = response_id
        self._created_at = created_at
        self._stream = stream
        self._number = 0

    async def frames(self) -> AsyncIterator[bytes]:
        """Everything from the beginning to the whole response."""
        texts: list[str] = []
        model, reason = self._stream.model, None
        item_id = message_item(self._id, "", "in_progress")["id"]
        place = {"item_id": item_id, "output_index": 0, "content_index": 0}
        yield self._opening(model, place)
        async for piece in self._stream.pieces():
            frames = []
            for data in _DATA.findall(piece):
                chunk = _Answer() if data.strip() == b"[DONE]" else _read(data)
                model = chunk.model or model
                for choice in chunk.choices[:1]:
                    reason = choice.finish_reason or reason
                    if text := choice.delta.content:
                        texts.append(text)
                        frames.append(self._frame("response.output_text.delta", **place, delta=text, logprobs=[]))
            if frames:
                yield b"".join(frames)
        yield self._closing(model, place, "".join(texts), reason)

    def failed(self, error: InterlockError) -> bytes:
        """The last event of a stream that broke off."""
        told = error_object(error)
        return self._frame("error", code=told["code"], message=told["message"], param=None)

    def _opening(self, model: str, place: dict[str, Any]) -> bytes:
        item = message_item(self._id, "", "in_progress")
        return b"".join(
            (
                self._frame("response.created", response=response_object(self._id, self._created_at, model)),
                self._frame("response.output_item.added", output_index=0, item=item),
                self._frame("response.content_part.added", **place, part=text_part("")),
            )
        )

    def _closing(self, model: str, place: dict[str, Any], text: str, reason: str | None) -> bytes:
        usage = self._stream.usage
        told = response_object(self._id, self._created_at, model, text=text, reason=reason, usage=usage)
        return b"".join(
            (
                self._frame("response.output_text.done", **place, text=text, logprobs=[]),
                self._frame("response.content_part.done", **place, part=text_part(text)),
                self._frame("response.output_item.done", output_index=0, item=told["output"][0]),
                self._frame(f"response.{told['status']}", response=told),
            )
        )

    def _frame(self, kind: str, **fields: Any) -> bytes:
        data = msgspec.json.encode({"type": kind, "sequence_number": self._number, **fields})
        self._number += 1
        return b"event: %b\ndata: %b\n\n" % (kind.encode(), data)


def _read(data: bytes) -> _Answer:
    try:
        return _answers.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        message = "The provider's answer cannot be read"
        raise InterlockError(ErrorKind.EXTERNAL, "LLM_PROVIDER_ERROR", message) from error
