"""Executors place a task's attempt on compute and bring back what became of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, runtime_checkable
from uuid import UUID

from interlock.core.commands import AttemptLost, TaskErred, TaskReported, TaskSucceeded, TaskSuspended
from interlock.ports.node import Attempt

Result = TaskSucceeded | TaskErred | TaskSuspended | TaskReported | AttemptLost
"""What an attempt can report; all but TaskReported are final."""

Report = Callable[[UUID, Result], None]
"""Called on the event loop with the execution and what one of its attempts reports."""

Ready = Callable[[], bool]
"""Whether what runs tasks with resources takes new ones; those it was given before wait until it does again."""

ExecutorState = Callable[[], str]
"""How it is, in a word: ``ready``, ``idle`` (nothing needed it yet), ``starting``, or ``unavailable: `` and why."""


class Executor(Protocol):
    """Runs attempts. Exactly one final report follows each ``submit``, unless the attempt is cancelled first."""

    name: str

    async def start(self) -> None: ...

    def submit(self, attempt: Attempt, report: Report) -> None:
        """Run an attempt; never blocks. The report may come before this returns (quick inline nodes)."""
        ...

    def cancel(self, execution_id: UUID, task_id: str) -> None:
        """End the attempt if it runs here: its real work is dead within 5 s and it reports nothing more."""
        ...

    async def stop(self, grace: float) -> None:
        """Cancel everything; return within ``grace`` seconds."""
        ...


@runtime_checkable
class Attaching(Executor, Protocol):
    """An executor whose attempts outlive the server that submitted them."""

    def attach(self, execution_id: UUID, task_id: str, attempt: int, report: Report) -> bool:
        """Have an attempt that another server had submitted report here. False: it is lost.

        True: exactly one final report follows, as after ``submit``; AttemptLost if the attempt is not found.
        """
        ...
