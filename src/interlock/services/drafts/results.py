"""The results of tasks that are too large for the log."""

from __future__ import annotations

import msgspec

from interlock.ports.blobs import Blobs
from interlock.ports.store import EventRecord, ExecutionRow


class ReadResults:
    """Fetches what an event only refers to."""

    def __init__(self, blobs: Blobs) -> None:
        self._blobs = blobs

    async def __call__(self, row: ExecutionRow, record: EventRecord, field: str) -> msgspec.Raw | None:
        """The JSON of a field of an event of ``row``, which its reader was shown; None if the event has it itself.

        Raises NOT_FOUND once it was purged.
        """
        sha256 = (record.refs or {}).get(field)
        return None if sha256 is None else msgspec.Raw(await self._blobs.get(row.tenant_id, sha256))
