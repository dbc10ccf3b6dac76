"""Child processes of the harness: started, watched, hurt and ended by their id, never by name."""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import interlock

TESTS = Path(__file__).resolve().parents[1]
SOURCE = Path(interlock.__file__).resolve().parents[1]
"""The code that is tested: what this process imports, so that planted bugs reach the servers, too."""
_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True)


class ProcessError(Exception):
    """A child did not say what was waited for, in time or at all."""


def _die_with_parent() -> None:
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


class Process:
    """One child. Its standard output is read by line; what it writes goes to ``log``."""

    def __init__(self, name: str, log: Path) -> None:
        self.name = name
        self.log = log
        self.lines: list[str] = []
        self.logged_before = 0  # characters in the log when it was launched
        self._news = asyncio.Condition()
        self._process: asyncio.subprocess.Process | None = None
        self._reader: asyncio.Task[None] | None = None
        self._is_at_end = False

    async def launch(self, command: Sequence[str], environment: Mapping[str, str]) -> None:
        """Start it. Its environment is exactly this, so that nothing of the caller's leaks in."""
        self.lines, self._is_at_end, self.logged_before = [], False, len(self.logged())
        with self.log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
                env={
                    "PATH": os.defpath,
                    "HOME": str(self.log.parent),
                    "PYTHONPATH": f"{SOURCE}:{TESTS}",
                    **environment,
                },
                start_new_session=True,
                preexec_fn=_die_with_parent,
            )
        self._reader = asyncio.create_task(self._read())

    @property
    def pid(self) -> int:
        """Its id. Raises ProcessError before it was launched."""
        if self._process is None:
            raise ProcessError(f"{self.name} was never launched")
        return self._process.pid

    @property
    def is_running(self) -> bool:
        """Whether it has not ended (a stopped one still runs)."""
        return self._process is not None and self._process.returncode is None

    @property
    def exit_code(self) -> int | None:
        """What it ended with; negative for a signal; None while it runs."""
        return None if self._process is None else self._process.returncode

    async def expect(self, prefix: str, seconds: float) -> str:
        """The rest of the first output line that begins with ``prefix``. Raises ProcessError after ``seconds``."""
        try:
            async with asyncio.timeout(seconds), self._news:
                while True:
                    for line in self.lines:
                        if line.startswith(prefix):
                            return line.removeprefix(prefix).strip()
                    if self._is_at_end:
                        raise ProcessError(f"{self.name} ended without {prefix!r}; {self.tail()}")
                    await self._news.wait()
        except TimeoutError:
            raise ProcessError(f"{self.name} did not say {prefix!r} in {seconds:g} s; {self.tail()}") from None

    def send(self, number: signal.Signals) -> bool:
        """Send it a signal; False if it has already ended."""
        if self._process is None or self._process.returncode is not None:
            return False
        self._process.send_signal(number)
        return True

    async def ended(self, seconds: float) -> bool:
        """Wait for its end; False if it still runs after ``seconds``."""
        if self._process is None:
            return True
        try:
            await asyncio.wait_for(self._process.wait(), seconds)
        except TimeoutError:
            return False
        return True

    async def kill(self) -> None:
        """SIGKILL, and wait until it is gone."""
        self.send(signal.SIGKILL)
        await self.ended(10)

    async def stop(self, grace: float = 20.0) -> None:
        """End it in order, or else for certain."""
        self.send(signal.SIGCONT)
        self.send(signal.SIGTERM)
        if not await self.ended(grace):
            await self.kill()
        if self._reader is not None:
            await asyncio.wait([self._reader], timeout=2)

    def logged(self) -> str:
        """Everything it wrote so far."""
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def tail(self) -> str:
        """The end of its log, for messages."""
        return f"{self.log}: …{self.logged()[-1500:]}"

    async def _read(self) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        async for raw in self._process.stdout:
            with self.log.open("ab") as log:
                log.write(raw)
            async with self._news:
                if len(self.lines) < 1000:
                    self.lines.append(raw.decode(errors="replace").rstrip())
                self._news.notify_all()
        async with self._news:
            self._is_at_end = True
            self._news.notify_all()


def python(module: str, *arguments: str) -> list[str]:
    """The command that runs a module with this interpreter."""
    return [sys.executable, "-m", module, *arguments]
