"""A process the harness started: its output is read all the time, it can be waited for, and it is ended for certain."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType

from benchmarks.machine import tree

_KEPT_LINES = 1_000  # a server that logs to stdout must not fill our memory; what we wait for comes early


class ProgramError(Exception):
    """A program did not say what was waited for, in time or at all."""


class Program:
    """One child process. stdout is kept by line for `expect` and goes to the log file, as stderr does."""

    def __init__(
        self,
        command: Sequence[str],
        *,
        log: Path,
        cwd: Path | None = None,
        environment: Mapping[str, str] | None = None,
        user: int | None = None,
        stop_signal: signal.Signals = signal.SIGTERM,
    ) -> None:
        self._log, self._stop_signal = log, stop_signal
        self._lines: list[str] = []
        self._ended = False
        self._news = threading.Condition()
        self._file = log.open("ab")
        try:
            self._process = subprocess.Popen(
                list(command),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._file,
                cwd=cwd,
                env={**_inherited(), **(environment or {})},
                start_new_session=True,  # Ctrl-C reaches the harness only, which ends its programs in order
                user=user,
                group=user,
                extra_groups=None if user is None else [],
            )
        except OSError as error:
            self._file.close()
            raise ProgramError(f"cannot start {command[0]}: {error}") from error
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> Program:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        """The process id; stays the same after the end."""
        return self._process.pid

    def expect(self, prefix: str, seconds: float) -> str:
        """The rest of the first line of stdout that starts with `prefix`, stripped. ProgramError if none comes."""
        deadline = time.monotonic() + seconds
        with self._news:
            while True:
                for line in self._lines:
                    if line.startswith(prefix):
                        return line[len(prefix) :].strip()
                left = deadline - time.monotonic()
                if self._ended or left <= 0:
                    raise ProgramError(self._complaint(prefix, seconds))
                self._news.wait(left)

    def send(self, line: str) -> None:
        """Write one line to its stdin. ProgramError if it has ended."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(line.encode() + b"\n")
            self._process.stdin.flush()
        except OSError as error:
            raise ProgramError(f"cannot tell {line!r} to a program that has ended: {error}") from error

    def stop(self, patience: float = 20) -> None:
        """Ask it to end, wait `patience` seconds, then kill it. Safe to call twice."""
        if self._process.poll() is None:
            self._process.send_signal(self._stop_signal)
            try:
                self._process.wait(patience)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._reader.join(5)  # a grandchild may hold the pipe open: do not wait for it
        if not self._reader.is_alive():
            self._close_pipes()
            self._file.close()

    def _close_pipes(self) -> None:
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for raw in self._process.stdout:
            self._file.write(raw)
            with self._news:
                if len(self._lines) < _KEPT_LINES:
                    self._lines.append(raw.decode(errors="replace"))
                    self._news.notify_all()
        with self._news:
            self._ended = True
            self._news.notify_all()

    def _complaint(self, prefix: str, seconds: float) -> str:
        self._file.flush()
        tail = self._log.read_text(errors="replace")[-1500:]
        how = f"ended (exit code {self._process.poll()})" if self._ended else f"was silent for {seconds:.0f} s"
        return f"waited for a line that starts with {prefix!r}, but the program {how}; its log ends:\n{tail}"


def _inherited() -> dict[str, str]:
    """Our environment without what is meant for the harness alone: Interlock refuses settings it does not know."""
    return {name: value for name, value in os.environ.items() if not name.startswith("INTERLOCK_BENCH_")}


def end_descendants(patience: float = 10) -> None:
    """End whatever this process started or adopted and still lives: leftovers would disturb the next system."""
    deadline = time.monotonic() + patience
    while left := [process for process in tree(os.getpid()) if not _reap(process.pid)]:
        impatient = time.monotonic() > deadline
        for process in left:
            if impatient:
                _signal(process.pid, signal.SIGKILL)
            elif process.parent == os.getpid():  # a database ends its own workers
                _signal(process.pid, signal.SIGINT)
        time.sleep(0.2)


def _reap(pid: int) -> bool:
    """True if `pid` is a child of ours that has ended; it is gone from the process table then."""
    try:
        return os.waitpid(pid, os.WNOHANG)[0] == pid
    except ChildProcessError:
        return False


def _signal(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):  # it ended between the look and the signal, as wanted
        os.kill(pid, number)


def free_port() -> int:
    """A TCP port of the loopback address that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
