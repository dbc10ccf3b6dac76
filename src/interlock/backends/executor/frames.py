"""Messages on a stream of bytes, each behind four bytes that give its length, most significant first."""

from __future__ import annotations

HEADER = 4
"""Bytes of the length."""


def framed(body: bytes) -> bytes:
    """A message with its length in front."""
    return len(body).to_bytes(HEADER, "big") + body


class FrameTooLarge(Exception):
    """The other side announces more than one message may have: it is not who it should be."""

    def __init__(self, length: int) -> None:
        super().__init__(f"a message of {length:,} bytes")


class Frames:
    """Cuts what comes into messages of at most ``most`` bytes."""

    __slots__ = ("_begin", "_most", "_unread")

    def __init__(self, most: int) -> None:
        self._most = most
        self._unread = bytearray()
        self._begin = 0

    def feed(self, data: bytes) -> None:
        """What came next."""
        self._unread += data

    def take(self) -> bytes | None:
        """The next message; None until all of it is there. Raises FrameTooLarge."""
        begin = self._begin + HEADER
        if len(self._unread) >= begin:
            length = int.from_bytes(self._unread[self._begin : begin], "big")
            if length > self._most:
                raise FrameTooLarge(length)
            end = begin + length
            if len(self._unread) >= end:
                self._begin = end
                with memoryview(self._unread) as view:
                    return bytes(view[begin:end])
        del self._unread[: self._begin]
        self._begin = 0
        return None
