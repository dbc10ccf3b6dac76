"""A provider that costs next to nothing: it answers every chat at once, whole or as 20 chunks in one packet."""

from __future__ import annotations

import asyncio
import json
import sys

import uvloop

_USAGE = {"prompt_tokens": 9, "completion_tokens": 12, "total_tokens": 21}


def _choice(**fields: object) -> list[dict[str, object]]:
    return [{"index": 0, "finish_reason": None, **fields}]


def _event(choices: list[dict[str, object]], **more: object) -> bytes:
    chunk = {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "fake", "choices": choices, **more}
    return b"data: %b\n\n" % json.dumps(chunk, separators=(",", ":")).encode()


def _whole() -> bytes:
    message = {"role": "assistant", "content": "Hello there, how may I help you today?"}
    answer = {"id": "c1", "object": "chat.completion", "created": 1, "model": "fake", "usage": _USAGE}
    body = json.dumps({**answer, "choices": _choice(message=message, finish_reason="stop")}).encode()
    return b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)


def _stream() -> bytes:
    words = [_event(_choice(delta={"content": f"word{number} "})) for number in range(18)]
    end = [_event(_choice(delta={}, finish_reason="stop")), _event([], usage=_USAGE), b"data: [DONE]\n\n"]
    parts = [_event(_choice(delta={"role": "assistant", "content": ""})), *words, *end]
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts)
    return (
        b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n%b0\r\n\r\n" % chunks
    )


class _Answering(asyncio.Protocol):
    whole, stream = _whole(), _stream()

    def __init__(self) -> None:
        self._waiting = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._waiting += data
        while (end := self._waiting.find(b"\r\n\r\n") + 4) > 3:
            head = self._waiting[:end].lower()
            size = int(head.partition(b"content-length:")[2].partition(b"\r\n")[0] or 0)
            if len(self._waiting) < end + size:
                return
            body, self._waiting = self._waiting[end : end + size], self._waiting[end + size :]
            answer = self.stream if b'"stream":true' in body else self.whole
            self._transport.write(answer)  # type: ignore[attr-defined]


async def _serve(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(_Answering, "127.0.0.1", port)
    print("ready", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(_serve(int(sys.argv[1])))
