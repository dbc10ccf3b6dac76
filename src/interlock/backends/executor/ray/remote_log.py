"""The log of tasks on a node: told to the server line by line, before the end of the attempt."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from uuid import UUID

from interlock.backends.executor.ray.messages import Said
from interlock.ports.node import Attempt
from interlock.ports.task_log import Place, Stream


class RemoteLog:
    """Satisfies ``ports/task_log.TaskLog`` on a node. What a server is told it hears in order, so that the rest is its.

    Batches are made by the server, which knows whose lines those of a shared call are.
    """

    def __init__(self, say: Callable[[Said], None]) -> None:
        self._say = say

    def write(self, attempt: Attempt, stream: Stream, text: str) -> None:
        """Tell it."""
        self._say(
            Said(
                execution_id=attempt.execution_id,
                task_id=attempt.task_id,
                attempt=attempt.attempt,
                stream=stream,
                text=text,
            )
        )

    def has_unsettled(self, attempt: Attempt) -> bool:
        """Never: the end is told behind it."""
        return False

    async def settle(self, attempt: Attempt) -> None:
        """Nothing is held back here."""

    def share(self, execution_id: UUID, task_id: str, places: Sequence[Place]) -> None:
        """The server's business."""
