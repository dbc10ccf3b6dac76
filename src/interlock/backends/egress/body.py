"""Reading an answer's body up to a limit that counts what the caller would have to keep: inflated bytes."""

from __future__ import annotations

import zlib

import aiohttp

from interlock.core.errors import ErrorKind, InterlockError

_PIECE = 16_384  # bytes as received
_GZIP_OR_ZLIB = zlib.MAX_WBITS | 32
_INFLATABLE = frozenset(("gzip", "x-gzip", "deflate"))


async def read_body(response: aiohttp.ClientResponse, max_bytes: int) -> tuple[bytes, bool]:
    """Return at most ``max_bytes`` of the body, and whether there was more.

    A compressed body (sent although identity was asked for) is inflated no further than the limit or the end of
    its first gzip member, and no more than ``max_bytes`` of it are received. Raises EXTERNAL_SERVICE_ERROR for a
    body in another or a broken encoding.
    """
    encoding = response.headers.get("Content-Encoding", "identity").strip().lower()
    if encoding in ("", "identity"):
        return await _read_plain(response, max_bytes)
    if encoding in _INFLATABLE:
        return await _read_compressed(response, max_bytes)
    if await response.content.read(1):
        raise _unreadable(f"in the encoding {encoding[:40]!r}, which was not asked for")
    return b"", False


async def _read_plain(response: aiohttp.ClientResponse, max_bytes: int) -> tuple[bytes, bool]:
    body = bytearray()
    async for piece in response.content.iter_chunked(_PIECE):
        body += piece
        if len(body) > max_bytes:
            return bytes(body[:max_bytes]), True
    return bytes(body), False


async def _read_compressed(response: aiohttp.ClientResponse, max_bytes: int) -> tuple[bytes, bool]:
    body = bytearray()
    received = 0
    inflate = zlib.decompressobj(_GZIP_OR_ZLIB)
    async for piece in response.content.iter_chunked(_PIECE):
        received += len(piece)
        try:
            body += inflate.decompress(piece, max_bytes + 1 - len(body))
        except zlib.error as error:
            raise _unreadable("that cannot be inflated") from error
        if len(body) > max_bytes or received > max_bytes or inflate.unused_data:
            return bytes(body[:max_bytes]), True
    if received and not inflate.eof:
        raise _unreadable("whose compressed body ends too early")
    return bytes(body), False


def _unreadable(what: str) -> InterlockError:
    return InterlockError(ErrorKind.EXTERNAL, "EXTERNAL_SERVICE_ERROR", f"The server gave an answer {what}.")
