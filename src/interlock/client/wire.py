"""HTTP/1.1 as text: the request that is sent, and the head of the answer that comes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from interlock.client.address import Address
from interlock.client.errors import ConnectionLost
from interlock.client.requests import Request

HEAD_ENDS = b"\r\n\r\n"
MAX_HEAD = 65_536
MAX_BODY = 64 * 1_048_576


@dataclass(frozen=True)
class Head:
    """Status and headers of an answer; the names of the headers are in lower case."""

    status: int
    headers: Mapping[str, str]

    @property
    def is_chunked(self) -> bool:
        """Whether its body comes in chunks."""
        return "chunked" in self.headers.get("transfer-encoding", "").lower()

    @property
    def length(self) -> int | None:
        """Bytes of its body; None if only the end of the connection tells. Raises ConnectionLost."""
        told = self.headers.get("content-length")
        if told is None:
            return 0 if self.status in (101, 204, 304) else None
        if not told.isdigit() or int(told) > MAX_BODY:
            raise ConnectionLost(f"The answer has a body of {told[:20]!r} bytes")
        return int(told)

    @property
    def stays_open(self) -> bool:
        """Whether another request can follow on the same connection."""
        ends = self.headers.get("connection", "").lower() == "close"
        return not ends and (self.is_chunked or "content-length" in self.headers)


def request_bytes(address: Address, request: Request) -> bytes:
    """The whole request."""
    content = request.content()
    lines = [
        f"POST {address.prefix}{request.path} HTTP/1.1",
        f"Host: {address.authority}",
        "Accept: application/json",
        "Content-Type: application/json",
        f"Content-Length: {len(content)}",
        *(f"{name}: {value}" for name, value in {**address.headers, **request.headers}.items()),
    ]
    return "\r\n".join(lines).encode() + HEAD_ENDS + content


def read_head(text: bytes) -> Head:
    """The head of an answer, up to and with the empty line. Raises ConnectionLost."""
    first, *lines = text.decode("latin-1").split("\r\n")
    parts = first.split(" ", 2)
    if len(parts) < 2 or not parts[0].startswith("HTTP/1.") or not parts[1].isdigit():
        raise ConnectionLost(f"This is no HTTP server: {first[:80]!r}")
    headers = {}
    for line in filter(None, lines):
        name, _, value = line.partition(":")
        headers[name.strip().lower()] = value.strip()
    return Head(int(parts[1]), headers)
