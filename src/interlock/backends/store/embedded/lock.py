"""One server per data directory: a lock that the kernel gives back when its holder dies, however it dies."""

from __future__ import annotations

import fcntl
import os
from dataclasses import dataclass
from pathlib import Path

from interlock.core.errors import ErrorKind, InterlockError, unavailable


@dataclass
class DataLock:
    """The held lock of a data directory; the file stays and names the holder's process.

    Children forked without exec hold it too: process pools must not fork from a holder.
    """

    descriptor: int
    is_new_directory: bool  # made by this call

    @classmethod
    def take(cls, data_dir: Path) -> DataLock:
        """Lock ``data_dir``, making it (mode 0700) if absent; UNAVAILABLE if another server has it or we may not."""
        path = data_dir / "lock"
        try:
            is_new = not data_dir.exists()
            data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            message = f"cannot use the data directory {data_dir}: {error.strerror} ({error.filename}); choose another."
            raise InterlockError(ErrorKind.UNAVAILABLE, "DATA_DIRECTORY_UNUSABLE", message) from error
        lock = cls(descriptor, is_new)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = lock._holder()
            os.close(descriptor)
            raise _in_use(data_dir, holder) from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        return lock

    def release(self) -> None:
        """Give the lock back."""
        os.close(self.descriptor)

    def _holder(self) -> str:
        return os.pread(self.descriptor, 32, 0).decode().strip()


def _in_use(data_dir: Path, holder: str) -> InterlockError:
    who = f"the Interlock server with process id {holder}" if holder else "another Interlock server"
    message = f"the data directory {data_dir} is in use by {who}; stop that server or choose another data directory."
    return unavailable(message, code="DATA_DIRECTORY_IN_USE")
