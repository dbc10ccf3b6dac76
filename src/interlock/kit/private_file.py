"""One small file that only its owner may read: made once, replaced as a whole, on the disk when a call returns."""

from __future__ import annotations

import fcntl
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

Version = tuple[int, int]
"""Tells whether a file is still the one that was read."""


class OpenToOthers(Exception):
    """Other users of this machine may read or change the file."""


class PrivateFile:
    """The file at ``path``. All methods raise OSError if the disk refuses."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def create(self, content: bytes) -> None:
        """Make the file, and its folder, unless it is there; of two processes one wins and both find its content."""
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if self.path.exists():
            return
        draft = self._draft(content)
        try:
            os.link(draft, self.path)  # unlike a rename, it leaves what a faster process has written
        except FileExistsError:
            pass
        finally:
            draft.unlink()
        self._sync_folder()

    def replace(self, content: bytes) -> None:
        """Put ``content`` in place of what is there; a reader sees one or the other."""
        self._draft(content).replace(self.path)
        self._sync_folder()

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Keep other processes out that would replace the file too."""
        with open(self.path.with_name(f".{self.path.name}.turn"), "w") as mark:
            fcntl.flock(mark, fcntl.LOCK_EX)
            yield

    def version(self) -> Version:
        """Changes with every replacement."""
        found = self.path.stat()
        return found.st_mtime_ns, found.st_ino

    def read(self) -> bytes:
        """The content. Raises OpenToOthers."""
        if self.path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise OpenToOthers(str(self.path))
        return self.path.read_bytes()

    def _draft(self, content: bytes) -> Path:
        draft = self.path.with_name(f".{self.path.name}.{secrets.token_hex(4)}")
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with open(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        return draft

    def _sync_folder(self) -> None:
        descriptor = os.open(self.path.parent, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
