"""A real HTTP server that receives webhooks and answers as the test says."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx2
from aiohttp import web

CALL = "states: [call, end]\nstate_node_map: {call: %s}\ntransitions:\n  - {from: call, event: STEP_DONE, to: end}\n"
"""A flow of one step that calls what it is given."""
DEADLINE = 8.0
"""Seconds after which a test gives up waiting."""


@dataclass
class Got:
    """One request as it came."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


Answer = Callable[[Got], Awaitable[web.Response]]


@dataclass
class Receiver:
    """Keeps what it ``got``; answers with ``answers`` in turn and then with ``status``, or as ``handler`` does."""

    url: str = ""
    got: list[Got] = field(default_factory=list)
    answers: list[web.Response] = field(default_factory=list)
    status: int = 204
    handler: Answer | None = None
    _grew: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def receive(self, request: web.Request) -> web.StreamResponse:
        headers = {name.lower(): value for name, value in request.headers.items()}
        got = Got(request.path, headers, await request.read())
        self.got.append(got)
        async with self._grew:
            self._grew.notify_all()
        if self.handler is not None:
            return await self.handler(got)
        return self.answers.pop(0) if self.answers else web.Response(status=self.status)

    async def wait_for(self, count: int) -> list[Got]:
        """All requests, once there are ``count``."""
        try:
            async with asyncio.timeout(DEADLINE), self._grew:
                await self._grew.wait_for(lambda: len(self.got) >= count)
        except TimeoutError:
            raise AssertionError(f"{len(self.got)} of {count} requests came") from None
        return self.got


@asynccontextmanager
async def receiving() -> AsyncIterator[Receiver]:
    """A receiver on a free port of this machine."""
    receiver = Receiver()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", receiver.receive)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    receiver.url = f"http://127.0.0.1:{runner.addresses[0][1]}/hook"
    try:
        yield receiver
    finally:
        await runner.cleanup()


async def until(condition: Callable[[], Awaitable[Any]], what: str) -> Any:
    """What ``condition`` gives once it is true; for what only the database can tell."""
    try:
        async with asyncio.timeout(DEADLINE):
            while not (found := await condition()):
                await asyncio.sleep(0.02)
            return found
    except TimeoutError:
        raise AssertionError(f"{what} did not come true") from None


async def start(caller: Any, reference: str, *, flow: str = CALL, params: Any = None, wait_ms: int = 300) -> str:
    """Register a flow that calls ``reference`` and start it; the session's id."""
    text = flow % json.dumps(reference)
    told = await caller.http.post("/api/registry/flows", json={"flow_id": "w", "name": "w", "yaml_content": text})
    assert told.status_code == 200, told.text
    body = {"flow_id": "w", "params": params or {"n": 1}, "wait_ms": wait_ms}
    answer = await caller.http.post("/api/workflow/start", json=body)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["session_id"])


async def waiting(caller: Any, session_id: str) -> None:
    """Wait until the step rests for its callback."""

    async def rests() -> bool:
        answer = await caller.http.get(f"/api/workflow/{session_id}/state")
        return bool(answer.json().get("waiting_for") == "callback")

    await until(rests, "the wait for the callback")


def token_of(got: Got) -> str:
    return str(parse_qs(urlsplit(got.json["callback_url"]).query)["ct"][0])


async def call_back(client: httpx2.AsyncClient, session_id: str, body: Any, token: str | None = None, **headers: str):
    path = f"/api/workflow/{session_id}/callback" + (f"?ct={token}" if token else "")
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return await client.post(path, content=content, headers={"content-type": "application/json", **headers})
