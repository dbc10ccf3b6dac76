"""The executor of users' code: fetches it, and gives it to a child behind walls."""

from __future__ import annotations

import asyncio
import os
import time
from collections import OrderedDict
from collections.abc import Callable, Coroutine, Sequence
from contextvars import copy_context
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec

from interlock.backends.executor.logs import log
from interlock.backends.executor.pool.executor import PoolExecutor, devices_of
from interlock.backends.executor.results import fail, give_up, is_away, time_out, trace_back
from interlock.backends.executor.sandbox.cell import SandboxCell, cores_of, memory_of
from interlock.backends.executor.sandbox.limits import MIB
from interlock.backends.executor.sandbox.parcels import Parcels, has_packed, size_of
from interlock.backends.executor.sandbox.verdict import judge
from interlock.backends.executor.sandbox.walls import Walls
from interlock.backends.executor.services import FOR_ATTEMPT
from interlock.core.commands import TaskSucceeded
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
_FIRST_PAUSE, _LAST_PAUSE = 0.25, 4.0
"""Seconds between two tries to store a result."""
_MOST_UNSTORED = 128 * MIB
"""Bytes of results that wait for their store; beyond that they are lost, and their tasks run again."""


class SandboxExecutor:
    """Satisfies ``ports/executor.Executor``: at most ``size`` children, each for one tenant and one piece of code.

    Code whose seal is broken is not run: the attempt fails with CODE_SEAL_BROKEN. Without walls everything fails with
    SANDBOX_UNAVAILABLE. If code or values cannot be fetched for now, the attempt is lost; so it is if they cannot be
    stored, but only after ``storing`` seconds of trying, or at once if too much waits for that.

    ``memory`` is MiB for attempts that ask for none. ``scratch`` is a folder for scratch folders where the walls bring
    none; ``hidden`` folders are never seen inside. What is printed goes to ``task_log``; without one it goes to the
    server's own log. ``spares`` children beside these are ready for code that has none yet, once code was used or
    announced (``prepare``).
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
        storing: float = 30.0,
    ) -> None:
        self.walls = walls
        self._storing = storing
        self._unstored = 0  # bytes of results that wait to be stored
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
        self._parcels = Parcels(blobs)
        self._under_way: dict[tuple[UUID, str], asyncio.Task[None]] = {}
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
        if all(content is not None for content in code.values()) and self._parcels.are_here(attempt):
            opened = self._parcels.open_now(attempt)
            self._give(opened, {digest: content or b"" for digest, content in code.items()}, report)
            return
        self._begin(attempt, self._fetch(attempt, wanted, report))

    def cancel(self, execution_id: UUID, task_id: str) -> None:
        """End the attempt; its child is killed with all it started."""
        task = self._under_way.pop((execution_id, task_id), None)
        if task is not None:
            task.cancel()
        self._pool.cancel(execution_id, task_id)

    async def stop(self, grace: float) -> None:
        """Cancel everything and kill all children."""
        for key in list(self._under_way):
            self.cancel(*key)
        await self._pool.stop(grace)

    def _begin(self, attempt: Attempt, work: Coroutine[Any, Any, None]) -> None:
        """Have something done for an attempt, as long as nobody cancels it."""
        key = attempt.execution_id, attempt.task_id
        context = copy_context()
        context.run(FOR_ATTEMPT.set, key)
        task = asyncio.get_running_loop().create_task(work, context=context)
        self._under_way[key] = task
        task.add_done_callback(lambda done: self._under_way.pop(key) if self._under_way.get(key) is done else None)

    async def _fetch(self, attempt: Attempt, digests: Sequence[str], report: Report) -> None:
        begun = time.monotonic()
        try:
            async with asyncio.timeout(attempt.timeout) as limit:
                code = {digest: await self._code(attempt.tenant_id, digest) for digest in digests}
                opened = await self._parcels.open(attempt)
        except Exception as error:  # noqa: BLE001 - whatever it is, the attempt must end
            if limit.expired():
                report(attempt.execution_id, time_out(attempt))
                return
            if trace_back(error):
                log.error("sandbox.fetch_failed", exc_info=error)
            report(attempt.execution_id, give_up(attempt, error, has_begun=False))
            return
        self._give(opened, code, report, spent=time.monotonic() - begun)

    async def _code(self, tenant_id: str, digest: str) -> bytes:
        content = self._known.get((tenant_id, digest))
        if content is None:
            content = self._known[tenant_id, digest] = (await self._shelf.get(tenant_id, digest)).content
            while sum(map(len, self._known.values())) > _KEPT:
                self._known.popitem(last=False)
        return content

    async def _store(self, attempt: Attempt, result: TaskSucceeded, report: Report) -> None:
        try:
            told: Result = await self._stored(attempt, result)
        except Exception as error:  # noqa: BLE001 - whatever it is, the attempt must end
            if trace_back(error):
                log.error("sandbox.store_failed", exc_info=error)
            told = give_up(attempt, error, has_begun=True)
        report(attempt.execution_id, told)

    async def _stored(self, attempt: Attempt, result: TaskSucceeded) -> TaskSucceeded:
        """Result after its large values are stored, which is tried again for a while: hours of work may be in it."""
        until, pause, size = time.monotonic() + self._storing, _FIRST_PAUSE, size_of(result)
        self._unstored += size
        try:
            while True:
                try:
                    return await self._parcels.store(attempt, result)
                except Exception as error:
                    if not is_away(error) or time.monotonic() + pause > until or self._unstored > _MOST_UNSTORED:
                        raise
                await asyncio.sleep(pause)
                pause = min(2 * pause, _LAST_PAUSE)
        finally:
            self._unstored -= size

    def _give(self, attempt: Attempt, code: dict[str, bytes], report: Report, *, spent: float = 0.0) -> None:
        stored: set[tuple[str, str]] = set()

        def judged(execution_id: UUID, result: Result) -> None:
            told = judge(attempt, result, stored)
            if isinstance(told, TaskSucceeded) and has_packed(told):
                self._begin(attempt, self._store(attempt, told, report))
            else:
                report(execution_id, told)

        def note(ref: ArtifactRef) -> None:
            stored.add((ref.name, ref.sha256))

        main = attempt.parameters.get("code")
        rest = {digest: content for digest, content in code.items() if digest != main}
        self._pool.submit(
            msgspec.structs.replace(attempt, code=code),
            judged,
            key=(attempt.tenant_id, main, memory_of(attempt, self._memory), cores_of(attempt), devices_of(attempt)),
            again=msgspec.structs.replace(attempt, code=rest),
            on_stored=note,
            on_printed=self._printing(attempt),
            spent=spent,
        )

    def _printing(self, attempt: Attempt) -> Callable[[Stream, str], None] | None:
        task_log = self._task_log
        return None if task_log is None else lambda stream, text: task_log.write(attempt, stream, text)
