"""Answers that are known whole before they are sent."""

from __future__ import annotations

from typing import Any

from starlette.types import Receive, Scope, Send

from interlock.kit import strict_json

Headers = tuple[tuple[bytes, bytes], ...]


class BytesReply:
    """A body of any type. ``no_store`` is for what nobody may keep; other answers are the caller's own."""

    __slots__ = ("body", "headers", "media_type", "status")

    def __init__(self, body: bytes, *, media_type: str, status: int = 200, headers: Headers = ()) -> None:
        self.body = body
        self.media_type = media_type
        self.status = status
        self.headers = headers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = [
            (b"content-type", self.media_type.encode()),
            (b"content-length", b"%d" % len(self.body)),
            *self.headers,
        ]
        await send({"type": "http.response.start", "status": self.status, "headers": headers})
        body = b"" if scope["method"] == "HEAD" else self.body
        await send({"type": "http.response.body", "body": body, "more_body": False})


PRIVATE: Headers = ((b"cache-control", b"private, no-cache"),)
"""Answers to a credential: shared caches keep them out, browsers ask again."""

NO_STORE: Headers = ((b"cache-control", b"no-store"),)
"""Errors and secrets: nobody keeps them."""


VARY = (b"vary", b"Origin")
"""On answers that caches may keep for everybody: a page of a listed origin gets headers that others do not."""


class JsonReply(BytesReply):
    """``value`` as JSON; structs are written by their fields."""

    __slots__ = ()

    def __init__(self, value: Any, *, status: int = 200, headers: Headers = PRIVATE, media_type: str = "") -> None:
        body = strict_json.encode(value)
        super().__init__(body, media_type=media_type or "application/json", status=status, headers=headers)


class EmptyReply:
    """A status without a body: 204, 304 or a redirect."""

    __slots__ = ("headers", "status")

    def __init__(self, status: int, headers: Headers = ()) -> None:
        self.status = status
        self.headers = headers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = list(self.headers) if self.status in (204, 304) else [(b"content-length", b"0"), *self.headers]
        await send({"type": "http.response.start", "status": self.status, "headers": headers})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


WHOLE = (BytesReply, EmptyReply)
"""What is known whole: its status says how the call ended, before anything is sent."""
