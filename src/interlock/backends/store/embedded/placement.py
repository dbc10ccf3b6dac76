"""Where the database lives and whose rights its programs have, so that root can have one too.

Anyone but root: in the data directory, with the rights we have. Root: in the data directory inside a user namespace;
where the kernel allows none, or the data directory or the programs cannot be reached from within, as ``nobody``: in the
data directory if that user can get there, else in a shared directory. An existing database stays where it is and runs
as its owner.
"""

from __future__ import annotations

import hashlib
import os
import pwd
from dataclasses import dataclass
from pathlib import Path

import structlog

from interlock.backends.store.embedded.binaries import Binaries, copied_for_everyone, find_binaries
from interlock.backends.store.embedded.rights import Rights
from interlock.core.errors import ErrorKind, InterlockError

SHARED = Path("/var/lib/interlock")
NOBODY = 65534
ANYWHERE = Path("/")


@dataclass(frozen=True)
class Placement:
    """Which programs run with which rights on the database in ``home``."""

    rights: Rights
    binaries: Binaries
    home: Path  # holds the cluster, a half-made one and, if its name is short enough, the socket

    @property
    def cluster(self) -> Path:
        """The directory Postgres itself calls its data directory."""
        return self.home / "postgres"


def find_home(data_dir: Path, shared_dir: Path) -> Path | None:
    """Where the database of ``data_dir`` was made, or None if it has none yet."""
    homes = [data_dir, _shared_home(data_dir, shared_dir)] if os.geteuid() == 0 else [data_dir]
    return next((home for home in homes if (home / "postgres" / "PG_VERSION").exists()), None)


async def place(data_dir: Path, bindir: Path | None, shared_dir: Path, is_new: bool) -> Placement:
    """Decide for ``data_dir`` (absolute, present); UNAVAILABLE, with the reasons, if no way is open.

    ``is_new`` says that we have just made it and may let others through, should root have no other way.
    """
    home = find_home(data_dir, shared_dir)
    binaries = await find_binaries(bindir, _major(home) if home else None)
    if os.geteuid() != 0:
        return Placement(Rights.own(), binaries, data_dir)
    if home:
        return await _as_owner(home, binaries, shared_dir)
    reason = await _refusal(Rights.namespace(), binaries, data_dir)
    if reason is None:
        return Placement(Rights.namespace(), binaries, data_dir)
    structlog.get_logger(__name__).info("database.no_namespace", reason=reason)
    return await _as_nobody(data_dir, binaries, shared_dir, is_new)


async def _as_owner(home: Path, binaries: Binaries, shared_dir: Path) -> Placement:
    owner = (home / "postgres").stat()
    if owner.st_uid != 0:
        rights = Rights.user(owner.st_uid, owner.st_gid)
        return Placement(rights, await _runnable(rights, binaries, shared_dir), home)
    reason = await _refusal(Rights.namespace(), binaries, home)
    if reason is None:
        return Placement(Rights.namespace(), binaries, home)
    raise _no_way(
        f"the database in {home} belongs to root, and Postgres runs for root only inside a user namespace, which does "
        f"not do here ({reason}). Allow user namespaces, or give {home} to an ordinary user and start as that user."
    )


async def _as_nobody(data_dir: Path, binaries: Binaries, shared_dir: Path, is_new: bool) -> Placement:
    rights = _nobody()
    runnable = await _runnable(rights, binaries, shared_dir)
    if is_new:
        data_dir.chmod(0o711)
    if await _refusal(rights, runnable, data_dir) is None:
        return Placement(rights, runnable, data_dir)
    home = _shared_home(data_dir, shared_dir)
    _make_shared(shared_dir)
    if not home.exists():
        home.mkdir(mode=0o700)
        rights.give(home)
    if reason := await _refusal(rights, runnable, home):
        raise _no_way(f"user {rights.uid}, who must run Postgres for root here, cannot use {home}: {reason}.")
    structlog.get_logger(__name__).warning("database.placed_elsewhere", data_dir=str(data_dir), home=str(home))
    return Placement(rights, runnable, home)


async def _runnable(rights: Rights, binaries: Binaries, shared_dir: Path) -> Binaries:
    """These programs, or a copy of them, as long as the user of ``rights`` can run it."""
    if await _refusal(rights, binaries, ANYWHERE) is None:
        return binaries
    _make_shared(shared_dir)
    copy = copied_for_everyone(binaries, shared_dir)
    if reason := await _refusal(rights, copy, ANYWHERE):
        raise _no_way(f"user {rights.uid}, who must run Postgres for root here, cannot run {copy.bindir}: {reason}.")
    return copy


async def _refusal(rights: Rights, binaries: Binaries, directory: Path) -> str | None:
    """Why these rights do not do, found by trying: the kernel, the way to the directory, or that to the programs."""
    finished = await rights.run(directory, binaries.program("initdb"), "--version", within=30)
    return None if finished.status == 0 else finished.complaint or f"exit status {finished.status}"


def _no_way(message: str) -> InterlockError:
    return InterlockError(ErrorKind.UNAVAILABLE, "EMBEDDED_POSTGRES_ROOT", message)


def _major(home: Path) -> int:
    return int((home / "postgres" / "PG_VERSION").read_text())


def _shared_home(data_dir: Path, shared_dir: Path) -> Path:
    return shared_dir / hashlib.blake2b(os.fsencode(data_dir), digest_size=8).hexdigest()


def _make_shared(shared_dir: Path) -> None:
    if not shared_dir.exists():
        shared_dir.mkdir(parents=True)
        shared_dir.chmod(0o755)  # whatever our umask is: it is the way in for another user


def _nobody() -> Rights:
    try:
        entry = pwd.getpwnam("nobody")
    except KeyError:
        return Rights.user(NOBODY, NOBODY)
    return Rights.user(entry.pw_uid, entry.pw_gid)
