"""Requests that are, byte for byte, those refused a moment ago: nobody need read their heads again to refuse them.

Whoever sends more than can be done sends mostly the same: one head with other bodies, or the same start again.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Generic, TypeVar

What = TypeVar("What")

MOST = 4_096
"""Heads that are kept."""
LONGEST = 2_048
"""Bytes of the longest head that is kept."""

_END = b"\r\n\r\n"
_CLOSER_LOOK = frozenset({b"transfer-encoding", b"expect", b"upgrade"})
"""What follows such a head is not as long as the head says, or not a body."""


@dataclass(frozen=True, slots=True)
class Repeat(Generic[What]):
    """What a head was refused as, and the bytes of the body behind it."""

    what: What
    size: int
    until: float
    has_key: bool


class Repeats(Generic[What]):
    """Digests of the heads of refused requests, by the address they came from. Times are monotonic seconds."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[str, bytes], Repeat[What]] = OrderedDict()  # the first to come was kept first

    def keep(
        self,
        address: str,
        data: bytes,
        headers: Sequence[tuple[bytes, bytes]],
        what: What,
        until: float,
        *,
        has_key: bool,
    ) -> None:
        """Keep the head of a request that began with ``data``, if that says alone how long the request is."""
        head, size = _head_of(data), _size(headers)
        if head is None or size is None or not _is_plain(head, len(headers)):
            return
        mark = _mark(address, head)
        self._kept.pop(mark, None)
        self._kept[mark] = Repeat(what, size, until, has_key)
        if len(self._kept) > MOST:
            self._kept.popitem(last=False)

    def find(self, address: str, data: bytes, now: float) -> Repeat[What] | None:
        """What was refused like ``data``, if that is one whole request; None for anything else."""
        while self._kept and now >= next(iter(self._kept.values())).until:
            self._kept.popitem(last=False)
        head = _head_of(data) if self._kept else None
        if head is None:
            return None
        repeat = self._kept.get(_mark(address, head))
        if repeat is None or now >= repeat.until or len(data) != len(head) + repeat.size:
            return None
        return repeat


def _mark(address: str, head: bytes) -> tuple[str, bytes]:
    """A head holds a credential, which is not kept."""
    return address, blake2b(head, digest_size=16).digest()


def _head_of(data: bytes) -> bytes | None:
    """What comes before a body; None if it does not end here, or is too long."""
    end = data.find(_END, 0, LONGEST)
    return data[: end + len(_END)] if end >= 0 else None


def _is_plain(head: bytes, count: int) -> bool:
    """Whether a head is a line for the request, one for each header, and an empty one: it ends where it seems to."""
    return head.count(b"\r\n") == head.count(b"\n") == count + 2


def _size(headers: Sequence[tuple[bytes, bytes]]) -> int | None:
    """The bytes of a body by its head alone; None if that does not say it."""
    sizes = [value for name, value in headers if name == b"content-length"]
    if len(sizes) > 1 or any(name in _CLOSER_LOOK for name, _ in headers):
        return None
    if not sizes:
        return 0
    return int(sizes[0]) if sizes[0].isdigit() else None
