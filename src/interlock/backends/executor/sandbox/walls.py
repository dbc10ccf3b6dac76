"""Which walls this machine can put around users' code, and which ones it is to put there."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from interlock.backends.executor.pool.guard import readable
from interlock.backends.executor.sandbox.bubblewrap import find_program, walled
from interlock.backends.executor.sandbox.cgroups import Cgroups, find_cgroups
from interlock.backends.executor.sandbox.seccomp import filter_here

Mode = Literal["bwrap", "subprocess", "none"]
_PATIENCE = 10.0
"""Seconds for a first sandbox to start."""


@dataclass(frozen=True)
class Walls:
    """What holds on this machine. ``mode`` is None where users' code cannot be run at all; ``reason`` says why.

    ``calls`` is the filter of system calls; None where there is none. ``is_weaker``: less than ``bwrap``, without
    having been asked for.
    """

    mode: Mode | None
    reason: str
    program: str = ""
    cgroups: Cgroups | None = None
    calls: bytes | None = None
    is_weaker: bool = False

    @property
    def name(self) -> str:
        """The mode as it is told outside."""
        return self.mode or "unavailable"


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
        return Walls("bwrap", f"{_tell(cgroups)}; {filtered}", program, cgroups, calls)
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


def _try(program: str, calls: bytes | None) -> str:
    """Why bubblewrap cannot be used with this filter of system calls; empty if it can."""
    given = () if calls is None else (readable(calls),)
    filtered = [word for each in given for word in ("--seccomp", str(each))]
    command = [program, *filtered, *walled(()), sys.executable, "-I", "-S", "-c", "pass"]
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
    return "" if done.returncode == 0 else f"bubblewrap fails here: {done.stderr.strip()[-300:]}"
