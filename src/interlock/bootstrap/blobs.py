"""Where large values of one server are."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

import structlog

from interlock.backends.blobs.folder import FolderBlobs
from interlock.backends.blobs.layered import LayeredBlobs
from interlock.backends.blobs.postgres import PostgresBlobs, Use
from interlock.backends.blobs.s3.calls import Calls
from interlock.backends.blobs.s3.place import read_place
from interlock.backends.blobs.s3.signature import Credentials
from interlock.backends.blobs.s3.store import S3Blobs
from interlock.backends.egress.client import GuardedEgress
from interlock.config import Settings
from interlock.core.errors import InterlockError
from interlock.kit.clock import Clock
from interlock.ports.blobs import BlobStore

_EVERYWHERE = ("0.0.0.0/0", "::/0")
"""The operator has named the store, and no call of a tenant goes this way."""
log = structlog.get_logger("bootstrap")


def open_blobs(settings: Settings, use: Use, clock: Clock, stack: AsyncExitStack, *, embedded: bool) -> BlobStore:
    """The bucket or the folder that is named, the folder beside the embedded database, else the database.

    ``stack`` closes it. Small values are in the database in any case.
    """
    database = PostgresBlobs(use)
    if settings.blobs_url is not None:
        return LayeredBlobs(_bucket(settings, settings.blobs_url, clock, stack), database, is_far=True)
    folder = settings.blobs_dir or (settings.data_dir / "blobs" if embedded else None)
    if folder is None:
        return database
    return LayeredBlobs(FolderBlobs(folder, is_shared=settings.blobs_dir_is_shared), database)


def try_blobs(blobs: BlobStore, stack: AsyncExitStack) -> asyncio.Task[None]:
    """Begin to say in the log whether nothing can be stored there; the start does not wait for that."""

    async def look() -> None:
        try:
            await blobs.check()
        except InterlockError as error:
            log.error("blobs.unavailable", store=blobs.kind, code=error.code, reason=error.message)

    task = asyncio.create_task(look(), name="try blobs")

    async def end() -> None:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    stack.push_async_callback(end)
    return task


def _bucket(settings: Settings, url: str, clock: Clock, stack: AsyncExitStack) -> S3Blobs:
    secret, token = settings.blobs_secret_access_key, settings.blobs_session_token
    keys = Credentials(
        settings.blobs_access_key_id or "",
        secret.get_secret_value() if secret is not None else "",
        token.get_secret_value() if token is not None else "",
    )
    egress = GuardedEgress(_EVERYWHERE)
    stack.push_async_callback(egress.close)
    return S3Blobs(Calls(read_place(url), keys, egress, clock))
