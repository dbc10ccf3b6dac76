"""Fetch what was too large for the log, within bounds."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from interlock.core.large import field_of, omitted, put
from interlock.ports.blobs import Blobs
from interlock.ports.store import EventRecord

MAX_SHOWN = 8 << 20
"""Bytes of large values fetched for one answer; further ones are shown as omitted."""
MAX_WHOLE = 16 << 20
"""Bytes of large values that one event is shown with."""


async def large_values(blobs: Blobs, tenant_id: str, records: Iterable[EventRecord]) -> dict[str, Any]:
    """The large values of these events by SHA-256, decoded, until ``MAX_SHOWN`` bytes are reached."""
    found: dict[str, Any] = {}
    size = 0
    for sha256 in dict.fromkeys(sha256 for record in records if record.refs for sha256 in record.refs.values()):
        if size >= MAX_SHOWN:
            break
        content = await blobs.get(tenant_id, sha256)
        size += len(content)
        found[sha256] = msgspec.json.decode(content)
    return found


async def whole_fields(blobs: Blobs, tenant_id: str, record: EventRecord) -> dict[str, Any]:
    """The fields of an event with its large values in place, up to ``MAX_WHOLE`` bytes; further ones are omitted.

    They are the JSON that was stored (``msgspec.Raw``): to be shown they need not be read.
    """
    fields: dict[str, Any] = msgspec.json.decode(record.data)
    size = 0
    for path, sha256 in (record.refs or {}).items():
        content = await blobs.get(tenant_id, sha256) if size < MAX_WHOLE else b""
        size += len(content)
        value = msgspec.Raw(content) if content and size <= MAX_WHOLE else omitted(sha256)
        fields[field_of(path)] = put(fields.get(field_of(path)), path, value)
    return fields
