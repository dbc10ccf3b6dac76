"""Blobs as files, named by their content."""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import os
import re
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path

from interlock.backends.blobs.content import SHA256, checked, is_name, missing, sha256_of
from interlock.core.errors import ErrorKind, InterlockError, unavailable
from interlock.ports.blobs import StoredBlob

_TENANT, _SHELF = re.compile(r"[0-9a-f]{32}"), re.compile(r"[0-9a-f]{2}")


class FolderBlobs:
    """Satisfies ``ports.blobs.BlobStore`` in ``root``, which any number of processes may use at once.

    A blob is in its place whole or not at all; what an interrupted ``put`` left is removed at the next start. With
    ``is_shared`` the operator says that all servers see the same folder.
    """

    kind = "folder"

    def __init__(self, root: Path, *, is_shared: bool = False) -> None:
        self.is_shared = is_shared
        self._root = root
        self._unfinished = root / "unfinished"
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._unfinished.mkdir(mode=0o700, exist_ok=True)
        for path in self._unfinished.iterdir():
            _remove_abandoned(path)
        self._making = threading.Lock()

    async def put(self, tenant_id: str, content: bytes) -> str:
        """Store; on disk when it returns. Raises UNAVAILABLE if the disk refuses."""
        return await asyncio.to_thread(self._put, tenant_id, content)

    async def get(self, tenant_id: str, sha256: str) -> bytes:
        """The content. Raises NOT_FOUND; UNAVAILABLE; INTERNAL if the file is not what it was."""
        return await asyncio.to_thread(self._get, tenant_id, sha256)

    async def check(self) -> None:
        """Return if a file can be made there. Raises UNAVAILABLE."""
        await asyncio.to_thread(self._check)

    def _check(self) -> None:
        try:
            tempfile.TemporaryFile(dir=self._unfinished).close()
        except OSError as error:
            raise unavailable(f"The blob folder takes no file: {error.strerror or error}") from error

    def _put(self, tenant_id: str, content: bytes) -> str:
        sha256 = sha256_of(content)
        place = self._place(tenant_id, sha256)
        try:
            if not self._touch(place):
                self._make_folders(place.parent)
                self._write(place, content)
            _sync_folder(place.parent)  # also for a file that another put has only just moved there
        except OSError as error:
            message = f"The blob folder does not take a blob of {len(content)} bytes: {error.strerror or error}."
            raise InterlockError(ErrorKind.UNAVAILABLE, "BLOB_NOT_STORED", message, retryable=True) from error
        return sha256

    def _touch(self, place: Path) -> bool:
        """Make a blob young again; False if it is not there."""
        if not place.exists():
            return False
        with self._turn(fcntl.LOCK_SH):
            try:
                # Never older than it was: clocks are set back, and servers that share a folder have one each.
                now = max(time.time_ns(), place.stat().st_mtime_ns)
                os.utime(place, ns=(now, now))
            except FileNotFoundError:  # it was dropped just now
                return False
        return True

    async def listed(self, after: str, limit: int) -> Sequence[StoredBlob]:
        """Files by their place below the root. Raises UNAVAILABLE."""
        return await asyncio.to_thread(self._listed, after, limit)

    def _listed(self, after: str, limit: int) -> list[StoredBlob]:
        try:
            return list(islice(self._files(after), limit))
        except OSError as error:
            raise unavailable(f"The blob folder cannot be read: {error.strerror or error}") from error

    def _files(self, after: str) -> Iterator[StoredBlob]:
        for tenant in _names(self._root, _TENANT):
            for shelf in _names(self._root / tenant, _SHELF) if tenant >= after[: len(tenant)] else ():
                place = f"{tenant}/{shelf}"
                for name in _names(self._root / place, SHA256) if place >= after[: len(place)] else ():
                    if f"{place}/{name}" > after and (stored_at := _age_of(self._root / place / name)) is not None:
                        yield StoredBlob(f"{place}/{name}", name, stored_at)

    async def drop(self, blob: StoredBlob, before: datetime) -> bool:
        """Remove a file, unless a ``put`` made it young again. Raises UNAVAILABLE."""
        return await asyncio.to_thread(self._drop, self._root / blob.place, before)

    def _drop(self, place: Path, before: datetime) -> bool:
        try:
            with self._turn(fcntl.LOCK_EX):
                stored_at = _age_of(place)
                if stored_at is None or stored_at >= before:
                    return False
                place.unlink()
        except OSError as error:
            raise unavailable(f"The blob folder lets no file go: {error.strerror or error}") from error
        return True

    async def keep(self, blob: StoredBlob) -> None:
        """Nothing is ever set aside here."""

    @contextmanager
    def _turn(self, kind: int) -> Iterator[None]:
        """Who drops a file is alone, with all processes that use the folder."""
        descriptor = os.open(self._root / "turn", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, kind)
            yield
        finally:
            os.close(descriptor)

    def _get(self, tenant_id: str, sha256: str) -> bytes:
        if not is_name(sha256):
            raise missing(sha256)
        try:
            content = self._place(tenant_id, sha256).read_bytes()
        except OSError as error:
            if isinstance(error, FileNotFoundError) and self._unfinished.is_dir():
                raise missing(sha256) from error  # else the whole folder is away, and with it more than this one
            raise unavailable(f"The blob folder cannot be read: {error.strerror or error}") from error
        return checked(sha256, content)

    def _place(self, tenant_id: str, sha256: str) -> Path:
        # A digest, because a tenant's name may be longer than a file's, and may hold anything.
        tenant = hashlib.blake2b(tenant_id.encode(), digest_size=16).hexdigest()
        return self._root / tenant / sha256[:2] / sha256

    def _write(self, place: Path, content: bytes) -> None:
        descriptor, name = tempfile.mkstemp(dir=self._unfinished)
        try:
            with open(descriptor, "wb") as file:
                fcntl.flock(file, fcntl.LOCK_EX)  # as long as it is held, nobody takes the file for abandoned
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
                os.replace(name, place)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise

    def _make_folders(self, folder: Path) -> None:
        with self._making:  # who finds a folder can rely on it to be on disk
            for path in (folder.parent, folder):
                if not path.exists():
                    path.mkdir(mode=0o700, exist_ok=True)
                    _sync_folder(path.parent)


def _names(folder: Path, form: re.Pattern[str]) -> list[str]:
    """What is there and ours, in order."""
    return sorted(name for name in os.listdir(folder) if form.fullmatch(name))


def _age_of(place: Path) -> datetime | None:
    """When a file was last stored; None if it is not there."""
    try:
        return datetime.fromtimestamp(place.stat().st_mtime, UTC)
    except FileNotFoundError:
        return None


def _remove_abandoned(path: Path) -> None:
    """Remove an unfinished file unless a living process is writing it."""
    try:
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink()
    except (BlockingIOError, FileNotFoundError):
        return  # it is being written, or its writer was quicker


def _sync_folder(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
