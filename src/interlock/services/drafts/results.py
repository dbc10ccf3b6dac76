"""The results of tasks that are too large for the log."""

from __future__ import annotations

from typing import Any

from interlock.ports.blobs import Blobs
from interlock.ports.store import EventRecord, ExecutionRow
from interlock.services.executions.large import whole_fields
from interlock.services.executions.shown import with_lists


class ReadResults:
    """Fetches what an event only refers to."""

    def __init__(self, blobs: Blobs) -> None:
        self._blobs = blobs

    async def __call__(self, row: ExecutionRow, record: EventRecord, field: str) -> Any:
        """A field of an event of ``row``, which its reader was shown, with its large values in place as their JSON.

        Arrays are lists. Raises NOT_FOUND once it was purged.
        """
        return await with_lists((await whole_fields(self._blobs, row.tenant_id, record)).get(field))
