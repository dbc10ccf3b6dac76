"""What the tests of executors share: attempts to submit, their reports, and services that keep what they get."""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any
from uuid import UUID

from interlock.core.commands import TaskReported
from interlock.core.errors import not_found, unavailable
from interlock.nodes.testing import ScriptedEgress
from interlock.ports.executor import Executor, Result
from interlock.ports.node import Attempt

LIMIT = 30.0
"""Seconds after which a test that waits has failed."""
_numbers = count(1)


@dataclass
class KeptBlobs:
    """Blobs in memory, that can be away."""

    contents: dict[tuple[str, str], bytes] = field(default_factory=dict)
    is_shared: bool = False
    is_away: bool = False
    refused: int = 0

    async def put(self, tenant_id: str, content: bytes) -> str:
        self._look()
        sha256 = hashlib.sha256(content).hexdigest()
        self.contents[tenant_id, sha256] = content
        return sha256

    async def get(self, tenant_id: str, sha256: str) -> bytes:
        self._look()
        if (tenant_id, sha256) not in self.contents:
            raise not_found("BLOB_NOT_FOUND", sha256)
        return self.contents[tenant_id, sha256]

    def _look(self) -> None:
        if self.is_away:
            self.refused += 1
            raise unavailable("The blobs are away")

    @contextmanager
    def away(self) -> Iterator[None]:
        """They are away while this lasts."""
        self.is_away = True
        try:
            yield
        finally:
            self.is_away = False


@dataclass
class Submitted:
    """An attempt that was submitted, and what it reported so far."""

    executor: Executor
    attempt: Attempt
    progress: list[TaskReported] = field(default_factory=list)
    results: list[Result] = field(default_factory=list)
    _news: asyncio.Event = field(default_factory=asyncio.Event)

    def take(self, execution_id: UUID, result: Result) -> None:
        assert execution_id == self.attempt.execution_id
        assert (result.task_id, result.attempt) == (self.attempt.task_id, self.attempt.attempt)
        (self.progress if isinstance(result, TaskReported) else self.results).append(result)
        self._news.set()

    async def end(self) -> Any:
        """The final report."""
        return (await self._until(lambda: self.results))[0]

    async def begin(self) -> TaskReported:
        """The first progress."""
        first: TaskReported = (await self._until(lambda: self.progress or self.results))[0]
        assert isinstance(first, TaskReported), first
        return first

    def cancel(self) -> None:
        self.executor.cancel(self.attempt.execution_id, self.attempt.task_id)

    async def _until(self, found: Callable[[], list[Any]]) -> list[Any]:
        async with asyncio.timeout(LIMIT):
            while not found():
                self._news.clear()
                await self._news.wait()
        return found()


@dataclass
class Trial:
    """An executor under test with its services."""

    executor: Executor
    egress: ScriptedEgress
    blobs: KeptBlobs

    def submit(self, node_type: str, parameters: dict[str, Any], **changes: Any) -> Submitted:
        """Submit an attempt of an execution of its own, unless ``changes`` say otherwise."""
        given: dict[str, Any] = {
            "execution_id": UUID(int=next(_numbers)),
            "tenant_id": "tenant",
            "task_id": "task",
            "node_id": "task",
            "attempt": 1,
            "node_type": node_type,
            "parameters": parameters,
            "timeout": LIMIT,
            "trace_id": "trace",
            **changes,
        }
        submitted = Submitted(self.executor, Attempt(**given))
        self.executor.submit(submitted.attempt, submitted.take)
        return submitted

    def probe(self, do: str, **parameters: Any) -> Submitted:
        """Submit an async probe."""
        return self.submit("probe", {"do": do, **parameters})

    def function(self, name: str, arguments: Any = None, **changes: Any) -> Submitted:
        """Submit a call of a registered function."""
        return self.submit("python", {"function": name, "arguments": arguments}, **changes)

    async def settle(self) -> None:
        """Return when everything submitted before has had its chance to report: a later attempt has ended."""
        await self.probe("fail").end()


async def wait_for_death(lock: Path, seconds: float = 5.0) -> None:
    """Return when nothing holds the lock any more; fail after ``seconds``."""
    with lock.open("rb+") as file:
        async with asyncio.timeout(seconds):
            while not _is_free(file.fileno()):
                await asyncio.sleep(0.01)  # the death of a process elsewhere is no event here


def is_held(lock: Path) -> bool:
    """Whether something holds the lock."""
    with lock.open("rb+") as file:
        return not _is_free(file.fileno())


def _is_free(file: int) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    fcntl.flock(file, fcntl.LOCK_UN)
    return True
