"""Several serving processes on one port: started, watched, started again, stopped together."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import structlog

from interlock.bootstrap.announce import ANNOUNCED
from interlock.bootstrap.server import open_port
from interlock.config import Settings, worker_environment

LONGEST_DELAY = 10.0
"""Seconds before a process that keeps dying is started again."""

BROKEN_OFF = 1
"""The exit code of a process that did not end by itself in time."""

_TURN = 0.1
log = structlog.get_logger("workers")

Announce = Callable[[str, str], None]
"""Gets the address, and a token if one may be shown, once, when every process takes requests."""


def run_workers(count: int, settings: Settings, on_ready: Announce, *, as_json: bool) -> int:
    """Serve with ``count`` processes until SIGTERM or SIGINT. A process that dies is started again, ever later.

    The first one starts alone: what keeps it from starting would keep all of them, is said by it once, and its exit
    code is returned. ``as_json`` is the form of what they say on stderr.
    """
    open_port(settings.host, settings.port).close()  # others that share the port are noticed only by one who does not
    held = open_port(settings.host, settings.port, shared=True)
    port = held.getsockname()[1]
    stopping = _Stopping()
    meeting = tempfile.TemporaryDirectory(prefix="interlock-workers-", ignore_cleanup_errors=True)
    settings = settings.model_copy(update={"siblings_dir": settings.siblings_dir or Path(meeting.name)})
    workers = [_Worker(settings, port, count, as_json=as_json) for _ in range(count)]
    try:
        code = _start_first(workers[0], stopping)
        if code is None:
            for worker in workers[1:]:
                worker.start()
            _watch(workers, stopping, on_ready)
    finally:
        held.close()
    codes = _stop(workers, stopping, settings.shutdown_grace_seconds + 5)
    meeting.cleanup()
    return max(codes) if code is None else code


class _Stopping:
    """Whether somebody asked for the end, and whether they insisted."""

    def __init__(self) -> None:
        self.asked = threading.Event()
        self.insisted = threading.Event()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._ask)

    def _ask(self, *_: Any) -> None:
        (self.insisted if self.asked.is_set() else self.asked).set()


def _start_first(worker: _Worker, stopping: _Stopping) -> int | None:
    """None once it takes requests or the end was asked for; its exit code if it ended before."""
    worker.start()
    while worker.ready is None and not stopping.asked.wait(_TURN):
        code = worker.code()
        if code is not None:
            return code
    return None


def _watch(workers: list[_Worker], stopping: _Stopping, on_ready: Announce) -> None:
    is_announced = False
    while not stopping.asked.wait(_TURN):
        for worker in workers:
            worker.keep_alive()
        ready = [worker.ready for worker in workers if worker.ready is not None]
        if not is_announced and len(ready) == len(workers):
            is_announced = True
            on_ready(*ready[0])


def _stop(workers: list[_Worker], stopping: _Stopping, seconds: float) -> list[int]:
    """Ask all to end and wait for them so long; whoever insists has them broken off. Their exit codes."""
    for worker in workers:
        worker.end()
    deadline = time.monotonic() + seconds
    while any(worker.is_alive for worker in workers) and time.monotonic() < deadline:
        if stopping.insisted.wait(_TURN):
            break
    return [worker.break_off() for worker in workers]


class _Worker:
    """One process. ``ready`` is its address and what token it showed, from when it takes requests first."""

    def __init__(self, settings: Settings, port: int, count: int, *, as_json: bool) -> None:
        self._command = [sys.executable, "-m", "interlock", "serve", *(["--json"] if as_json else [])]
        self._environment = worker_environment(settings, port, count)
        self._process: subprocess.Popen[str] | None = None
        self._delay = 0.5
        self._next = 0.0
        self.ready: tuple[str, str] | None = None

    def start(self) -> None:
        # A group of its own: Ctrl-C reaches only the process that will tell this one to end.
        self._process = subprocess.Popen(
            self._command,
            env=self._environment,
            stdin=subprocess.PIPE,  # held open as long as this process lives: theirs ends with it
            stdout=subprocess.PIPE,
            text=True,
            process_group=0,
        )
        assert self._process.stdout is not None
        threading.Thread(target=self._listen, args=(self._process.stdout,), daemon=True).start()

    def _listen(self, stdout: IO[str]) -> None:
        """Take in what it announces, which is for this process; log lines are for whoever reads our output."""
        with stdout:
            for line in stdout:
                if line.startswith(ANNOUNCED):
                    told = json.loads(line)
                    self.ready = told["ready"], told.get("token", "")
                else:
                    sys.stdout.write(line)
                    sys.stdout.flush()

    def keep_alive(self) -> None:
        """Start it again if it has died."""
        code = self.code()
        if self._process is None or code is None:
            return
        if self._next == 0.0:
            log.error("worker.died", pid=self._process.pid, code=code, again_in=self._delay)
            self._next = time.monotonic() + self._delay
            self._delay = min(LONGEST_DELAY, self._delay * 2)
        elif time.monotonic() >= self._next:
            self._next = 0.0
            self._let_go()
            self.start()

    @property
    def is_alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def code(self) -> int | None:
        """Its exit code; None before its start and while it lives."""
        return None if self._process is None else self._process.poll()

    def end(self) -> None:
        """Ask it to end in its own time."""
        if self._process is not None and self.is_alive:
            self._process.terminate()

    def break_off(self) -> int:
        """End it if it still lives; its exit code."""
        if self._process is None:
            return 0
        if self.is_alive:
            self._process.kill()
            self._process.wait()
            self._let_go()
            return BROKEN_OFF
        self._let_go()
        return self._process.returncode

    def _let_go(self) -> None:
        """Close what held the process to this one."""
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()
