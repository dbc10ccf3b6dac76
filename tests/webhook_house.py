"""A real HTTP server that receives webhooks and answers as the test says."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

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
