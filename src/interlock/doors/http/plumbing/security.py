"""Before any route: is this request meant for us, and may this page talk to us?"""

from __future__ import annotations

import re
from functools import lru_cache

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from interlock.core.errors import ErrorKind, InterlockError
from interlock.doors.http.plumbing.pipeline import Pipeline
from interlock.doors.http.plumbing.replies import VARY
from interlock.doors.http.plumbing.settings import HttpSettings
from interlock.doors.http.plumbing.trace import EXCHANGE, Exchange
from interlock.kit.hosts import canonical, host_of, is_loopback

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

ANY_ORIGIN = "*"

_PAGE_OF_A_SERVER = re.compile(r"https?://([^/?#]+)")
_EXPOSED = (
    b"X-Request-ID, X-Trace-Id, X-Process-Time, ETag, Idempotency-Replayed, X-RateLimit-Limit, X-RateLimit-Remaining, "
    b"X-RateLimit-Reset, RateLimit, RateLimit-Policy, Retry-After, Mcp-Session-Id, WWW-Authenticate"
)


_REMOTE = InterlockError(ErrorKind.DENIED, "REMOTE_DENIED", "In local mode this server answers its own machine only")
_MISDIRECTED = InterlockError(ErrorKind.DENIED, "MISDIRECTED_REQUEST", "This server does not serve that host name")
_FOREIGN = InterlockError(ErrorKind.DENIED, "ORIGIN_DENIED", "Pages of this origin may not call this server")


class Guarded:
    """Checks who calls by which name from which page, answers preflights, and lets allowed pages read the answers.

    In local mode only this machine may call unless remote callers are allowed (403), only by loopback names and
    configured ones (421), and from no page but those of loopback, of this server itself, and configured ones (403).
    Outside local mode the configured names, if any, are the only ones (421). Answers that anybody may keep vary with
    the page, where pages differ.
    """

    def __init__(self, app: ASGIApp, settings: HttpSettings, pipeline: Pipeline) -> None:
        self._app = app
        self._is_local = settings.is_local
        self._allows_remote = settings.allows_remote or not settings.is_local
        self._hosts = frozenset(map(canonical, settings.allowed_hosts))
        self._any_host = not settings.is_local and not settings.allowed_hosts
        self._origins = frozenset(origin.lower() for origin in settings.allowed_origins)
        self._any_origin = ANY_ORIGIN in self._origins and not settings.is_local
        self._takes_cookies = settings.allows_cookies and not settings.is_local
        self._pipeline = pipeline

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await self._guard_socket(scope, receive, send)
            return
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        exchange: Exchange = scope[EXCHANGE]
        if not self._allows_remote and not self._is_near(exchange.client):
            await self._turn_away(_REMOTE, scope, receive, send)
            return
        if not self._any_host and not self._is_our_host(scope):
            await self._pipeline.refuse(_MISDIRECTED, 421, (), scope, receive, send)
            return
        origin = exchange.headers.get(b"origin")
        if origin is None:
            await self._app(scope, receive, send)
        elif self._is_allowed(origin, exchange.headers.get(b"host", b"")):
            await self._answer_page(origin, exchange, scope, receive, send)
        elif self._is_local:
            await self._turn_away(_FOREIGN, scope, receive, send)
        else:
            await self._app(scope, receive, send)

    async def _guard_socket(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The same for a handshake: a page may open a socket if it is an allowed one or of this server itself."""
        exchange: Exchange = scope[EXCHANGE]
        origin, host = exchange.headers.get(b"origin"), exchange.headers.get(b"host", b"")
        page = _PAGE_OF_A_SERVER.fullmatch(origin.decode("latin-1").lower()) if origin is not None else None
        is_own_page = page is not None and page[1] == host.decode("latin-1").lower()
        if not self._allows_remote and not self._is_near(exchange.client):
            await self._turn_away(_REMOTE, scope, receive, send)
        elif not self._any_host and not self._is_our_host(scope):
            await self._pipeline.refuse(_MISDIRECTED, 421, (), scope, receive, send)
        elif origin is not None and not is_own_page and not self._is_allowed(origin, host):
            await self._turn_away(_FOREIGN, scope, receive, send)
        else:
            await self._app(scope, receive, send)

    async def _turn_away(self, error: InterlockError, scope: Scope, receive: Receive, send: Send) -> None:
        await self._pipeline.turn_away(error, 403, scope, receive, send)

    def _is_near(self, client: str) -> bool:
        """Whether a peer is on this machine; one without an address came by a unix socket."""
        return not client or is_loopback(client)

    def _is_our_host(self, scope: Scope) -> bool:
        """Whether the request names exactly one host and that is one of ours."""
        named = [value for name, value in scope["headers"] if name == b"host"]
        host = _host(named[0]) if len(named) == 1 else ""
        return host in self._hosts or (self._is_local and is_loopback(host))

    def _is_allowed(self, value: bytes, host: bytes) -> bool:
        origin = value.decode("latin-1").lower()
        if self._any_origin or origin in self._origins:
            return True
        page = _PAGE_OF_A_SERVER.fullmatch(origin) if self._is_local else None
        if page is None:
            return False
        return is_loopback(host_of(page[1])) or page[1] == host.decode("latin-1").lower()

    async def _answer_page(self, origin: bytes, exchange: Exchange, scope: Scope, receive: Receive, send: Send) -> None:
        asked = exchange.headers.get(b"access-control-request-method")
        grants = [(b"access-control-allow-origin", b"*" if self._any_origin else origin)]
        if self._takes_cookies:
            grants.append((b"access-control-allow-credentials", b"true"))
        if asked is not None and scope["method"] == "OPTIONS":
            wanted = exchange.headers.get(b"access-control-request-headers", b"")
            grants += [(b"access-control-allow-headers", wanted), (b"access-control-max-age", b"600")]
        else:
            grants.append((b"access-control-expose-headers", _EXPOSED))

        async def send_granted(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = list(message["headers"])
                allow = [(b"access-control-allow-methods", value) for name, value in headers if name == b"allow"]
                vary = [] if self._any_origin or VARY in headers else [VARY]
                message["headers"] = [*headers, *grants, *allow, *vary]
            await send(message)

        await self._app(scope, receive, send_granted)


@lru_cache(maxsize=1024)
def _host(value: bytes) -> str:
    return host_of(value.decode("latin-1"))
