"""Entries whose blobs must be durable before they are sent, and those behind them."""

from __future__ import annotations

import asyncio
from collections import deque

import structlog

from interlock.ports.blobs import Blobs
from interlock.runtime.journal import Journal
from interlock.runtime.owned import Owned
from interlock.runtime.record import Recording

log = structlog.get_logger("storing")


class Storing:
    """Stores blobs in the background and sends the entries of an execution in their order."""

    def __init__(self, journal: Journal, blobs: Blobs) -> None:
        self._journal = journal
        self._blobs = blobs
        self._under_way: set[asyncio.Task[None]] = set()

    def begin(self, owned: Owned, recording: Recording) -> None:
        """Send this entry once its blobs are stored; until then others of its execution queue in ``backlog``."""
        owned.backlog = deque([recording])
        task = asyncio.create_task(self._send_backlog(owned, owned.backlog))
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)

    async def _send_backlog(self, owned: Owned, backlog: deque[Recording]) -> None:
        """Entries one after the other, each behind its blobs; what cannot be stored is refused with all behind it."""
        try:
            while backlog:
                for content in backlog[0].blobs:
                    await self._blobs.put(owned.tenant_id, content)
                self._journal.submit(backlog.popleft().entry)
        except Exception as error:
            log.exception("storing.failed", execution_id=str(owned.execution.execution_id))
            for recording in backlog:
                recording.entry.refused(recording.entry, error)
        finally:
            owned.backlog = None
