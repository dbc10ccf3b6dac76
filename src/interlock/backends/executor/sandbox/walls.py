"""Which walls this machine can put around users' code, and which ones it is to put there."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from interlock.backends.executor.sandbox.bubblewrap import find_program, walled
from interlock.backends.executor.sandbox.cgroups import Cgroups, find_cgroups

Mode = Literal["bwrap", "subprocess", "none"]
_PATIENCE = 10.0
"""Seconds for a first sandbox to start."""


@dataclass(frozen=True)
class Walls:
    """What holds on this machine. ``mode`` is None where users' code cannot be run at all; ``reason`` says why.

    ``is_weaker``: less than ``bwrap``, without having been asked for.
    """

    mode: Mode | None
    reason: str
    program: str = ""
    cgroups: Cgroups | None = None
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
    problem = "there is no bubblewrap here" if program is None else _try(program)
    if program is not None and not problem:
        cgroups = find_cgroups()
        told = "with cgroups for memory and processes" if cgroups else "limits by rlimit only: no cgroup can be made"
        return Walls("bwrap", told, program, cgroups)
    if asked is None and is_local:
        return Walls("subprocess", f"not bwrap: {problem}", cgroups=find_cgroups(), is_weaker=True)
    return Walls(None, problem)


def _try(program: str) -> str:
    """Why bubblewrap cannot be used; empty if it can."""
    command = [program, *walled(()), sys.executable, "-I", "-S", "-c", "pass"]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=_PATIENCE, check=False, env={}, cwd=Path("/")
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"{program} cannot be run: {error}"
    return "" if done.returncode == 0 else f"bubblewrap fails here: {done.stderr.strip()[-300:]}"
