"""A model provider for tests, in OpenAI's shape: what it does depends on the model that it is asked for."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

KEY = "il-a-key-of-the-model-tests-0123456789"
ADMIN = "il-another-key-of-the-model-tests-0123456789"
USAGE = {"prompt_tokens": 9, "completion_tokens": 12, "total_tokens": 21}
Answer = Callable[[web.Request, dict[str, Any]], Awaitable[web.StreamResponse]]


def chunk(text: str = "", reason: str | None = None, **more: Any) -> bytes:
    """One event of a stream."""
    delta = {"content": text} if text else {}
    choices = [{"index": 0, "delta": delta, "finish_reason": reason}]
    return event({"id": "c1", "object": "chat.completion.chunk", "model": "real-name", "choices": choices, **more})


def event(value: Any) -> bytes:
    return b"data: " + json.dumps(value).encode() + b"\n\n"


DONE = b"data: [DONE]\n\n"


@dataclass
class Upstream:
    """Where it listens, what it was asked, and how many of its answers were broken off by the other side."""

    url: str = ""
    asked: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    answers: dict[str, Answer] = field(default_factory=dict)
    broken_off: asyncio.Queue[str] = field(default_factory=asyncio.Queue)

    def of(self, model: str) -> list[dict[str, Any]]:
        """The bodies that asked for a model."""
        return [body for body in self.asked if body["model"] == model]

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer as the model's script says, else well."""
        body = await request.json()
        self.asked.append(body)
        self.headers.append(dict(request.headers))
        answer = self.answers.get(body["model"], embed if request.path.endswith("embeddings") else well)
        try:
            return await answer(request, body)
        except (asyncio.CancelledError, ConnectionResetError):
            self.broken_off.put_nowait(body["model"])
            raise


async def well(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
    """A whole answer, or a stream of it with the usage if that is wanted."""
    if not body.get("stream"):
        message = {"role": "assistant", "content": "Hello there"}
        choices = [{"index": 0, "message": message, "finish_reason": "stop"}]
        return web.json_response(
            {"id": "c1", "object": "chat.completion", "created": 1, "model": "real-name", "choices": choices}
            | {"usage": USAGE, "extra": {"of": "the provider"}}
        )
    parts = [chunk("Hello "), chunk("there"), chunk(reason="stop")]
    if body.get("stream_options", {}).get("include_usage"):
        parts.append(event({"id": "c1", "object": "chat.completion.chunk", "choices": [], "usage": USAGE}))
    return await streamed(request, [*parts, DONE])


async def embed(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
    """At most ten texts, each with a vector that tells which one it was; the rows are out of order."""
    texts = body["input"]
    if len(texts) > 10 or not all(isinstance(text, str) for text in texts):
        return web.json_response({"error": {"message": "too many", "code": "InvalidParameter"}}, status=400)
    rows = [{"object": "embedding", "index": i, "embedding": [float(text), 0.5]} for i, text in enumerate(texts)]
    usage = {"prompt_tokens": len(texts), "total_tokens": len(texts)}
    return web.json_response({"object": "list", "data": rows[::-1], "model": "real-embedder", "usage": usage})


async def streamed(request: web.Request, parts: list[bytes], then: Any = None) -> web.StreamResponse:
    """Send the parts; ``then`` is awaited before the end."""
    response = web.StreamResponse(headers={"content-type": "text/event-stream"})
    await response.prepare(request)
    for part in parts:
        await response.write(part)
    if then is not None:
        await then
    return response


def refusing(*statuses: int, then: Answer = well, code: str = "Throttling.RateQuota", **headers: str) -> Answer:
    """Refuse once with each status, then answer."""
    left = list(statuses)

    async def answer(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        if not left:
            return await then(request, body)
        error = {"error": {"message": "sk-secret-of-the-provider", "code": code}}
        return web.json_response(error, status=left.pop(0), headers=headers)

    return answer


@asynccontextmanager
async def running_upstream() -> AsyncIterator[Upstream]:
    """A provider on loopback."""
    upstream = Upstream()
    app = web.Application()
    app.router.add_post("/v1/{rest:.*}", upstream.handle)
    runner = web.AppRunner(app, handler_cancellation=True, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = site._server.sockets[0].getsockname()[1]  # type: ignore[union-attr]
    upstream.url = f"http://127.0.0.1:{port}/v1"
    try:
        yield upstream
    finally:
        await runner.cleanup()
