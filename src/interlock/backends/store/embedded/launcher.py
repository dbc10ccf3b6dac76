"""Becomes another program under rights that Postgres accepts, because Postgres refuses to run as root.

A script, not a module: ``python -I -S launcher.py RIGHTS DIRECTORY PROGRAM [ARGUMENT...]``. It replaces itself by the
program, so its process id is the program's. RIGHTS is ``namespace`` (a new user namespace in which the caller is not
root, while the files stay the caller's) or ``UID:GID``. A program of its own, because code between fork and exec of a
process with threads may hang, and because the kernel makes no user namespace for a process with threads.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from pathlib import Path

CLONE_NEWUSER = 0x10000000
UID_INSIDE = 65534  # "nobody": present in the user list of nearly every system, and initdb looks its name up
REFUSED = 125  # exit status: the rights or the directory could not be taken; the reason is on stderr


def enter_namespace() -> None:
    """Look like an ordinary user from now on; raises OSError where the kernel does not allow it."""
    outside = os.geteuid()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWUSER) != 0:
        reason = ctypes.get_errno()
        raise OSError(reason, f"no user namespace: {os.strerror(reason)}")
    Path("/proc/self/uid_map").write_text(f"{UID_INSIDE} {outside} 1\n")


def become(uid: int, gid: int) -> None:
    """Give up root for good."""
    os.setgroups([])
    os.setgid(gid)
    os.setuid(uid)


def launch(rights: str, directory: str, program: list[str]) -> None:
    """Take the rights, go to the directory and become the program; returns only by an exception."""
    if rights == "namespace":
        enter_namespace()
    else:
        uid, gid = rights.split(":")
        become(int(uid), int(gid))
    os.umask(0o077)
    os.chdir(directory)
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # Python ignores it, and an ignored signal is inherited
    os.execv(program[0], program)  # noqa: S606


if __name__ == "__main__":
    try:
        launch(sys.argv[1], sys.argv[2], sys.argv[3:])
    except (OSError, AttributeError) as error:  # AttributeError: a system without unshare
        sys.stderr.write(f"{error}\n")
        sys.exit(REFUSED)
