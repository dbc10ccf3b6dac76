"""Cgroups of sandboxes: memory and number of processes, held by the kernel. Version 2, or both of version 1."""

from __future__ import annotations

import contextlib
import os
import re
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from interlock.backends.executor.sandbox.limits import PROCESSES

_ROOT = Path("/sys/fs/cgroup")
_NAME = re.compile(r"interlock-(\d+)-\d+")
_PROCS = "cgroup.procs"
_numbers = count(1)


@dataclass(frozen=True)
class Group:
    """The cgroup of one sandbox: a folder, or with version 1 one for each controller."""

    folders: tuple[Path, ...]

    @property
    def entries(self) -> tuple[str, ...]:
        """The files by which a process enters."""
        return tuple(str(folder / _PROCS) for folder in self.folders)

    def limit(self, memory: int) -> None:
        """Hold it to ``memory`` bytes, swap included where that is counted. Raises OSError."""
        for folder in self.folders:
            for name, value in (("memory.max", memory), ("memory.limit_in_bytes", memory), ("memory.swap.max", 0)):
                if (folder / name).exists():
                    (folder / name).write_text(str(value), encoding="ascii")

    def remove(self) -> None:
        """Forget it; whatever was in it is dead."""
        for folder in self.folders:
            with contextlib.suppress(OSError):
                folder.rmdir()


class Cgroups:
    """Makes groups below the one that this process is in."""

    def __init__(self, parents: tuple[Path, ...]) -> None:
        self._parents = parents

    def make(self) -> Group:
        """A new group that holds at most ``PROCESSES``. Raises OSError."""
        name = f"interlock-{os.getpid()}-{next(_numbers)}"
        group = Group(tuple(parent / name for parent in self._parents))
        for folder in group.folders:
            folder.mkdir()
            if (folder / "pids.max").exists():
                (folder / "pids.max").write_text(str(PROCESSES), encoding="ascii")
        return group

    def sweep(self) -> None:
        """Remove the groups of servers that are gone."""
        for parent in self._parents:
            for folder in parent.glob("interlock-*-*"):
                found = _NAME.fullmatch(folder.name)
                if found is not None and not Path("/proc", found[1]).exists():
                    Group((folder,)).remove()


def find_cgroups() -> Cgroups | None:
    """Where groups with both limits can be made; None if nowhere. Tries it with one group."""
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
                return cgroups
        finally:
            group.remove()
    return None


def _candidates() -> list[tuple[Path, ...]]:
    try:
        lines = Path("/proc/self/cgroup").read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
    paths = {names: path.lstrip("/") for _, names, path in (line.split(":", 2) for line in lines)}
    found: list[tuple[Path, ...]] = []
    if "" in paths:
        found.append((_ROOT / paths[""],))
    if "pids" in paths and "memory" in paths:
        found.append((_ROOT / "pids" / paths["pids"], _ROOT / "memory" / paths["memory"]))
    return found
