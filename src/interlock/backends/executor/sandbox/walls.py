"""Which walls this machine can put around users' code, and which ones it is to put there."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import msgspec

from interlock.backends.executor.pool import guard
from interlock.backends.executor.sandbox.bubblewrap import find_program, shown, walled
from interlock.backends.executor.sandbox.cgroups import Cgroups, find_cgroups
from interlock.backends.executor.sandbox.seccomp import filter_here

Mode = Literal["bwrap", "subprocess", "none"]
_PATIENCE = 10.0
"""Seconds for a first sandbox to start."""
_CHANGE = """
import os, runpy, sys
runpy.run_path(sys.argv[1])["change_user"](os.getpid(), sys.argv[2].split(":"))
os.execv(sys.argv[3], sys.argv[3:])
"""
"""As the guard does it, before the words after the first two are run."""
_READ = "import sys; [open(name).close() for name in sys.argv[1:]]"
"""Stands for all modules that a sandbox loads: ours, and those of others."""


@dataclass(frozen=True)
class Walls:
    """What holds on this machine. ``mode`` is None where users' code cannot be run at all; ``reason`` says why.

    ``calls`` is the filter of system calls; None where there is none. ``has_users``: each sandbox runs as a user of the
    machine who is nobody else. ``is_weaker``: less than ``bwrap``, without having been asked for.
    """

    mode: Mode | None
    reason: str
    program: str = ""
    cgroups: Cgroups | None = None
    calls: bytes | None = None
    has_users: bool = False
    is_weaker: bool = False

    @property
    def name(self) -> str:
        """The mode as it is told outside."""
        return self.mode or "unavailable"

    def reached(self, writable: Sequence[str] = ()) -> Sequence[str]:
        """The folders that a sandbox must reach as its own user; none if it has no such user."""
        return (str(Path(self.program).parent), *shown(), *writable) if self.has_users else ()


def find_walls(asked: Mode | None, *, is_local: bool) -> Walls:
    """The walls to use. Only local mode ever gets weaker ones than ``bwrap``, and says so."""
    if asked in ("subprocess", "none") and is_local:
        return Walls(asked, "asked for by INTERLOCK_SANDBOX", cgroups=find_cgroups() if asked != "none" else None)
    program = find_program()
    problem = "there is no bubblewrap here"
    if program is not None:
        calls, filtered = _find_filter(program)
        problem = "" if calls is not None else _try(program, None)
    if program is not None and not problem:
        cgroups = find_cgroups()
        found = Walls("bwrap", "", program, cgroups, calls, has_users=True)
        problem = _find_user(found)
        told = "each sandbox a user of its own" if not problem else f"sandboxes run as the server's user: {problem}"
        return replace(found, reason=f"{_tell(cgroups)}; {filtered}; {told}", has_users=not problem)
    if asked is None and is_local:
        return Walls("subprocess", f"not bwrap: {problem}", cgroups=find_cgroups(), is_weaker=True)
    return Walls(None, problem)


def _tell(cgroups: Cgroups | None) -> str:
    if cgroups is None:
        return "limits by rlimit only, cores not bounded: no cgroup can be made"
    if not cgroups.holds_cores:
        return "with cgroups for memory and processes; cores not bounded: no cgroup for them can be made"
    return "with cgroups for memory, processes and cores"


def _find_filter(program: str) -> tuple[bytes | None, str]:
    """The filter of system calls, and what to say of it; tried out, for a kernel may have been built without."""
    calls = filter_here()
    if calls is None:
        return None, f"no seccomp here: there is no filter of system calls for {platform.machine()}"
    problem = _try(program, calls)
    return (None, f"no seccomp here: {problem}") if problem else (calls, "system calls filtered")


def _find_user(walls: Walls) -> str:
    """Why sandboxes cannot have users of their own; empty if they can, and if such a user can read our modules."""
    if os.geteuid() != 0:
        return "only root can give them others"
    change = (sys.executable, "-I", "-S", "-c", _CHANGE, guard.__file__, ":".join(walls.reached()))
    return _try(walls.program, walls.calls, change)


def _try(program: str, calls: bytes | None, before: Sequence[str] = ()) -> str:
    """Why bubblewrap cannot be used with this filter of system calls, and by ``before``; empty if it can."""
    given = () if calls is None else (guard.readable(calls),)
    filtered = [word for each in given for word in ("--seccomp", str(each))]
    inside = (sys.executable, "-I", "-S", "-c", _READ, __file__, msgspec.__file__)
    command = [*before, program, *filtered, *walled(()), *inside]
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=_PATIENCE,
            check=False,
            env={},
            cwd=Path("/"),
            pass_fds=given,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"{program} cannot be run: {error}"
    finally:
        for each in given:
            os.close(each)
    said = done.stderr.strip().rpartition("\n")[2]
    return "" if done.returncode == 0 else f"bubblewrap fails here: {said[-300:]}"
