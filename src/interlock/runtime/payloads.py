"""Large fields of events: they are kept as blobs, and the event's row refers to them."""

from __future__ import annotations

from typing import Any

import msgspec

from interlock.core.events import Event, Recorded, encode_data
from interlock.ports.blobs import Blobs
from interlock.ports.ledger import Loaded

MAX_INLINE = 64 * 1024
"""Bytes of an encoded event above which its largest fields become blobs."""
_LARGE = ("output", "input", "blackboard", "payload", "data", "request", "value")


class Externalised(msgspec.Struct):
    """An encoded event without its large fields, and these as blobs still to be stored."""

    data: bytes
    blobs: dict[str, bytes]


def externalise(event: Event, encoded: bytes) -> Externalised:
    """Take fields out, the largest first, until the rest fits inline."""
    blobs: dict[str, bytes] = {}
    sizes = {
        name: msgspec.json.encode(getattr(event, name))
        for name in _LARGE
        if name in event.__struct_fields__ and getattr(event, name) is not None
    }
    for name in sorted(sizes, key=lambda key: len(sizes[key]), reverse=True):
        if len(encoded) <= MAX_INLINE:
            break
        blobs[name] = sizes[name]
        empty: Any = {} if isinstance(getattr(event, name), dict) and name == "blackboard" else None
        event = msgspec.structs.replace(event, **{name: empty})
        encoded = encode_data(event)
    return Externalised(encoded, blobs)


async def internalise(loaded: Loaded, blobs: Blobs) -> list[Recorded]:
    """The events of a loaded execution with their large fields back in place."""
    if not loaded.refs:
        return loaded.events
    return [
        await _restore(loaded.tenant_id, record, loaded.refs[record.seq], blobs)
        if record.seq in loaded.refs
        else record
        for record in loaded.events
    ]


async def _restore(tenant_id: str, record: Recorded, refs: dict[str, str], blobs: Blobs) -> Recorded:
    fields = {name: msgspec.json.decode(await blobs.get(tenant_id, sha256)) for name, sha256 in refs.items()}
    return Recorded(record.seq, record.at, record.trace_id, msgspec.structs.replace(record.event, **fields))
