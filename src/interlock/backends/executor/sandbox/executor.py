"""The executor of users' code: fetches it, and gives it to a child behind walls."""

from __future__ import annotations

import asyncio
import os
from collections import OrderedDict
from collections.abc import Callable, Sequence
from pathlib import Path
from uuid import UUID

import msgspec

from interlock.backends.executor.logs import log
from interlock.backends.executor.pool.executor import PoolExecutor
from interlock.backends.executor.results import fail
from interlock.backends.executor.sandbox.cell import SandboxCell, memory_of
from interlock.backends.executor.sandbox.limits import MIB
from interlock.backends.executor.sandbox.verdict import judge
from interlock.backends.executor.sandbox.walls import Walls
from interlock.core.errors import InterlockError
from interlock.core.events import ArtifactRef
from interlock.ports.blobs import Blobs
from interlock.ports.code import CodeShelf
from interlock.ports.egress import Egress
from interlock.ports.executor import Report, Result
from interlock.ports.node import Attempt, NodeFailed
from interlock.ports.task_log import Stream, TaskLog

REGISTRY = "interlock.nodes.code.inside:load"
_NAMES = ("code", "args", "kwargs")
"""Parameters that are digests on the shelf; a child that has run the first one knows it."""
_KEPT = 64 * MIB
"""Bytes of code that one server remembers."""
_IDLE = 60.0
"""Seconds that a child waits for more work of its tenant and code."""


class SandboxExecutor:
    """Satisfies ``ports/executor.Executor``: at most ``size`` children, each for one tenant and one piece of code.

    Code whose seal is broken is not run: the attempt fails with CODE_SEAL_BROKEN. Without walls everything fails with
    SANDBOX_UNAVAILABLE. ``memory`` is MiB for attempts that ask for none. ``scratch`` is a folder for scratch folders
    where the walls bring none; ``hidden`` folders are never seen inside. What is printed goes to ``task_log``;
    without one it goes to the server's own log. ``spares`` children beside these are ready for code that has none yet,
    once code was used or announced (``prepare``).
    """

    name = "sandbox"

    def __init__(
        self,
        walls: Walls,
        shelf: CodeShelf,
        egress: Egress,
        blobs: Blobs,
        *,
        scratch: Path,
        size: int | None = None,
        memory: int = 2048,
        registry: str = REGISTRY,
        task_log: TaskLog | None = None,
        hidden: Sequence[str] = (),
        writable: Sequence[str] = (),
        paths: Sequence[str] = (),
        spares: int = 0,
    ) -> None:
        self.walls = walls
        self._shelf = shelf
        self._task_log = task_log
        self._memory = memory

        def make() -> SandboxCell:
            return SandboxCell(
                walls, registry, memory=memory, scratch=scratch, hidden=hidden, writable=writable, paths=paths
            )

        self._pool = PoolExecutor(
            registry,
            egress,
            blobs,
            size=size or max(4, os.cpu_count() or 1),
            cells=make,
            idle_seconds=_IDLE,
            spares=spares,
        )
        self._fetching: dict[tuple[UUID, str], asyncio.Task[None]] = {}
        self._known: OrderedDict[tuple[str, str], bytes] = OrderedDict()

    async def start(self) -> None:
        """Must be awaited on the loop that calls the other methods. Starts no child yet."""
        await self._pool.start()

    def prepare(self) -> None:
        """Code was brought, and will be called: a sandbox is ready by then."""
        if self.walls.mode is not None:
            self._pool.prepare()

    @property
    def children(self) -> int:
        """How many children there are, those that start or end included."""
        return self._pool.children

    def submit(self, attempt: Attempt, report: Report) -> None:
        """Run an attempt when its code is here and a child is free."""
        self.cancel(attempt.execution_id, attempt.task_id)
        if self.walls.mode is None:
            told = f"This server has no sandbox to run code in: {self.walls.reason}"
            report(attempt.execution_id, fail(attempt, NodeFailed("SANDBOX_UNAVAILABLE", told)))
            return
        wanted = [attempt.parameters[name] for name in _NAMES if isinstance(attempt.parameters.get(name), str)]
        code = {digest: self._known.get((attempt.tenant_id, digest)) for digest in wanted}
        if all(content is not None for content in code.values()):
            self._give(attempt, {digest: content or b"" for digest, content in code.items()}, report)
            return
        key = attempt.execution_id, attempt.task_id
        task = asyncio.get_running_loop().create_task(self._fetch(attempt, wanted, report))
        self._fetching[key] = task
        task.add_done_callback(lambda done: self._fetching.pop(key) if self._fetching.get(key) is done else None)

    def cancel(self, execution_id: UUID, task_id: str) -> None:
        """End the attempt; its child is killed with all it started."""
        task = self._fetching.pop((execution_id, task_id), None)
        if task is not None:
            task.cancel()
        self._pool.cancel(execution_id, task_id)

    async def stop(self, grace: float) -> None:
        """Cancel everything and kill all children."""
        for key in list(self._fetching):
            self.cancel(*key)
        await self._pool.stop(grace)

    async def _fetch(self, attempt: Attempt, digests: Sequence[str], report: Report) -> None:
        try:
            code = {digest: (await self._shelf.get(attempt.tenant_id, digest)).content for digest in digests}
        except Exception as error:  # noqa: BLE001 - whatever it is, the attempt must end
            if not isinstance(error, InterlockError):
                log.error("sandbox.fetch_failed", exc_info=error)
            report(attempt.execution_id, fail(attempt, error))
            return
        for digest, content in code.items():
            self._remember((attempt.tenant_id, digest), content)
        self._give(attempt, code, report)

    def _remember(self, key: tuple[str, str], content: bytes) -> None:
        self._known[key] = content
        while sum(map(len, self._known.values())) > _KEPT:
            self._known.popitem(last=False)

    def _give(self, attempt: Attempt, code: dict[str, bytes], report: Report) -> None:
        stored: set[tuple[str, str]] = set()

        def judged(execution_id: UUID, result: Result) -> None:
            report(execution_id, judge(attempt, result, stored))

        def note(ref: ArtifactRef) -> None:
            stored.add((ref.name, ref.sha256))

        main = attempt.parameters.get("code")
        rest = {digest: content for digest, content in code.items() if digest != main}
        self._pool.submit(
            msgspec.structs.replace(attempt, code=code),
            judged,
            key=(attempt.tenant_id, main, memory_of(attempt, self._memory)),
            again=msgspec.structs.replace(attempt, code=rest),
            on_stored=note,
            on_printed=self._printing(attempt),
        )

    def _printing(self, attempt: Attempt) -> Callable[[Stream, str], None] | None:
        task_log = self._task_log
        return None if task_log is None else lambda stream, text: task_log.write(attempt, stream, text)
