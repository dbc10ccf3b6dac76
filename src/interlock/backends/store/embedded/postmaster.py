"""The server process: found again through its pid file, started in a session of its own, stopped with a deadline."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from interlock.backends.store.embedded.log import log_end
from interlock.backends.store.embedded.placement import Placement
from interlock.backends.store.embedded.rights import ENVIRONMENT
from interlock.backends.store.embedded.settings import server_settings
from interlock.backends.store.embedded.sockets import clear_socket_dir, make_socket_dir, remove_socket_dir
from interlock.core.errors import ErrorKind, InterlockError

READY_SECONDS = 120.0  # recovery after a crash replays the write-ahead log and may take this long
ORPHAN_SECONDS = 15.0
FAST_STOP_SECONDS = 10.0
IMMEDIATE_STOP_SECONDS = 7.0  # the server itself kills its children after 5 s
RETRY_SECONDS = 0.1
# Refusals that pass: children of a killed server end by themselves, each after what it is doing; and a server whose
# starter was killed a moment ago may come up while we start another.
PASSING = ("pre-existing shared memory block", 'lock file "postmaster.pid" already exists')
PROC = Path("/proc")

Answer = TypeVar("Answer")


@dataclass(frozen=True)
class Postmaster:
    """A living server of one cluster, as its pid file tells."""

    pid: int
    socket_dir: Path
    stage: str  # starting, ready, stopping


def find_postmaster(cluster: Path) -> Postmaster | None:
    """The server that runs on ``cluster`` now, or None; a pid file of a dead or of another process counts as none."""
    try:
        lines = (cluster / "postmaster.pid").read_text().splitlines()
    except (FileNotFoundError, NotADirectoryError):
        return None
    lines += [""] * 8  # the file grows line by line as the start goes on
    pid = int(lines[0]) if lines[0].isdecimal() else 0
    if pid == 0 or not _serves(pid, cluster):
        return None
    return Postmaster(pid, Path(lines[4]), lines[7].strip() or "starting")


async def attach_or_launch(placement: Placement, log: Path) -> tuple[Postmaster, bool]:
    """A ready server of the cluster, and whether it was running already.

    Raises UNAVAILABLE with the end of its log if it dies at the start, TIMEOUT if it is not ready in time; then it
    goes on starting and the next call finds it.
    """
    cluster = placement.cluster
    deadline = asyncio.get_running_loop().time() + ORPHAN_SECONDS
    while True:
        since = log.stat().st_size if log.exists() else 0
        found = find_postmaster(cluster)
        if found and found.stage == "stopping":
            await _until(_gone(found.pid), READY_SECONDS)
            found = None
        if ready := await _until_ready(cluster, found.pid if found else _launch(placement, log), log):
            return ready, found is not None
        said = log_end(log, since)
        passes = found is not None or any(words in said for words in PASSING)
        if not passes or asyncio.get_running_loop().time() > deadline:
            message = f"the Postgres server of {cluster} did not start; its log ({log}) ends with:\n{said}"
            raise InterlockError(ErrorKind.UNAVAILABLE, "EMBEDDED_POSTGRES_FAILED", message)
        await asyncio.sleep(RETRY_SECONDS)


async def stop_postmaster(cluster: Path) -> None:
    """Stop the server of ``cluster``: at once for its clients, after a last checkpoint if that takes under 10 s.

    Nothing committed is lost either way. A cluster without a server is left as it is. TIMEOUT if it cannot be stopped.
    """
    found = find_postmaster(cluster)
    if found is None:
        return
    for how, seconds in ((signal.SIGINT, FAST_STOP_SECONDS), (signal.SIGQUIT, IMMEDIATE_STOP_SECONDS)):
        if _serves(found.pid, cluster):
            os.kill(found.pid, how)
        if await _until(_gone(found.pid), seconds):
            remove_socket_dir(found.socket_dir, cluster.parent)
            return
    message = f"the Postgres server of {cluster} does not stop; its process id is in postmaster.pid there."
    raise InterlockError(ErrorKind.TIMEOUT, "EMBEDDED_POSTGRES_SLOW", message)


def _launch(placement: Placement, log: Path) -> int:
    socket_dir = make_socket_dir(placement.home, placement.rights)
    _forget_stranger(placement.cluster, socket_dir)
    arguments = ["-D", str(placement.cluster)]
    for name, value in server_settings(socket_dir).items():
        arguments += ["-c", f"{name}={value}"]
    command = placement.rights.command(placement.cluster, placement.binaries.program("postgres"), *arguments)
    files = [
        (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
        (os.POSIX_SPAWN_OPEN, 1, str(log), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600),
        (os.POSIX_SPAWN_DUP2, 1, 2),
    ]
    # A session of its own: neither Ctrl-C in our terminal nor our own death reaches it.
    return os.posix_spawn(command[0], command, ENVIRONMENT, file_actions=files, setsid=True)


def _forget_stranger(cluster: Path, socket_dir: Path) -> None:
    """Remove what a dead server left if its process id now belongs to another program, which Postgres would respect."""
    pid_file = cluster / "postmaster.pid"
    noted = pid_file.read_text().partition("\n")[0] if pid_file.exists() else ""
    if noted.isdecimal() and int(noted) and _has_process(int(noted)) and not _serves(int(noted), cluster):
        pid_file.unlink()
        clear_socket_dir(socket_dir)


async def _until_ready(cluster: Path, pid: int, log: Path) -> Postmaster | None:
    """The server once it takes connections, None if the process ended before."""

    def look() -> Postmaster | bool | None:
        found = find_postmaster(cluster)
        if found and found.pid == pid and found.stage == "ready":
            return found
        return None if _is_alive(pid) else False

    answer = await _until(look, READY_SECONDS)
    if answer is None:
        message = f"the Postgres server of {cluster} is not ready after {READY_SECONDS:g} s; see {log}, then try again."
        raise InterlockError(ErrorKind.TIMEOUT, "EMBEDDED_POSTGRES_SLOW", message, retryable=True)
    return answer if isinstance(answer, Postmaster) else None


def _gone(pid: int) -> Callable[[], bool | None]:
    return lambda: None if _is_alive(pid) else True


async def _until(look: Callable[[], Answer | None], seconds: float) -> Answer | None:
    """The first answer of ``look`` that is not None, or None after ``seconds``."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + seconds
    pause = 0.005
    while (answer := look()) is None and loop.time() < deadline:
        await asyncio.sleep(pause)
        pause = min(pause * 1.5, 0.1)
    return answer


def _serves(pid: int, cluster: Path) -> bool:
    """Whether process ``pid`` is the server of ``cluster``: ids are given out again, above all in containers."""
    if not PROC.exists():
        return _is_alive(pid)  # no way to look closer; connecting will tell
    try:
        return (PROC / str(pid) / "cwd").readlink() == cluster  # a server lives in its directory, a dead one nowhere
    except PermissionError:  # another user's process, seen by a root without all its powers
        return os.fsencode(cluster) in (PROC / str(pid) / "cmdline").read_bytes().split(b"\0")
    except FileNotFoundError:
        return False


def _is_alive(pid: int) -> bool:
    """Whether a server of ours still lives; a dead one that its parent has not asked for does not."""
    with suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)  # a dead child of ours keeps its id until asked for
    if not _has_process(pid):
        return False
    try:
        return (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()[0] != "Z"  # another's dead child
    except (FileNotFoundError, ProcessLookupError):
        return not PROC.exists()


def _has_process(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # it is there and another user's
    return True
