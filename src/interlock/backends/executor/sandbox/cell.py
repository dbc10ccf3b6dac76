"""One sandbox as the pool starts it."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from errno import EBUSY, ENOMEM
from pathlib import Path

from interlock.backends.executor.pool.guard import BYTES
from interlock.backends.executor.results import Away
from interlock.backends.executor.sandbox.bubblewrap import WORK, walled
from interlock.backends.executor.sandbox.cgroups import Group
from interlock.backends.executor.sandbox.limits import INIT, LEAST_MEMORY, MIB
from interlock.backends.executor.sandbox.walls import Walls
from interlock.ports.node import Attempt, NodeFailed

CHILD = "interlock.backends.executor.sandbox.child"


class SandboxCell:
    """Satisfies ``pool/cell.Cell``. ``memory`` is MiB for attempts that ask for none.

    ``writable`` folders of the machine are open to the code, ``paths`` are where it also finds modules.
    """

    is_trusted = False

    def __init__(
        self,
        walls: Walls,
        registry: str,
        *,
        memory: int,
        scratch: Path,
        hidden: Sequence[str] = (),
        writable: Sequence[str] = (),
        paths: Sequence[str] = (),
    ) -> None:
        self._walls = walls
        self._registry = registry
        self._memory = memory
        self._hidden = hidden
        self._writable = (*writable, *paths)
        self._paths = paths
        self._scratch = scratch
        self._group: Group | None = None
        self._folder: str | None = None

    def open(self) -> None:
        """Make the cgroup, and a scratch folder where the walls bring none. Raises OSError."""
        if self._walls.cgroups is not None:
            self._group = self._walls.cgroups.make()
        if self._walls.mode != "bwrap":
            self._folder = _folder_in(self._scratch)

    @property
    def environment(self) -> Mapping[str, str]:
        """Nothing of the server's but where programs and modules are."""
        return {
            "PATH": "/usr/local/bin:/usr/bin:/bin",
            "LANG": "C.UTF-8",
            "HOME": self._work,
            "TMPDIR": self._work,
            "PYTHONPATH": os.pathsep.join((str(Path(__file__).parents[4]), *self._paths)),
            "PYTHONDONTWRITEBYTECODE": "1",
        }

    @property
    def groups(self) -> Sequence[str]:
        """The cgroup, if there is one."""
        return self._group.entries if self._group is not None else ()

    @property
    def reached(self) -> Sequence[str]:
        """What the walls are made of, if they give each sandbox a user of its own."""
        return self._walls.reached(self._writable)

    def command(self, channel: int) -> Sequence[str]:
        """The child of this package, behind its walls."""
        limits = "none" if self._walls.mode == "none" else "group" if self._group is not None else "each"
        guard = "{guard}" if self._folder else INIT
        child = (sys.executable, "-P", "-m", CHILD, guard, str(channel), self._registry, self._work, limits)
        if self._folder is not None:
            return child
        filtered = ("--seccomp", BYTES + self._walls.calls.hex()) if self._walls.calls is not None else ()
        return (self._walls.program, *filtered, *walled(self._writable, self._hidden), *child)

    def suit(self, attempt: Attempt) -> None:
        """Set memory and cores. Raises NodeFailed MEMORY_TOO_SMALL, Away SANDBOX_UNAVAILABLE."""
        if self._group is None:
            return
        memory = memory_of(attempt, self._memory)
        try:
            self._group.limit(memory * MIB, cores_of(attempt))
        except OSError as error:
            if error.errno in (EBUSY, ENOMEM):  # the sandbox itself holds more than that already
                raise _too_small(memory) from error
            told = f"The sandbox cannot be held to its memory and cores: {error.strerror}"
            raise Away("SANDBOX_UNAVAILABLE", told) from error

    @property
    def has_run_out(self) -> bool:
        """Whether something in the sandbox was killed for want of memory."""
        return self._group is not None and self._group.has_run_out()

    def clear(self) -> None:
        """Remove the cgroup and the scratch folder."""
        if self._group is not None:
            self._group.remove()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)

    @property
    def _work(self) -> str:
        return self._folder or WORK


def memory_of(attempt: Attempt, otherwise: int) -> int:
    """MiB that the attempt may use: what it asks for, but never less than a sandbox needs for itself."""
    asked = attempt.resources.memory if attempt.resources is not None else 0
    return max(LEAST_MEMORY, int(asked) or otherwise)


def cores_of(attempt: Attempt) -> float:
    """Cores that the attempt may use: one if it asks for none."""
    return (attempt.resources.cpu if attempt.resources is not None else 0) or 1.0


def _too_small(memory: int) -> NodeFailed:
    told = f"The task may use {memory} MiB of memory, and its sandbox holds more than that already; ask for more"
    return NodeFailed("MEMORY_TOO_SMALL", told)


def _folder_in(scratch: Path) -> str:
    scratch.mkdir(mode=0o700, parents=True, exist_ok=True)
    return tempfile.mkdtemp(dir=scratch)
