"""Parcels on their way into sandboxes and out of them: fetched before an attempt, stored before its result is told."""

from __future__ import annotations

from collections import OrderedDict

import msgspec

from interlock.backends.executor.sandbox.limits import MIB
from interlock.core.code import ARGUMENTS
from interlock.core.commands import TaskSucceeded
from interlock.core.parcel import Packed, Parcel, exchange, find
from interlock.ports.blobs import Blobs
from interlock.ports.node import Attempt

KEPT = 64 * MIB
"""Bytes that a server remembers: what one task gives the next one mostly wants at once."""


class Parcels:
    """Opens and closes parcels over a store of blobs."""

    def __init__(self, blobs: Blobs, most: int = KEPT) -> None:
        self._blobs = blobs
        self._most = most
        self._kept: OrderedDict[tuple[str, str], bytes] = OrderedDict()
        self._bytes = 0

    def are_here(self, attempt: Attempt) -> bool:
        """Whether nothing has to be fetched for an attempt."""
        return all((attempt.tenant_id, parcel.sha256) in self._kept for parcel in _parcels(attempt))

    async def open(self, attempt: Attempt) -> Attempt:
        """The attempt with the bytes of its arguments. Raises NOT_FOUND, UNAVAILABLE."""
        return self._opened(attempt, {one.sha256: await self._get(attempt.tenant_id, one) for one in _parcels(attempt)})

    def open_now(self, attempt: Attempt) -> Attempt:
        """The same for one of which everything is here."""
        tenant_id = attempt.tenant_id
        for parcel in _parcels(attempt):
            self._kept.move_to_end((tenant_id, parcel.sha256))
        return self._opened(attempt, {one.sha256: self._kept[tenant_id, one.sha256] for one in _parcels(attempt)})

    async def store(self, attempt: Attempt, result: TaskSucceeded) -> TaskSucceeded:
        """The result with parcels for what is packed in it; their bytes are durable. Raises UNAVAILABLE."""
        made: dict[int, Parcel] = {}
        for _, packed in find(result.output, Packed):
            sha256 = await self._blobs.put(attempt.tenant_id, packed.content)
            made[id(packed)] = Parcel(sha256, len(packed.content), packed.content_type)
            self._keep((attempt.tenant_id, sha256), packed.content)
        return msgspec.structs.replace(result, output=exchange(result.output, Packed, lambda one: made[id(one)]))

    async def _get(self, tenant_id: str, parcel: Parcel) -> bytes:
        key = tenant_id, parcel.sha256
        content = self._kept.get(key)
        if content is None:
            content = await self._blobs.get(*key)
            self._keep(key, content)
        return content

    def _keep(self, key: tuple[str, str], content: bytes) -> None:
        self._bytes += len(content) - len(self._kept.pop(key, b""))
        self._kept[key] = content
        while self._bytes > self._most:
            self._bytes -= len(self._kept.popitem(last=False)[1])

    def _opened(self, attempt: Attempt, contents: dict[str, bytes]) -> Attempt:
        if not contents:
            return attempt
        arguments = exchange(
            attempt.parameters[ARGUMENTS], Parcel, lambda one: Packed(contents[one.sha256], one.content_type)
        )
        return msgspec.structs.replace(attempt, parameters={**attempt.parameters, ARGUMENTS: arguments})


def size_of(result: TaskSucceeded) -> int:
    """Bytes of what is to be stored before a result is told."""
    return sum(len(packed.content) for _, packed in find(result.output, Packed))


def has_packed(result: TaskSucceeded) -> bool:
    """Whether there is something to store before a result is told."""
    return next(find(result.output, Packed), None) is not None


def _parcels(attempt: Attempt) -> list[Parcel]:
    if not attempt.packs:
        return []
    return [parcel for _, parcel in find(attempt.parameters.get(ARGUMENTS), Parcel)]
