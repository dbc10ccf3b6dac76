"""Whose rights a Postgres program runs with, and how to run one to its end."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from interlock.core.errors import ErrorKind, InterlockError

LAUNCHER = Path(__file__).with_name("launcher.py")

# Nothing is inherited: PG* variables, preloaded libraries or a locale of the caller must not bend the server, and
# messages must be English because some of them are recognised.
ENVIRONMENT = {"LC_ALL": "C", "PATH": "/usr/bin:/bin"}


@dataclass(frozen=True)
class Finished:
    """How a program ended."""

    status: int
    output: str  # stripped, like the next
    complaint: str  # what it wrote to stderr


@dataclass(frozen=True)
class Rights:
    """Ours as they are, ours seen from a user namespace, or those of another user; ``uid`` owns the files made."""

    kind: Literal["own", "namespace", "user"]
    uid: int
    gid: int

    @classmethod
    def own(cls) -> Rights:
        """The rights of this process: right for everyone but root."""
        return cls("own", os.geteuid(), os.getegid())

    @classmethod
    def namespace(cls) -> Rights:
        """Root without being root: a user namespace; files still belong to this process's user."""
        return cls("namespace", os.geteuid(), os.getegid())

    @classmethod
    def user(cls, uid: int, gid: int) -> Rights:
        """Those of another user; only root can take them."""
        return cls("user", uid, gid)

    def command(self, directory: Path, program: Path, *arguments: str) -> list[str]:
        """The argument vector that runs ``program`` with these rights; its process id stays that of the program."""
        if self.kind == "own":
            return [str(program), *arguments]
        word = "namespace" if self.kind == "namespace" else f"{self.uid}:{self.gid}"
        return [sys.executable, "-I", "-S", str(LAUNCHER), word, str(directory), str(program), *arguments]

    def give(self, path: Path) -> None:
        """Hand over a file or directory that we have just made."""
        if self.kind == "user":
            os.chown(path, self.uid, self.gid)

    async def run(self, directory: Path, program: Path, *arguments: str, within: float) -> Finished:
        """Run ``program`` in ``directory`` to its end.

        Raises OSError if it cannot be started, and TIMEOUT after ``within`` seconds, having ended all it began.
        """
        process = await asyncio.create_subprocess_exec(
            *self.command(directory, program, *arguments),
            cwd=directory,
            env=ENVIRONMENT,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
        )
        try:
            async with asyncio.timeout(within):
                output, complaint = await process.communicate()
        except TimeoutError:
            message = f"{program} did not end within {within:g} s; is the disk of {directory} very slow or full?"
            raise InterlockError(ErrorKind.TIMEOUT, "EMBEDDED_POSTGRES_SLOW", message) from None
        finally:
            if process.returncode is None:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                await process.wait()
        words = (stream.decode(errors="replace").strip() for stream in (output, complaint))
        return Finished(process.returncode or 0, *words)
