"""Removes blobs and code that nothing refers to any more.

A blob is stored before what refers to it is committed, so one that nothing refers to may be wanted in a moment. What
was stored lately is therefore left alone: blobs for longer than any attempt may take, since an attempt may store a blob
at its beginning and name it at its end; code for longer than any request takes.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta

import structlog

from interlock.core.definition.limits import MAX_DURATION
from interlock.kit.clock import Clock
from interlock.ports.blobs import BlobStore, StoredBlob
from interlock.ports.sweeping import CodePlace, References

BLOB_AGE = timedelta(seconds=MAX_DURATION) + timedelta(days=1)
CODE_AGE = timedelta(days=1)
SECONDS = 3600.0
PAGE = 200
PAGES = 50
"""Of each kind in a round; the next one goes on where it ended."""
_START = CodePlace("", "")

log = structlog.get_logger("sweeping")


class Sweeping:
    """Hourly rounds; any number of processes may make them at once."""

    def __init__(self, blobs: BlobStore, references: References, clock: Clock) -> None:
        self._blobs = blobs
        self._references = references
        self._clock = clock
        self._blobs_after = ""
        self._code_after = _START
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin; the first round is in an hour, so that a start is not held up by it."""
        self._task = asyncio.create_task(self._run(), name="sweeping")

    async def stop(self) -> None:
        """End."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(SECONDS)
            try:
                blobs, code = await self.sweep_blobs(), await self.sweep_code()
            except Exception as error:  # noqa: BLE001 - chores are tried again; the stores may be away
                log.warning("sweeping.failed", reason=f"{type(error).__name__}: {error}"[:300])
            else:
                if blobs or code:
                    log.info("sweeping.removed", blobs=blobs, code=code)

    async def sweep_blobs(self) -> int:
        """Remove blobs that nothing refers to and that were last stored ``BLOB_AGE`` ago; how many are gone.

        At most ``PAGE`` times ``PAGES`` are looked at. Raises what the stores raise.
        """
        gone, before = 0, self._clock.now() - BLOB_AGE
        for _ in range(PAGES):
            page = await self._blobs.listed(self._blobs_after, PAGE)
            self._blobs_after = page[-1].place if page else ""
            if not page:
                break
            for blob in await self._sorted_out([blob for blob in page if blob.stored_at < before]):
                gone += await self._blobs.drop(blob, before)
        return gone

    async def _sorted_out(self, old: list[StoredBlob]) -> list[StoredBlob]:
        """Those that nothing refers to; the others are kept."""
        if not old:
            return []
        unreferenced = await self._references.unreferenced([blob.sha256 for blob in old])
        for blob in old:
            if blob.sha256 not in unreferenced:
                await self._blobs.keep(blob)
        return [blob for blob in old if blob.sha256 in unreferenced]

    async def sweep_code(self) -> int:
        """Remove code that nothing names and that was last stored ``CODE_AGE`` ago; how many pieces are gone."""
        gone = 0
        for _ in range(PAGES):
            found = await self._references.drop_code(self._code_after, PAGE, CODE_AGE)
            if found is None:
                self._code_after = _START
                break
            self._code_after, count = found
            gone += count
        return gone
