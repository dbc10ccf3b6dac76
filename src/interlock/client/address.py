"""Where a server is, and what every request to it carries."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from interlock.client.errors import InterlockClientError

AGENT = "interlock-client"


@dataclass(frozen=True)
class Address:
    """The parts of a server's URL, and the headers of every request."""

    host: str
    port: int
    is_secure: bool
    prefix: str
    shown: str
    headers: Mapping[str, str] = field(repr=False)
    context: ssl.SSLContext | None = field(repr=False, default=None)

    @property
    def authority(self) -> str:
        """For the header ``Host``."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.is_secure else 80) else f"{host}:{self.port}"


def address_of(url: str, token: str | None, context: ssl.SSLContext | None) -> Address:
    """The address in a URL such as ``https://flows.example.com``. Raises InterlockClientError."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise InterlockClientError(f"{url!r} is no address of a server: {error}") from error
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise InterlockClientError(f"{url!r} is no address of a server; it looks like http://127.0.0.1:8000")
    if token is not None and not (token.isascii() and token.isprintable() and token):
        raise InterlockClientError("The token is no token: it must be printable ASCII")
    is_secure = parts.scheme == "https"
    headers = {"User-Agent": AGENT, **({"Authorization": f"Bearer {token}"} if token is not None else {})}
    return Address(
        host=parts.hostname,
        port=port or (443 if is_secure else 80),
        is_secure=is_secure,
        prefix=parts.path.rstrip("/"),
        shown=f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}",
        headers=headers,
        context=(context or ssl.create_default_context()) if is_secure else None,
    )
