"""One Interlock server process under test."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from crash.clock import wall
from crash.database import Observer
from crash.process import Process
from free_ports import free_port

READY_SECONDS = 45.0
FAILPOINT_EXIT = 86


class Server:
    """``interlock serve`` on a port of its own that survives restarts; the signing keys are shared by all of them."""

    def __init__(self, name: str, directory: Path, database_url: str, **settings: str) -> None:
        self.name = name
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.token = ""
        self.launches = 0
        self._database_url = database_url
        self._settings = {
            key if key.startswith("RAY_") else f"INTERLOCK_{key.upper()}": value for key, value in settings.items()
        }
        self._data = directory / "shared-data"
        self.process = Process(name, directory / f"{name}.log")

    async def launch(self, failpoints: str = "") -> None:
        """Start it and wait until it serves. Raises ProcessError with the end of its log."""
        await self.begin(failpoints)
        await self.ready()

    async def begin(self, failpoints: str = "") -> None:
        """Start it without waiting."""
        self.launches += 1
        command = [str(Path(sys.executable).parent / "interlock"), "serve", "--host", "127.0.0.1"]
        await self.process.launch(
            [*command, "--port", str(self.port)],
            {
                "INTERLOCK_DATABASE_URL": self._database_url,
                "INTERLOCK_DATA_DIR": str(self._data),
                "INTERLOCK_EGRESS_ALLOW": "loopback",
                "INTERLOCK_LOCAL": "1",
                "INTERLOCK_ACCESS_LOG": "false",
                "INTERLOCK_FAILPOINTS": failpoints,
                **self._settings,
            },
        )

    async def ready(self) -> None:
        """Wait until it serves."""
        await self.process.expect("ready", READY_SECONDS)
        self.token = await self.process.expect("token", 5)

    @property
    def runner_suffix(self) -> str:
        """How the names of this process's runners end."""
        return f":{os.uname().nodename}:{self.process.pid}"

    async def runner_ids(self, observer: Observer) -> set[int]:
        """The runners this process registered and that still have a row (its last process, if it is dead)."""
        return {number for number, name in (await observer.runners()).items() if name.endswith(self.runner_suffix)}

    async def kill(self) -> float:
        """SIGKILL; the wall time just before."""
        at = wall()
        await self.process.kill()
        return at

    def freeze(self) -> float:
        """SIGSTOP; the wall time just before."""
        at = wall()
        self.process.send(signal.SIGSTOP)
        return at

    def thaw(self) -> None:
        """SIGCONT."""
        self.process.send(signal.SIGCONT)

    def count_logged(self, text: str) -> int:
        """How many lines of all its lives' logs contain ``text``."""
        return sum(text in line for line in self.process.logged().splitlines())
