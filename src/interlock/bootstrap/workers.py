"""Several serving processes on one port: started, watched, started again, stopped together."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time

import structlog

from interlock.bootstrap.server import open_port
from interlock.config import Settings, worker_environment

LONGEST_DELAY = 10.0
"""Seconds before a process that keeps dying is started again."""

log = structlog.get_logger("workers")


def run_workers(count: int, settings: Settings) -> int:
    """Serve with ``count`` processes until SIGTERM or SIGINT. A process that dies is started again, ever later."""
    probe = open_port(settings.host, settings.port, shared=True)  # a taken port is said once, not by every process
    port = probe.getsockname()[1]
    stopping = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopping.set())
    workers = [_Worker(settings, port) for _ in range(count)]
    for worker in workers:
        worker.start()
    while not stopping.wait(0.2):
        for worker in workers:
            worker.keep_alive()
    for worker in workers:
        worker.ask_to_stop()
    codes = [worker.wait(settings.shutdown_grace_seconds + 5) for worker in workers]
    probe.close()
    return max(codes, default=0)


class _Worker:
    def __init__(self, settings: Settings, port: int) -> None:
        self._command = [sys.executable, "-m", "interlock", "serve", "--host", settings.host, "--port", str(port)]
        self._command += ["--data", str(settings.data_dir), *(["--local"] if settings.local else [])]
        self._process: subprocess.Popen[bytes] | None = None
        self._delay = 0.5
        self._next = 0.0

    def start(self) -> None:
        self._process = subprocess.Popen(self._command, env=worker_environment())

    def keep_alive(self) -> None:
        if self._process is None or self._process.poll() is None:
            return
        if self._next == 0.0:
            log.error("worker.died", pid=self._process.pid, code=self._process.returncode, again_in=self._delay)
            self._next = time.monotonic() + self._delay
            self._delay = min(LONGEST_DELAY, self._delay * 2)
        elif time.monotonic() >= self._next:
            self._next = 0.0
            self.start()

    def ask_to_stop(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()

    def wait(self, seconds: float) -> int:
        if self._process is None:
            return 0
        try:
            return self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return 1
