"""Before any route: is this request meant for us, and may this page talk to us?"""

from __future__ import annotations

import re

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from interlock.core.errors import ErrorKind, InterlockError
from interlock.doors.http.plumbing.pipeline import Pipeline
from interlock.doors.http.plumbing.settings import HttpSettings
from interlock.doors.http.plumbing.trace import EXCHANGE, Exchange

LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "[::1]", "::1"})
ALWAYS: list[tuple[bytes, bytes]] = [
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
]
"""Headers of every answer."""

PAGE: tuple[tuple[bytes, bytes], ...] = (
    (
        b"content-security-policy",
        b"default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
        b"connect-src 'self'; font-src 'self' data:; form-action 'none'; base-uri 'none'; frame-ancestors 'none'",
    ),
)
"""Headers of HTML: scripts come from this server and from nowhere else, never from the page's own text."""

_LOOPBACK_ORIGIN = re.compile(r"https?://(?:localhost|127\.0\.0\.1|\[::1\])(?::\d{1,5})?")
_PORT = re.compile(r":\d{1,5}$")
_EXPOSED = (
    b"X-Request-ID, X-Trace-Id, X-Process-Time, ETag, Idempotency-Replayed, X-RateLimit-Limit, X-RateLimit-Remaining, "
    b"X-RateLimit-Reset, RateLimit, RateLimit-Policy, Retry-After, Mcp-Session-Id, WWW-Authenticate"
)


class Guarded:
    """Checks ``Host`` and ``Origin``, answers preflights, and lets allowed pages read the answers.

    In local mode only loopback names and the configured ones are served (421 for others), and a request from a
    page of another origin is refused (403). No answer ever allows credentials of the browser.
    """

    def __init__(self, app: ASGIApp, settings: HttpSettings, pipeline: Pipeline) -> None:
        self._app = app
        self._is_local = settings.is_local
        self._hosts = settings.allowed_hosts | (LOOPBACK_NAMES if settings.is_local else frozenset())
        self._any_host = not settings.is_local and not settings.allowed_hosts
        self._origins = settings.allowed_origins
        self._pipeline = pipeline

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        exchange: Exchange = scope[EXCHANGE]
        if not self._any_host and not self._is_our_host(exchange.headers.get(b"host", b"")):
            error = InterlockError(ErrorKind.DENIED, "MISDIRECTED_REQUEST", "This server does not serve that host name")
            await self._pipeline.refuse(error, 421, (), scope, receive, send)
            return
        origin = exchange.headers.get(b"origin")
        if origin is None:
            await self._app(scope, receive, send)
        elif self._is_allowed(origin):
            await self._answer_page(origin, exchange, scope, receive, send)
        elif self._is_local:
            error = InterlockError(ErrorKind.DENIED, "ORIGIN_DENIED", "Pages of this origin may not call this server")
            await self._pipeline.refuse(error, 403, (), scope, receive, send)
        else:
            await self._app(scope, receive, send)

    def _is_our_host(self, value: bytes) -> bool:
        name = _PORT.sub("", value.decode("latin-1")).lower()
        return name in self._hosts

    def _is_allowed(self, value: bytes) -> bool:
        origin = value.decode("latin-1").lower()
        return origin in self._origins or (self._is_local and _LOOPBACK_ORIGIN.fullmatch(origin) is not None)

    async def _answer_page(self, origin: bytes, exchange: Exchange, scope: Scope, receive: Receive, send: Send) -> None:
        asked = exchange.headers.get(b"access-control-request-method")
        grants = [(b"access-control-allow-origin", origin), (b"vary", b"Origin")]
        if asked is not None and scope["method"] == "OPTIONS":
            wanted = exchange.headers.get(b"access-control-request-headers", b"")
            grants += [(b"access-control-allow-headers", wanted), (b"access-control-max-age", b"600")]
        else:
            grants.append((b"access-control-expose-headers", _EXPOSED))

        async def send_granted(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = list(message["headers"])
                allow = [(b"access-control-allow-methods", value) for name, value in headers if name == b"allow"]
                message["headers"] = [*headers, *grants, *allow]
            await send(message)

        await self._app(scope, receive, send_granted)
