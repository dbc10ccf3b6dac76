"""A Ray cluster for tests, and executors on it."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from conformance.executor_trial import KeptBlobs, Trial
from free_ports import free_port
from interlock.backends.executor.ray.executor import RayExecutor
from interlock.backends.executor.ray.messages import HostPlan
from interlock.nodes.testing import ScriptedEgress

TESTS = Path(__file__).parent
LIMIT = 60.0
_numbers = count(1)
_CLOSED = {
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # which keeps all of it on 127.0.0.1
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AUTH_MODE": "token",
    "RAY_AUTH_TOKEN": "0123456789abcdef" * 4,
    "RAY_health_check_period_ms": "500",
    "RAY_health_check_failure_threshold": "3",
}


def ray_environment() -> dict[str, str]:
    """What everything of the cluster sees: the code under test, and the cluster's token."""
    paths = [str(Path(sys.modules["interlock"].__path__[0]).parent), str(TESTS)]
    return {**os.environ, **_CLOSED, "PYTHONPATH": os.pathsep.join(paths)}


class RayHouse:
    """A cluster whose nodes the test adds and kills. ``settings`` are Ray's own, by the names it has for them."""

    def __init__(self, **settings: str) -> None:
        self._environment = {**ray_environment(), **{f"RAY_{name}": value for name, value in settings.items()}}
        self.address = ""
        self._port = free_port()
        self._process: subprocess.Popen[str] | None = None
        self._folder = tempfile.TemporaryDirectory(prefix="ray-", ignore_cleanup_errors=True)

    @property
    def pid(self) -> int:
        """The process that all of it is below. Raises RuntimeError while there is none."""
        if self._process is None:
            raise RuntimeError("the cluster is not open")
        return self._process.pid

    async def open(self, cpus: int = 2) -> None:
        """Start the head, unless it is there."""
        if self._process is None:
            (Path(self._folder.name) / "ray").mkdir(exist_ok=True)
            self._process = subprocess.Popen(
                [sys.executable, str(TESTS / "hold_ray.py")],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env={**self._environment, "RAY_TMPDIR": self._folder.name},
                text=True,
            )
            await self.add("head", cpus)

    async def add(self, name: str, cpus: int) -> str:
        """Add a node; its worker's id."""
        told = await self._do("add", name, cpus, self._port)
        self.address = told["address"]
        worker: str = told["worker"]
        return worker

    async def kill(self, name: str) -> None:
        """kill -9 of all that a node is."""
        await self._do("kill", name)

    def crash(self) -> None:
        """kill -9 of the head and of all nodes."""
        assert self._process is not None
        with self._process as process:
            process.kill()
        self._process = None

    def close(self) -> None:
        """End all of it."""
        if self._process is not None:
            self._process.communicate("end\n", timeout=LIMIT)
        self._folder.cleanup()

    def trial(
        self,
        registry: str = "conformance.executor_probe:load",
        *,
        places: str = "",
        given: dict[str, Any] | None = None,
        **options: Any,
    ) -> Trial:
        """An executor that is not started; of an installation of its own, unless ``options`` say of which."""
        number = next(_numbers)
        told: dict[str, Any] = {
            "session": f"session-{number}",
            "house": f"house-{number}",
            "version": "1",
            "folder": Path(self._folder.name) / "local",
            "environment": ray_environment(),
            "address": self.address,
            **options,
        }
        host = HostPlan(
            registry=registry,
            environment={"PYTHONPATH": ray_environment()["PYTHONPATH"]},
            places=places,
            given=given or {},
        )
        egress, blobs = ScriptedEgress([]), KeptBlobs()
        return Trial(RayExecutor(host, egress, blobs, **told), egress, blobs)

    async def _do(self, *command: Any) -> dict[str, str]:
        line = await asyncio.wait_for(asyncio.to_thread(self._ask, " ".join(map(str, command))), LIMIT)
        assert line, f"the cluster died of {command}"
        told: dict[str, str] = json.loads(line)
        return told

    def _ask(self, command: str) -> str:
        assert self._process is not None
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{command}\n")
        self._process.stdin.flush()
        return self._process.stdout.readline()


@pytest.fixture(scope="session")
def ray_house() -> Iterator[RayHouse]:
    """The cluster of all tests that harm none: one node. ``open`` it first."""
    house = RayHouse()
    yield house
    house.close()


async def ready(trial: Trial) -> None:
    """Return when the executor has a node. On a busy machine a Ray takes its time."""
    assert isinstance(trial.executor, RayExecutor)
    executor = trial.executor
    await until(lambda: executor.state == "ready", "a node", 90.0)


async def until(condition: Callable[[], Any], what: str, seconds: float = 30.0) -> None:
    """Wait for what only processes elsewhere bring about; fail after ``seconds``."""
    try:
        async with asyncio.timeout(seconds):
            while not condition():
                await asyncio.sleep(0.02)
    except TimeoutError:
        raise AssertionError(f"{what} did not come true") from None
