"""What the machine did: CPU seconds of process trees, how busy it is, and what kind of machine it is."""

from __future__ import annotations

import ctypes
import os
import platform
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")
_SET_CHILD_SUBREAPER = 36
QUIET_CORES = 0.35


@dataclass(frozen=True)
class Process:
    """One line of the process table. `cpu` is seconds of user and system time, its reaped children included."""

    pid: int
    parent: int
    name: str
    cpu: float


def adopt_orphans() -> None:
    """Make every process that descends from this one stay in its tree, even after its own parent has ended.

    A server may detach its database on purpose; without this its CPU would be counted to nobody.
    """
    if ctypes.CDLL(None, use_errno=True).prctl(_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER) was refused")


def process_table() -> dict[int, Process]:
    """All processes of the machine by pid. Those that end while it is read are left out."""
    table: dict[int, Process] = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                text = Path(f"/proc/{entry}/stat").read_text()
            except OSError:
                continue
            table[int(entry)] = _parse_stat(int(entry), text)
    return table


def _parse_stat(pid: int, text: str) -> Process:
    # The name stands in brackets and may itself hold brackets and blanks, so count from the last one.
    fields = text[text.rindex(")") + 2 :].split()
    ticks = sum(int(field) for field in fields[11:15])
    return Process(pid, int(fields[1]), text[text.index("(") + 1 : text.rindex(")")], ticks / _TICKS)


def tree(root: int, without: Iterable[int] = ()) -> list[Process]:
    """The living descendants of `root` (itself not), parents before children, the trees of `without` left out."""
    table, skipped = process_table(), set(without)
    children: dict[int, list[Process]] = {}
    for process in table.values():
        children.setdefault(process.parent, []).append(process)
    found: list[Process] = []
    todo = [root]
    while todo:
        for child in children.get(todo.pop(), ()):
            if child.pid not in skipped:
                found.append(child)
                todo.append(child.pid)
    return found


def cpu_seconds(root: int, without: Iterable[int] = ()) -> float:
    """CPU seconds used so far by the descendants of `root`, reaped ones included, the trees of `without` left out."""
    return sum(process.cpu for process in tree(root, without))


def busy_seconds() -> tuple[float, float]:
    """CPU seconds this machine worked since it booted, and those its host took away (steal)."""
    user, nice, system, _idle, _iowait, irq, soft, steal = map(int, _first_line("/proc/stat").split()[1:9])
    return (user + nice + system + irq + soft) / _TICKS, steal / _TICKS


def wait_until_quiet(longest: float, watch: float = 1.5) -> bool:
    """Wait, at most `longest` seconds, until the machine uses under QUIET_CORES for `watch` seconds; say if it did."""
    end = time.monotonic() + longest
    while time.monotonic() < end:
        before = busy_seconds()[0]
        time.sleep(watch)
        if (busy_seconds()[0] - before) / watch < QUIET_CORES:
            return True
    return False


def describe(folder: Path) -> dict[str, str]:
    """The machine in words a reader can compare: processor, cores, memory, kernel, filesystem below `folder`."""
    memory_kib = int(_first_line("/proc/meminfo").split()[1])
    return {
        "processor": _processor(),
        "cores": str(os.cpu_count()),
        "memory": f"{memory_kib / 2**20:.0f} GiB",
        "kernel": f"{platform.system()} {platform.release()}",
        "filesystem": _filesystem(folder),
        "python": platform.python_version(),
    }


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _filesystem(folder: Path) -> str:
    mounts = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
    holding = [m for m in mounts if folder.resolve().is_relative_to(m[1])]
    return max(holding, key=lambda mount: len(mount[1]))[2] if holding else "unknown"


def _first_line(path: str) -> str:
    with open(path) as file:
        return file.readline()
