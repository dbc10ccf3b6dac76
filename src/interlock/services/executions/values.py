"""The bytes of single values of an execution, for who wants these and not all the JSON around them."""

from __future__ import annotations

import base64
import hashlib
import re
from binascii import Error
from collections.abc import Sequence
from typing import Any
from uuid import UUID

import msgspec

from interlock.core.binary import BINARY, BYTES
from interlock.core.errors import InterlockError, not_found
from interlock.core.parcel import JSON
from interlock.core.principal import Principal, Scope
from interlock.ports.blobs import Blobs
from interlock.ports.store import EventRecord, Store
from interlock.services.executions.access import unknown_execution
from interlock.services.executions.large import whole_fields

_SHA256 = re.compile("[0-9a-f]{64}")
_NEAREST = 20
"""Events with a digest in them that are looked at: it may be named where its value is not."""


class StoredValue(msgspec.Struct, frozen=True):
    """Bytes and what they are."""

    content: bytes
    content_type: str


class ReadValues:
    """Finds values by the SHA-256 that callers were shown of them."""

    def __init__(self, store: Store, blobs: Blobs) -> None:
        self._store = store
        self._blobs = blobs

    async def __call__(self, principal: Principal, execution_id: UUID, sha256: str) -> StoredValue:
        """The bytes of a ``$binary`` of this execution, or the JSON of a value that was omitted.

        Raises DENIED, NOT_FOUND, UNAVAILABLE.
        """
        principal.require(Scope.EXECUTIONS_READ)
        if not _SHA256.fullmatch(sha256):
            raise _unknown(sha256)
        records = await self._naming(principal, execution_id, sha256)
        if any(sha256 in (record.refs or {}).values() for record in records):
            return StoredValue(await self._blobs.get(principal.tenant_id, sha256), JSON)
        for record in records:
            for value in (await whole_fields(self._blobs, principal.tenant_id, record)).values():
                if (found := _bytes_in(value, sha256)) is not None:
                    return found
        raise _unknown(sha256)

    async def _naming(self, principal: Principal, execution_id: UUID, sha256: str) -> Sequence[EventRecord]:
        async with self._store.transaction(principal, read_only=True) as transaction:
            if await transaction.execution(execution_id) is None:
                raise unknown_execution(execution_id)
            return await transaction.events_naming(execution_id, sha256, _NEAREST)


def _bytes_in(value: Any, sha256: str) -> StoredValue | None:
    """The bytes with this digest in a field of an event."""
    if type(value) is not dict:
        return None
    inner = value.get(BINARY)
    if type(inner) is dict and inner.get("sha256") == sha256:
        content = _decoded(inner.get("base64"))
        if hashlib.sha256(content).hexdigest() == sha256:  # who sends one may say anything
            return StoredValue(content, str(inner.get("content_type", BYTES)))
    return next((found for item in value.values() if (found := _bytes_in(item, sha256)) is not None), None)


def _decoded(text: Any) -> bytes:
    try:
        return base64.b64decode(msgspec.json.decode(text) if type(text) is msgspec.Raw else text, validate=True)
    except (Error, ValueError, TypeError):
        return b""


def _unknown(sha256: str) -> InterlockError:
    return not_found("NOT_FOUND", f"The execution has no value with the SHA-256 {sha256[:64]!r}")
