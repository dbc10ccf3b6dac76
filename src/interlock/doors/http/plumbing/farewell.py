"""A request that the server has no time left for is told so, instead of that something broke."""

from __future__ import annotations

import asyncio

from starlette.types import ASGIApp, Receive, Scope, Send

from interlock.doors.http.plumbing.sending import Answering

_BODY = (
    b'{"type":"about:blank","title":"Service Unavailable","status":503,"code":"SERVICE_UNAVAILABLE",'
    b'"detail":"This server is stopping; send the request again"}'
)
_HEADERS = [
    (b"content-type", b"application/problem+json"),
    (b"content-length", b"%d" % len(_BODY)),
    (b"cache-control", b"no-store"),
    (b"x-content-type-options", b"nosniff"),
    (b"retry-after", b"1"),
    (b"connection", b"close"),
]


class Farewell:
    """Answers 503 for a request that is broken off at the end of the grace time, if its answer has not begun."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self._app(scope, receive, send)
        except asyncio.CancelledError:
            answering = getattr(send, "__self__", None)
            if not isinstance(answering, Answering) or answering.response_started:
                raise
            await send({"type": "http.response.start", "status": 503, "headers": _HEADERS})
            await send({"type": "http.response.body", "body": _BODY, "more_body": False})
