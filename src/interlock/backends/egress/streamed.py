"""An answer that is handed on while it comes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping

import aiohttp

from interlock.core.errors import ErrorKind, InterlockError


class StreamedAnswer:
    """Satisfies ``ports/egress.EgressAnswer``. ``idle`` is seconds; ``explain`` words a failure of the connection."""

    __slots__ = ("_explain", "_idle", "_response")

    def __init__(
        self, response: aiohttp.ClientResponse, idle: float, explain: Callable[[aiohttp.ClientError], InterlockError]
    ) -> None:
        self._response = response
        self._idle = idle
        self._explain = explain

    @property
    def status(self) -> int:
        return self._response.status

    @property
    def headers(self) -> Mapping[str, str]:
        return {name.lower(): value for name, value in self._response.headers.items()}

    async def read(self, max_bytes: int) -> bytes:
        """The whole body, if it is not longer than ``max_bytes``."""
        body = bytearray()
        async for piece in self.pieces():
            body += piece
            if len(body) > max_bytes:
                raise _failed(f"The answer has more than {max_bytes} bytes.")
        return bytes(body)

    async def pieces(self) -> AsyncIterator[bytes]:
        """What has come, each time that something comes."""
        if self._response.headers.get("Content-Encoding", "identity").lower() != "identity":
            raise _failed("The answer is compressed, which was not asked for.")
        while piece := await self._next():
            yield piece

    async def _next(self) -> bytes:
        content = self._response.content
        try:
            if (piece := content.read_nowait()) or content.at_eof():
                return piece  # it is here already, and no clock is needed
            async with asyncio.timeout(self._idle):
                return await content.readany()
        except TimeoutError as error:
            message = f"The answer stopped for {self._idle:g} seconds."
            raise InterlockError(ErrorKind.TIMEOUT, "TIMEOUT", message) from error
        except aiohttp.ClientError as error:
            raise self._explain(error) from error


def _failed(message: str) -> InterlockError:
    return InterlockError(ErrorKind.EXTERNAL, "EXTERNAL_SERVICE_ERROR", message)
