"""The log of tasks: what users' code prints while an attempt runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol
from uuid import UUID

import msgspec

from interlock.ports.node import Attempt

Stream = Literal["stdout", "stderr"]


class Place(msgspec.Struct, frozen=True):
    """Whose log it is: one attempt of a task."""

    tenant_id: str
    execution_id: UUID
    task_id: str
    attempt: int


def place_of(attempt: Attempt) -> Place:
    """The log of an attempt."""
    return Place(attempt.tenant_id, attempt.execution_id, attempt.task_id, attempt.attempt)


class TaskLog(Protocol):
    """Takes what attempts print. Losing some of it never fails an attempt; it is said in the server's log."""

    def write(self, attempt: Attempt, stream: Stream, text: str) -> None:
        """Keep a text; it is there for readers shortly after. Never blocks. What is too much for one task is cut."""
        ...

    def has_unsettled(self, attempt: Attempt) -> bool:
        """Whether something was written for it that readers may not see yet."""
        ...

    async def settle(self, attempt: Attempt) -> None:
        """Return once all that was written for it is there for readers, or was lost. Never raises."""
        ...

    def share(self, execution_id: UUID, task_id: str, places: Sequence[Place]) -> None:
        """What is written for this key belongs to these; for none of them any more, if there are none."""
        ...
