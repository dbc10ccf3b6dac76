"""Reading an answer's body up to a limit that counts what the caller would have to keep: inflated bytes."""

from __future__ import annotations

import zlib

from interlock.backends.egress.answer import Answer
from interlock.backends.egress.failures import unreadable

_GZIP_OR_ZLIB = zlib.MAX_WBITS | 32
_INFLATABLE = frozenset(("gzip", "x-gzip", "deflate"))


async def read_body(answer: Answer, max_bytes: int) -> tuple[bytes, bool]:
    """Return at most ``max_bytes`` of the body, and whether there was more.

    A compressed body (sent although identity was asked for) is inflated no further than the limit or the end of
    its first gzip member, and little more than ``max_bytes`` of it are received. Raises EXTERNAL_SERVICE_ERROR for a
    body in another or a broken encoding.
    """
    if answer.encoding == "identity":
        return await _read_plain(answer, max_bytes)
    if answer.encoding in _INFLATABLE:
        return await _read_compressed(answer, max_bytes)
    if await answer.next():
        raise unreadable(f"in the encoding {answer.encoding[:40]!r}, which was not asked for")
    return b"", False


async def _read_plain(answer: Answer, max_bytes: int) -> tuple[bytes, bool]:
    body = bytearray()
    while piece := await answer.next():
        body += piece
        if len(body) > max_bytes:
            return bytes(body[:max_bytes]), True
    return bytes(body), False


async def _read_compressed(answer: Answer, max_bytes: int) -> tuple[bytes, bool]:
    body = bytearray()
    received = 0
    inflate = zlib.decompressobj(_GZIP_OR_ZLIB)
    while piece := await answer.next():
        received += len(piece)
        try:
            body += inflate.decompress(piece, max_bytes + 1 - len(body))
        except zlib.error as error:
            raise unreadable("that cannot be inflated") from error
        if len(body) > max_bytes or received > max_bytes or inflate.unused_data:
            return bytes(body[:max_bytes]), True
    if received and not inflate.eof:
        raise unreadable("whose compressed body ends too early")
    return bytes(body), False
