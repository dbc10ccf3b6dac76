"""The private directory of the server's unix socket."""

from __future__ import annotations

import hashlib
import os
import re
import stat
import tempfile
from contextlib import suppress
from pathlib import Path

from interlock.backends.store.embedded.rights import Rights
from interlock.backends.store.embedded.urls import PORT
from interlock.core.errors import ErrorKind, InterlockError

LONGEST = 103  # bytes of a socket's path: 107 on Linux, 103 on macOS
PLAIN = re.compile(r"[A-Za-z0-9/._-]+")  # the rest has a meaning in URLs or in lists of directories


def make_socket_dir(home: Path, rights: Rights) -> Path:
    """A directory (mode 0700) in ``home``, or a short one under the temporary directory if that name is too long.

    The name depends on ``home`` and the user only. UNAVAILABLE if someone else has taken it.
    """
    path = _choose(home, rights.uid)
    try:
        path.mkdir(mode=0o700)
    except FileExistsError:
        _refuse_foreign(path, rights.uid)
    else:
        rights.give(path)
    return path


def clear_socket_dir(path: Path) -> None:
    """Remove what a dead server left, whose noted process id may by now belong to someone else."""
    for name in (f".s.PGSQL.{PORT}", f".s.PGSQL.{PORT}.lock"):
        (path / name).unlink(missing_ok=True)


def remove_socket_dir(path: Path, home: Path) -> None:
    """Leave nothing behind under the temporary directory."""
    if path.parent != home:
        with suppress(OSError):  # in use after all, or swept already
            path.rmdir()


def _choose(home: Path, uid: int) -> Path:
    digest = hashlib.blake2b(os.fsencode(home), digest_size=8).hexdigest()
    short = f"interlock-{uid}-{digest}"
    candidates = [home / "socket", Path(tempfile.gettempdir(), short), Path("/tmp", short)]  # noqa: S108
    for path in candidates:
        if PLAIN.fullmatch(str(path)) and len(str(path / f".s.PGSQL.{PORT}")) <= LONGEST:
            return path
    message = f"no directory for the database's socket has a short and plain name: tried {candidates}; set TMPDIR."
    raise InterlockError(ErrorKind.UNAVAILABLE, "EMBEDDED_SOCKET_UNUSABLE", message)


def _refuse_foreign(path: Path, uid: int) -> None:
    # In a directory that all may write to, another user could wait for us with one of his own.
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != uid or found.st_mode & 0o077:
        message = f"{path} must be a directory of user {uid} with mode 0700 and is not; remove it."
        raise InterlockError(ErrorKind.UNAVAILABLE, "EMBEDDED_SOCKET_UNUSABLE", message)
