"""The machine's own account of what runs: processes that carry a mark, whoever their parents are.

Users' code marks itself by its name, and what it starts by an argument. A sandbox hides the machine from the code, and
not the code from the machine.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from crash.clock import wall

LOOK_SECONDS = 0.1
HOLD = """
import ctypes
import subprocess
import time


def hold(params):
    mark = params["mark"]
    ctypes.CDLL(None).prctl(15, mark.encode())
    subprocess.Popen(["sleep", mark])
    subprocess.Popen(["sh", "-c", "sleep " + mark + " & wait"], start_new_session=True)
    time.sleep(3600)
"""
"""Marks itself, and starts a child, and in a session of its own another one with a child."""
MARKED = 4
"""Processes that ``HOLD`` is, once it has begun."""


@dataclass
class Sighting:
    """One process: when it began, and when it was seen last (wall seconds)."""

    began_at: float
    seen_at: float


class Watch:
    """Looks for marks until it is stopped. ``seen`` are the processes of each mark, by pid."""

    def __init__(self, marks: Iterable[str]) -> None:
        self._marks = {mark.encode(): mark for mark in marks}
        self.seen: dict[str, dict[int, Sighting]] = {mark: {} for mark in self._marks.values()}
        self._task: asyncio.Task[None] | None = None
        self.looked_at = 0.0

    async def __aenter__(self) -> Watch:
        self._task = asyncio.create_task(self._run())
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            self.look()
            await asyncio.sleep(LOOK_SECONDS)

    def look(self) -> None:
        """Look now."""
        at = self.looked_at = wall()
        for pid in pids():
            mark = self._mark_of(pid)
            if mark is None:
                continue
            if pid not in self.seen[mark]:
                began = began_at(pid)
                if began is None:
                    continue
                self.seen[mark][pid] = Sighting(began, at)
            self.seen[mark][pid].seen_at = at

    def alive(self, mark: str) -> int:
        """How many processes of a mark there were at the last look."""
        return sum(one.seen_at == self.looked_at for one in self.seen[mark].values())

    def _mark_of(self, pid: int) -> str | None:
        told = read(pid, "comm").rstrip(b"\n"), *read(pid, "cmdline").replace(b"\0", b" ").split(b" ")
        return next((self._marks[word] for word in told if word in self._marks), None)


def pids() -> list[int]:
    """All processes of this machine."""
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def read(pid: int, name: str) -> bytes:
    """A file of a process; empty once that is gone."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/{name}").read_bytes()
    return b""


def began_at(pid: int) -> float | None:
    """When it began, in wall seconds, to a hundredth; None if it is gone."""
    fields = _stat(pid)
    if not fields:
        return None
    age = time.clock_gettime(time.CLOCK_BOOTTIME) - int(fields[19]) / os.sysconf("SC_CLK_TCK")
    return wall() - age


def cpu_seconds(pid: int) -> float:
    """Processor time that it has used, user and system; 0 if it is gone."""
    fields = _stat(pid)
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK") if fields else 0.0


def resident_mb(pid: int) -> float:
    """Memory that it has in the machine, in MB; pages it shares with others count once for each."""
    fields = read(pid, "statm").split()
    return int(fields[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6 if fields else 0.0


def below(root: int, wanted: Callable[[str], bool] = lambda command: True) -> list[int]:
    """The living descendants of a process whose command line is wanted."""
    parents: dict[int, list[int]] = {}
    for pid in pids():
        fields = _stat(pid)
        if fields and fields[0] != b"Z":
            parents.setdefault(int(fields[1]), []).append(pid)

    def walk(pid: int) -> Iterator[int]:
        for child in parents.get(pid, ()):
            yield child
            yield from walk(child)

    return [pid for pid in walk(root) if wanted(read(pid, "cmdline").replace(b"\0", b" ").decode(errors="replace"))]


def _stat(pid: int) -> list[bytes]:
    """The fields behind the name: 0 is the state, 1 the parent, 11 and 12 processor time, 19 the begin."""
    return read(pid, "stat").rpartition(b")")[2].split()
