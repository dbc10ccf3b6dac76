"""Cgroups of sandboxes: memory, number of processes and cores, held by the kernel. Version 2, or those of version 1."""

from __future__ import annotations

import contextlib
import os
import re
from dataclasses import dataclass
from errno import EINVAL
from itertools import count
from pathlib import Path

from interlock.backends.executor.sandbox.limits import PROCESSES

_ROOT = Path("/sys/fs/cgroup")
_NAME = re.compile(r"interlock-(\d+)-\d+")
_PROCS = "cgroup.procs"
_QUOTA = "cpu.cfs_quota_us"
_PERIOD = 100_000
"""Microseconds after which a sandbox that has used its share of the processors may go on."""
_LEAST = 1000
"""Microseconds of a period: the kernel takes no less."""
_OOM = ("memory.events", "memory.oom_control")
_numbers = count(1)


@dataclass(frozen=True)
class Group:
    """The cgroup of one sandbox: a folder, or with version 1 one for each controller."""

    folders: tuple[Path, ...]

    @property
    def entries(self) -> tuple[str, ...]:
        """The files by which a process enters."""
        return tuple(str(folder / _PROCS) for folder in self.folders)

    def limit(self, memory: int, cores: float) -> None:
        """Hold it to ``memory`` bytes, swap included where that is counted, and to so many cores. Raises OSError."""
        share = max(_LEAST, int(cores * _PERIOD))
        for folder in self.folders:
            for name, value in (
                *(("memory.max", memory), ("memory.limit_in_bytes", memory), ("memory.swap.max", 0)),
                *(("cpu.max", f"{share} {_PERIOD}"), ("cpu.cfs_period_us", _PERIOD), (_QUOTA, share)),
            ):
                if (folder / name).exists():
                    _write(folder / name, str(value))

    def has_run_out(self) -> bool:
        """Whether the kernel has killed something in it for want of memory."""
        return any(_count(folder / name, "oom_kill") > 0 for folder in self.folders for name in _OOM)

    def remove(self) -> None:
        """Forget it; whatever was in it is dead."""
        for folder in self.folders:
            with contextlib.suppress(OSError):
                folder.rmdir()


class Cgroups:
    """Makes groups below the one that this process is in. ``holds_cores``: they can be held to a number of cores."""

    def __init__(self, parents: tuple[Path, ...], *, holds_cores: bool = False) -> None:
        self._parents = parents
        self.holds_cores = holds_cores

    def make(self) -> Group:
        """A new group that holds at most ``PROCESSES``. Raises OSError."""
        name = f"interlock-{os.getpid()}-{next(_numbers)}"
        group = Group(tuple(parent / name for parent in self._parents))
        try:
            for folder in group.folders:
                folder.mkdir()
                if (folder / "pids.max").exists():
                    (folder / "pids.max").write_text(str(PROCESSES), encoding="ascii")
        except OSError:
            group.remove()
            raise
        return group

    def sweep(self) -> None:
        """Remove the groups of servers that are gone."""
        for parent in self._parents:
            for folder in parent.glob("interlock-*-*"):
                found = _NAME.fullmatch(folder.name)
                if found is not None and not Path("/proc", found[1]).exists():
                    Group((folder,)).remove()


def find_cgroups() -> Cgroups | None:
    """Where groups for memory and processes can be made, with cores if possible; None if nowhere. Tries it."""
    for parents in _candidates():
        cgroups = Cgroups(parents)
        try:
            group = cgroups.make()
        except OSError:
            continue
        try:
            has = {name for folder in group.folders for name in os.listdir(folder)}
            if "pids.max" in has and has & {"memory.max", "memory.limit_in_bytes"}:
                cgroups.sweep()
                return Cgroups(parents, holds_cores=bool(has & {"cpu.max", _QUOTA}))
        finally:
            group.remove()
    return None


def _write(path: Path, value: str) -> None:
    """Raises OSError, unless the group above may use fewer cores than that: version 1 refuses, and it holds for us."""
    try:
        path.write_text(value, encoding="ascii")
    except OSError as error:
        if path.name != _QUOTA or error.errno != EINVAL:
            raise


def _count(path: Path, name: str) -> int:
    """A figure of a file of names and figures; 0 without the file."""
    try:
        lines = path.read_text(encoding="ascii").splitlines()
    except OSError:
        return 0
    found = [line.split() for line in lines]
    return next((int(parts[1]) for parts in found if len(parts) == 2 and parts[0] == name), 0)


def _candidates() -> list[tuple[Path, ...]]:
    try:
        lines = Path("/proc/self/cgroup").read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
    paths = {names: path.lstrip("/") for _, names, path in (line.split(":", 2) for line in lines)}
    cores = [_ROOT / names / path for names, path in paths.items() if "cpu" in names.split(",")]
    found: list[tuple[Path, ...]] = []
    if "" in paths:
        found.append((_ROOT / paths[""],))
    if "pids" in paths and "memory" in paths:
        both = (_ROOT / "pids" / paths["pids"], _ROOT / "memory" / paths["memory"])
        found += [(*both, each) for each in cores]
        found.append(both)
    return found
