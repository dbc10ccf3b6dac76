"""An entry: everything one turn wants committed, all or nothing, and what happens once it is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import UUID

from interlock.core.events import Event
from interlock.core.execution import Status
from interlock.ports.bus import LogRow


class Entry:
    """Rows of one execution on their way through the journal.

    ``released`` is called after the commit, ``refused`` if it will never be committed; exactly one of the two.
    """

    __slots__ = (
        "approvals",
        "artifacts",
        "change",
        "closings",
        "deadline",
        "events",
        "execution_id",
        "notices",
        "outcomes",
        "park",
        "refused",
        "released",
        "rows",
        "size",
        "starts",
        "status",
        "tenant_id",
        "turn_events",
    )

    def __init__(
        self,
        execution_id: UUID,
        tenant_id: str,
        released: Callable[[Entry, Committed], None],
        refused: Callable[[Entry, Exception], None],
    ) -> None:
        self.execution_id = execution_id
        self.tenant_id = tenant_id
        self.released = released
        self.refused = refused
        self.rows: list[LogRow] = []
        self.turn_events: list[Event] = []
        self.status: Status | None = None
        self.starts: list[dict[str, Any]] = []
        self.change: dict[str, Any] | None = None
        self.park: dict[str, Any] | None = None
        self.outcomes: list[dict[str, Any]] = []
        self.closings: list[dict[str, Any]] = []  # questions that nobody waits for any more
        self.approvals: list[dict[str, Any]] = []
        self.artifacts: list[dict[str, Any]] = []
        self.notices: list[dict[str, Any]] = []  # signals to other executions
        self.size = 0  # bytes, about
        self.deadline: float | None = None  # monotonic: withdrawn if still queued then

    def own_rows(self) -> list[LogRow]:
        """Its events, without the first ones of executions it starts."""
        if not self.starts:
            return self.rows
        return [row for row in self.rows if row[0] == self.execution_id]

    @property
    def is_only_events(self) -> bool:
        """Whether it writes to no other table than the log."""
        return not (
            self.change
            or self.park
            or self.starts
            or self.outcomes
            or self.approvals
            or self.closings
            or self.artifacts
            or self.notices
        )

    @property
    def is_start(self) -> bool:
        """Whether it begins its own execution (and not only a child's)."""
        return bool(self.starts) and self.starts[0]["execution_id"] == self.execution_id


class Committed:
    """What became of an entry in its commit. A start is lost if its key was taken or its workflow has changed."""

    __slots__ = ("is_lost", "parked")

    def __init__(self, *, is_lost: bool = False, parked: bool = False) -> None:
        self.is_lost = is_lost
        self.parked = parked


class EntryRefused(Exception):
    """The entry was not committed and never will be; its execution must be read anew."""


class Fenced(EntryRefused):
    """The runner was reaped: nothing it still holds is its own."""


class Withdrawn(EntryRefused):
    """The caller's deadline passed while the entry was queued; nothing of it happened."""


class OutcomeLost(EntryRefused):
    """The runner was reaped while a flush was open: whether it was committed is for the caller to find out."""
