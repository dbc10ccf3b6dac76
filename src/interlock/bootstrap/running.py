"""What runs of a data directory: each program notes itself there, so that ``interlock stop`` finds it and nothing else.

A note names the process and when it began, so that another one that got the same number later is never touched.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec
import structlog

from interlock.core.errors import ErrorKind, InterlockError
from interlock.doors.cli.programs import Stopped

FOLDER = "running"
WORKER = "start --worker"
_KILLED_SECONDS = 5.0
"""How long a killed process may take to be gone."""
_SLACK = 5.0
"""How much longer than it said a program may take to end before it is killed."""
log = structlog.get_logger("bootstrap")


class Note(msgspec.Struct, frozen=True, kw_only=True):
    """One program: its process, when that began in the words of the system, the command, and how long it may end."""

    pid: int
    began: str
    command: str
    grace: float


@contextmanager
def listed(data_dir: Path, command: str, grace: float) -> Iterator[None]:
    """Have this process found by ``stop_all`` while it does its work. One that cannot be noted works all the same.

    ``grace`` is how many seconds its clean end may take.
    """
    pid = os.getpid()
    file = data_dir / FOLDER / f"{pid}.json"
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        file.write_bytes(msgspec.json.encode(Note(pid=pid, began=began_at(pid), command=command, grace=grace)))
    except OSError as error:
        log.warning("running.not_noted", reason=str(error), meaning="`interlock stop` will not find this process")
    try:
        yield
    finally:
        with suppress(OSError):
            file.unlink(missing_ok=True)


def stop_all(data_dir: Path) -> list[Stopped]:
    """Tell everything that is noted to end, and wait as long as that may take; what is still there then is killed.

    Workers go before servers, which they still have something to say to.
    """
    notes = [(file, _read(file)) for file in sorted((data_dir / FOLDER).glob("*.json"))]
    known = [(file, note) for file, note in notes if note is not None]
    stopped: list[Stopped] = []
    for is_worker in (True, False):
        group = [(file, note) for file, note in known if (note.command == WORKER) is is_worker]
        stopped += _stop([note for _, note in group])
        for file, _ in group:
            file.unlink(missing_ok=True)
    return stopped


def began_at(pid: int) -> str:
    """When a process began, in words that no later process of that number has; empty if there is none."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        if Path("/proc/self/stat").exists():
            return ""
        asked = subprocess.run(["ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True, check=False)
        return asked.stdout.strip()
    fields = text.rpartition(")")[2].split()
    if fields[0] in "ZX":  # it has ended, and nobody has asked how
        return ""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return f"{fields[19]}@{boot}"


def _read(file: Path) -> Note | None:
    try:
        return msgspec.json.decode(file.read_bytes(), type=Note)
    except (OSError, msgspec.MsgspecError) as error:
        log.warning("running.unreadable", file=str(file), reason=str(error))
        return None


def _stop(notes: list[Note]) -> list[Stopped]:
    alive = [note for note in notes if _send(note, signal.SIGTERM)]
    left = _wait(alive, max((note.grace for note in alive), default=0.0) + _SLACK)
    for note in left:
        _send(note, signal.SIGKILL)
    _wait(left, _KILLED_SECONDS)
    ended = {note.pid: "killed" if note in left else "stopped" for note in alive}
    return [Stopped(note.command, note.pid, ended.get(note.pid, "gone")) for note in notes]


def _send(note: Note, number: int) -> bool:
    """Signal the process that the note means, and none that came after it. Whether it was there."""
    try:
        if hasattr(os, "pidfd_open"):
            return _send_held(note, number)
        if began_at(note.pid) != note.began:
            return False
        os.kill(note.pid, number)
    except ProcessLookupError:
        return False
    except PermissionError as error:
        raise InterlockError(
            ErrorKind.DENIED,
            "PROCESS_NOT_YOURS",
            f"Process {note.pid} (interlock {note.command}) belongs to another user of this machine",
            details={"next": "Stop it as the user who started it."},
        ) from error
    return True


def _send_held(note: Note, number: int) -> bool:
    """The same where a process can be held, so that its number is not given to another one meanwhile."""
    held = os.pidfd_open(note.pid)
    try:
        if began_at(note.pid) != note.began:
            return False
        signal.pidfd_send_signal(held, number)
    finally:
        os.close(held)
    return True


def _wait(notes: list[Note], seconds: float) -> list[Note]:
    """Wait until they have ended, for so long; those that have not."""
    deadline = time.monotonic() + seconds
    left = list(notes)
    while left and time.monotonic() < deadline:
        left = [note for note in left if began_at(note.pid) == note.began]
        if left:
            time.sleep(0.05)
    return left
