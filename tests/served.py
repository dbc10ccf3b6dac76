"""A running server for tests that talk HTTP: one real process per test session, started as a user would."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import pytest

START_SECONDS = 60.0
SECRETS = {
    "INTERLOCK_API_SECRET_KEY": "pV3xQ9mK7rT1zW5yB8nL2cF6hJ4dG0sA",
    "INTERLOCK_ENCRYPTION_KEY": "Zk8Rw2Lq6Tn4Vb1Xc9Hy7Gf3Ds5Ja0Pe",
    "INTERLOCK_JWT_SECRET_KEY": "uM1bN5vC9xZ3aS7dF2gH6jK0lQ8wE4rT",
}
"""What a server outside local mode must be given."""


@dataclass(frozen=True)
class RunningServer:
    """Where it is, and a token for its local user."""

    url: str
    token: str
    data_dir: Path
    pid: int


def environment(**more: str) -> dict[str, str]:
    """The environment of a server under test: nothing of ours but what is given."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("INTERLOCK_")}
    return kept | {"INTERLOCK_ACCESS_LOG": "false", "INTERLOCK_LOG_LEVEL": "WARNING"} | more


def start_server(
    data_dir: Path, *options: str, command: Sequence[str] = ("up",), **more: str
) -> tuple[subprocess.Popen[str], str, str]:
    """``interlock up``, or another ``command`` that serves, until it says that it is ready; its URL and token."""
    line = [sys.executable, "-m", "interlock", *command, "--local", "--port", "0", "--data", str(data_dir), *options]
    log = (data_dir / "server.log").open("a")
    process = subprocess.Popen(
        line, stdout=subprocess.PIPE, stderr=log, text=True, env=environment(**more), start_new_session=True
    )
    log.close()
    assert process.stdout is not None
    url = token = ""
    for told in process.stdout:
        _keep(told, data_dir)
        word, _, rest = told.strip().partition(" ")
        url = rest if word == "ready" else url
        token = rest if word == "token" else token
        if url and token:
            threading.Thread(target=_keep_log, args=(process.stdout, data_dir), daemon=True).start()
            return process, url, token
    raise AssertionError(f"the server did not start: {(data_dir / 'server.log').read_text()[-2000:]}")


def _keep_log(lines: IO[str], data_dir: Path) -> None:
    """What the server logs goes on in the file; a pipe that nobody reads would stop it."""
    with suppress(ValueError, OSError):  # closed when it was stopped
        for line in lines:
            _keep(line, data_dir)


def _keep(line: str, data_dir: Path) -> None:
    with (data_dir / "server.log").open("a") as log:
        log.write(line)


def stop_server(process: subprocess.Popen[str]) -> int:
    """Ask it to stop; its exit code."""
    process.send_signal(signal.SIGTERM)
    try:
        code = process.wait(30)
    finally:
        if process.stdout is not None:
            process.stdout.close()
    return code


@pytest.fixture(scope="session")
def server() -> Iterator[RunningServer]:
    """A server of this session."""
    with tempfile.TemporaryDirectory(prefix="interlock-served-") as folder:
        data_dir = Path(folder)
        process, url, token = start_server(data_dir)
        yield RunningServer(url, token, data_dir, process.pid)
        stop_server(process)
