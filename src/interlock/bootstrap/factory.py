"""The ASGI factory: a whole server behind somebody else's server program."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from starlette.applications import Starlette
from starlette.types import ASGIApp, Receive, Scope, Send

from interlock.bootstrap.server import running_app
from interlock.config import Settings


def create_app(settings: Settings) -> ASGIApp:
    """An app that builds its parts when its server's lifespan begins, on the loop it will run on."""
    return _Deferred(settings)


class _Deferred:
    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._app: ASGIApp | None = None
        self._front = Starlette(lifespan=self._lifespan)

    @asynccontextmanager
    async def _lifespan(self, front: Starlette) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            embedded = self._settings.database_url is None and self._settings.local
            app, _, _ = await stack.enter_async_context(running_app(self._settings, embedded=embedded))
            self._app = app
            yield

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        app = self._app if scope["type"] != "lifespan" and self._app is not None else self._front
        await app(scope, receive, send)
