"""A small keep-alive HTTP/1.1 client: a load generator must cost far less CPU than the server it measures."""

from __future__ import annotations

import asyncio
from typing import cast

import httptools


class ConnectionGone(Exception):
    """The server closed the connection before it had answered."""


class Connection(asyncio.Protocol):
    """One keep-alive connection that carries one request at a time. Not for two tasks at once."""

    def __init__(self, head: bytes) -> None:
        self._head = head
        self._answer: asyncio.Future[tuple[int, bytes]] | None = None
        self._body = bytearray()
        self._parser = httptools.HttpResponseParser(self)

    @classmethod
    async def open(cls, port: int, headers: dict[str, str]) -> Connection:
        """Connect to a port of the loopback address; `headers` go with every request."""
        lines = {"Host": f"127.0.0.1:{port}", "Content-Type": "application/json", **headers}
        head = "".join(f"{name}: {value}\r\n" for name, value in lines.items()).encode()
        loop = asyncio.get_running_loop()
        return (await loop.create_connection(lambda: cls(head), "127.0.0.1", port))[1]

    @property
    def closed(self) -> bool:
        """Whether either side has hung up."""
        return self._transport.is_closing()

    async def post(self, path: str, body: bytes) -> tuple[int, bytes]:
        """Send one POST and return status and body. ConnectionGone if the server hangs up first."""
        self._answer = asyncio.get_running_loop().create_future()
        head = b"POST %b HTTP/1.1\r\n%bContent-Length: %d\r\n\r\n" % (path.encode(), self._head, len(body))
        self._transport.write(head + body)
        return await self._answer

    def close(self) -> None:
        """Close the connection."""
        self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def connection_lost(self, error: Exception | None) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(ConnectionGone(f"the server closed the connection before it answered ({error})"))

    def on_body(self, part: bytes) -> None:
        """Called by the parser for each piece of the body."""
        self._body += part

    def on_message_complete(self) -> None:
        """Called by the parser at the end of an answer."""
        status, body = self._parser.get_status_code(), bytes(self._body)
        self._body.clear()
        if self._answer is not None and not self._answer.done():
            self._answer.set_result((status, body))
