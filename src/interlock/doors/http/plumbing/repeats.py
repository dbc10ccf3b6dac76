"""Requests that are, byte for byte, those refused a moment ago: nobody need read their heads again to refuse them.

Whoever sends more than can be done sends mostly the same: one head with other bodies, or the same start again.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

What = TypeVar("What")

KEPT_SECONDS = 1.0
MOST = 4_096
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
    """The heads of requests that were refused, by the address they came from. ``now`` is monotonic seconds."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[str, bytes], Repeat[What]] = OrderedDict()  # oldest first

    def keep(
        self,
        address: str,
        data: bytes,
        headers: Sequence[tuple[bytes, bytes]],
        what: What,
        now: float,
        *,
        has_key: bool,
    ) -> None:
        """Keep the head of a request that began with ``data``, if that says alone how long the request is."""
        head = data[: data.find(_END) + len(_END)]
        size = _size(headers)
        if size is None or len(head) > LONGEST or not _is_plain(head, len(headers)):
            return
        mark = address, head
        self._kept.pop(mark, None)
        self._kept[mark] = Repeat(what, size, now + KEPT_SECONDS, has_key)
        if len(self._kept) > MOST:
            self._kept.popitem(last=False)

    def find(self, address: str, data: bytes, now: float) -> Repeat[What] | None:
        """What was refused like ``data``, if that is one whole request; None for anything else."""
        if not self._kept:
            return None
        end = data.find(_END) + len(_END)
        mark = address, data[:end]
        repeat = self._kept.get(mark)
        if repeat is None or len(data) != end + repeat.size:
            return None
        if now >= repeat.until:
            del self._kept[mark]
            return None
        return repeat


def _is_plain(head: bytes, count: int) -> bool:
    """Whether a head is a line for the request, one for each header, and an empty one: it ends where it seems to."""
    return head.count(b"\r\n") == head.count(b"\n") == count + 2


def _size(headers: Sequence[tuple[bytes, bytes]]) -> int | None:
    """The bytes of a body by its head alone; None if that does not say it."""
    sizes = [value for name, value in headers if name == b"content-length"]
    if len(sizes) > 1 or any(name in _CLOSER_LOOK for name, _ in headers):
        return None
    return int(sizes[0]) if sizes and sizes[0].isdigit() else None if sizes else 0
