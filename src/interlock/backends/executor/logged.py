"""Has what an attempt printed be there for readers before the attempt has ended."""

from __future__ import annotations

import asyncio
from uuid import UUID

from interlock.core.commands import TaskReported
from interlock.ports.executor import Attaching, Executor, Report, Result
from interlock.ports.node import Attempt
from interlock.ports.task_log import TaskLog


class LoggedExecutor:
    """Satisfies ``ports/executor.Executor`` over another one that writes what is printed to ``task_log``.

    Only the end of an attempt that printed something waits, for one write to the database.
    """

    def __init__(self, inner: Executor, task_log: TaskLog) -> None:
        self._inner = inner
        self.name = inner.name
        self._task_log = task_log
        self._settling: dict[tuple[UUID, str], asyncio.Task[None]] = {}

    async def start(self) -> None:
        await self._inner.start()

    def submit(self, attempt: Attempt, report: Report) -> None:
        """Run an attempt."""
        self._forget(attempt.execution_id, attempt.task_id)
        self._inner.submit(attempt, lambda _, result: self._tell(attempt, result, report))

    def attach(self, execution_id: UUID, task_id: str, attempt: int, report: Report) -> bool:
        """As the other executor promises."""
        return isinstance(self._inner, Attaching) and self._inner.attach(execution_id, task_id, attempt, report)

    def cancel(self, execution_id: UUID, task_id: str) -> None:
        """End the attempt; nothing more is reported of it."""
        self._forget(execution_id, task_id)
        self._inner.cancel(execution_id, task_id)

    async def stop(self, grace: float) -> None:
        """Cancel everything; return within ``grace`` seconds."""
        for key in list(self._settling):
            self._forget(*key)
        await self._inner.stop(grace)

    def _tell(self, attempt: Attempt, result: Result, report: Report) -> None:
        if isinstance(result, TaskReported) or not self._task_log.has_unsettled(attempt):
            report(attempt.execution_id, result)
            return
        key = attempt.execution_id, attempt.task_id

        async def settle() -> None:
            await self._task_log.settle(attempt)
            del self._settling[key]
            report(attempt.execution_id, result)

        self._settling[key] = asyncio.get_running_loop().create_task(settle())

    def _forget(self, execution_id: UUID, task_id: str) -> None:
        task = self._settling.pop((execution_id, task_id), None)
        if task is not None:
            task.cancel()
