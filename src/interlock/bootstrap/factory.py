"""The ASGI factory: a whole server behind somebody else's server program."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocketClose

from interlock.bootstrap.checks import refuse_exposed, refuse_missing_secrets
from interlock.bootstrap.programs import configure_logs
from interlock.bootstrap.server import running_app
from interlock.config import Settings
from interlock.kit.hosts import canonical, is_loopback

_STAYS_HERE = (
    "Local mode asks for no credentials and stays on this machine; INTERLOCK_LOCAL_ALLOW_REMOTE=true lets it leave."
)


def create_app(settings: Settings) -> ASGIApp:
    """An app that builds its parts when its server's lifespan begins, on the loop it will run on.

    The log of this process is as the settings say from now on. Raises RULE for missing secrets, for local mode on an
    address that other machines reach, and for a log file that cannot be written.
    """
    refuse_missing_secrets(settings)
    refuse_exposed(settings)
    configure_logs(settings)
    return _Deferred(settings)


class _Deferred:
    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._stays_here = settings.local and not settings.local_allow_remote
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
        if scope["type"] == "lifespan":
            await self._front(scope, receive, send)
        elif self._stays_here and _is_for_others(scope):
            answer = WebSocketClose() if scope["type"] == "websocket" else PlainTextResponse(_STAYS_HERE, 403)
            await answer(scope, receive, send)
        else:
            await (self._app or self._front)(scope, receive, send)


def _is_for_others(scope: Scope) -> bool:
    """Whether a request came by an address that other machines reach: where to listen is up to the server program."""
    host, port = scope.get("server") or ("", None)
    return port is not None and not is_loopback(canonical(host))  # without a port it is a file of this machine
