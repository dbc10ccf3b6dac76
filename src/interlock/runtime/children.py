"""Sub-workflows: started in their parent's entry, and told to end once nobody waits for them any more."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from uuid import UUID

from interlock.core.commands import ChildStart, Signal, SignalKind
from interlock.ports.bus import Bus
from interlock.ports.ledger import Head
from interlock.runtime.entry import Entry
from interlock.runtime.owned import Owned
from interlock.runtime.record import Recording, add_child, leave_notice

_NO_HEADS: Mapping[str, Head] = {}


class Children:
    """Which workflows the owned executions may start, and what becomes of those they started."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._heads: dict[UUID, dict[str, Head]] = {}

    def know(self, parent_id: UUID, heads: dict[str, Head]) -> None:
        """The workflows that an execution names, by its references."""
        self._heads[parent_id] = heads

    def heads(self, parent_id: UUID) -> Mapping[str, Head]:
        """What deciding may start for this execution."""
        return self._heads.get(parent_id, _NO_HEADS)

    def add(self, recording: Recording, owned: Owned, child: ChildStart, now: datetime) -> None:
        """A child's first rows go into its parent's entry."""
        head = self._heads[owned.execution.execution_id][child.workflow]
        task = owned.execution.tasks.get(child.parent_task_id)
        is_left = owned.execution.ended is not None or task is None or task.child_id != child.execution_id
        add_child(recording, owned, child, head, now, is_left=is_left)
        if not is_left:
            owned.children[child.parent_task_id] = child.execution_id

    def announce(self, entry: Entry) -> None:
        """Children that were committed with this entry can be claimed at once."""
        for start in entry.starts:
            if start["execution_id"] != entry.execution_id:
                self._bus.inbox_grew(start["execution_id"], None)

    def ended(self, owned: Owned, signal: Signal) -> None:
        """A child that ended by itself needs no telling."""
        if signal.kind is SignalKind.CHILD_ENDED and owned.children:
            task_id, child_id = signal.payload["task_id"], signal.payload["child_id"]
            if str(owned.children.get(task_id)) == child_id:
                del owned.children[task_id]

    def leave(self, entry: Entry, owned: Owned) -> None:
        """Tell those whose tasks are over as of this entry: given up, left by their flow, or ended with all else."""
        tasks = owned.execution.tasks
        for task_id, child_id in list(owned.children.items()):
            if owned.execution.ended is not None or task_id not in tasks or tasks[task_id].child_id != child_id:
                del owned.children[task_id]
                entry.notices.append(leave_notice(owned, child_id))

    def forget(self, parent_id: UUID) -> None:
        """The execution will start no more of them."""
        self._heads.pop(parent_id, None)
