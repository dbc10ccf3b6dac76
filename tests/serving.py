"""Server processes over one database, for tests that need more than one of them or end them badly."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import tempfile
from collections.abc import Collection, Sequence
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import httpx2

from interlock.backends.identity.local import LOCAL_SCOPES, LocalIdentity
from interlock.kit.clock import SystemClock
from served import SECRETS, environment

DEADLINE = 60.0


class Serving:
    """One process of ``interlock serve``. Its log is ``log``; ``token`` is one of the local user.

    ``program`` is what is run instead of the plain command.
    """

    def __init__(
        self,
        data_dir: Path,
        database_url: str,
        *options: str,
        program: Sequence[str] = ("-m", "interlock"),
        **settings: str,
    ) -> None:
        self.data_dir = data_dir
        self.log = Path(tempfile.mkstemp(prefix="server-", suffix=".log", dir=data_dir)[1])
        command = [sys.executable, *program, "serve", "--port", "0", "--data", str(data_dir), "--json"]
        told = environment(
            INTERLOCK_DATABASE_URL=database_url, **{"INTERLOCK_DATABASE_POOL_SIZE": "4", **SECRETS, **settings}
        )
        with self.log.open("w") as errors:
            self.process = subprocess.Popen(
                [*command, *options],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                env=told,
            )
        self.url = self.token = ""

    def ready(self) -> Serving:
        """Wait until it takes requests."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, self.logged()
        told = json.loads(line)
        self.url = told["ready"]
        self.token = told.get("token") or self.mint("local", "default")
        return self

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    def logged(self) -> str:
        return self.log.read_text(errors="replace")

    def mint(self, subject: str, tenant: str, scopes: Collection[str] = LOCAL_SCOPES) -> str:
        """A token of anybody."""
        identity = LocalIdentity(self.data_dir, SystemClock())
        identity.open()
        return identity.mint(subject, tenant, scopes, timedelta(hours=1))

    def client(self, token: str = "") -> httpx2.AsyncClient:
        """A client with a credential, by default its own."""
        return httpx2.AsyncClient(
            base_url=self.url, headers={"authorization": f"Bearer {token or self.token}"}, timeout=30.0
        )

    def stop(self, number: int = signal.SIGTERM) -> int:
        """End it; its exit code."""
        self.ask_to_end(number)
        return self.ended()

    def ask_to_end(self, number: int = signal.SIGTERM) -> None:
        """Send it the signal, and do not wait."""
        with suppress(ProcessLookupError):
            self.process.send_signal(number)

    def ended(self) -> int:
        """Wait until it is gone; its exit code."""
        code = self.process.wait(DEADLINE)
        if self.process.stdout is not None:
            self.process.stdout.close()
        return code


def stop_all(servers: Sequence[Serving]) -> None:
    """End them, all at once: each waits a while for its last requests."""
    for server in servers:
        server.ask_to_end()
    for server in servers:
        server.ended()


def descendants(pid: int) -> set[int]:
    """All living processes below one."""
    listed = subprocess.run(["ps", "-eo", "pid=,ppid=,stat="], capture_output=True, text=True, check=True)
    rows = [line.split() for line in listed.stdout.splitlines()]
    parents = {int(row[0]): int(row[1]) for row in rows if not row[2].startswith("Z")}
    found, size = {pid}, 0
    while len(found) > size:
        size = len(found)
        found |= {child for child, parent in parents.items() if parent in found}
    return found - {pid}
