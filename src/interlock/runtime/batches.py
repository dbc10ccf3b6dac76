"""Tasks that share calls: they are collected, ask for one place together, and give it back with the last of them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from uuid import UUID

from interlock.core.placing.admission import Admission
from interlock.core.placing.collecting import Collection
from interlock.core.placing.over_ask import Policy
from interlock.core.resources import Placement, Resources
from interlock.core.workflow import BatchPolicy
from interlock.kit.clock import Clock
from interlock.kit.ids import Ids
from interlock.runtime.owned import Owned

Key = tuple[UUID, str]
Group = tuple[str, UUID]
_GROUP = "batch"


@dataclass(frozen=True)
class Candidate:
    """A task that would share a call: its execution, what it asks for, and with whom it may."""

    owned: Owned
    resources: Resources
    over_ask: Policy
    kind: Hashable
    policy: BatchPolicy


@dataclass
class _Together:
    """A batch that asks for its place or has it. ``resources`` are set aside once for all."""

    members: dict[Key, None] = field(default_factory=dict)


class Batches:
    """Between tasks and ``Admission``. ``asked`` is called when a batch has begun to ask for its place."""

    def __init__(self, clock: Clock, ids: Ids, admission: Admission, asked: Callable[[], None]) -> None:
        self._clock = clock
        self._ids = ids
        self._admission = admission
        self._asked = asked
        self._collection: Collection[Key] = Collection()
        self._candidates: dict[Key, Candidate] = {}
        self._together: dict[Group, _Together] = {}
        self._group_of: dict[Key, Group] = {}
        self._timer: asyncio.TimerHandle | None = None

    def add(self, key: Key, candidate: Candidate) -> None:
        """Take a task in; it asks with the others once its batch is full or its time has come."""
        self._candidates[key] = candidate
        kind = (candidate.owned.tenant_id, candidate.kind)
        full = self._collection.add(kind, key, candidate.policy, self._clock.monotonic())
        if full:
            self._send(full)
        self._set_timer()

    def look(self) -> None:
        """Send the batches whose time has come, and those that nothing can join any more."""
        if not self._candidates:
            return
        for members in self._collection.due(self._clock.monotonic(), self._may_grow):
            self._send(members)
        self._set_timer()

    def withdraw(self, key: Key) -> bool:
        """The task seeks no place any more. Whether it did so here."""
        if self._collection.remove(key):
            del self._candidates[key]
            return True
        return self._leave(key, self._admission.withdraw)

    def release(self, key: Key) -> bool:
        """The task's attempt is over; the place is given back with the last of the batch. Whether it was of one."""
        return self._leave(key, self._admission.release)

    def has_place_for(self, key: Key) -> bool | None:
        """Whether any machine could ever take the task's batch; None: it asks by itself."""
        if key in self._candidates:
            return True
        group = self._group_of.get(key)
        return None if group is None else self._admission.has_place_for(group)

    def members(self, key: Hashable) -> tuple[Key, ...] | None:
        """The tasks for which a place was granted, if it was granted to a batch."""
        together = self._together.get(key)  # type: ignore[call-overload]  # any other key is simply none of ours
        return None if together is None else tuple(together.members)

    def placement_of(self, key: Hashable, placement: Placement) -> Placement:
        """The place with the batch's name and size in it."""
        assert isinstance(key, tuple)
        return Placement(
            worker=placement.worker,
            address=placement.address,
            gpus=placement.gpus,
            clamped=placement.clamped,
            batch_id=str(key[1]),
            batch_size=len(self._together[key].members),
        )

    def held(self, key: Hashable) -> tuple[Key, ...]:
        """The tasks that a key of ``Admission`` stands for."""
        return self.members(key) or (key,)  # type: ignore[return-value]  # all other keys are those of tasks

    def _may_grow(self, kind: Hashable, members: tuple[Key, ...]) -> bool:
        for key in members:
            candidate = self._candidates[key]
            execution = candidate.owned.execution
            if execution.program.may_bring(execution, candidate.kind):
                return True
        return False

    def _send(self, members: tuple[Key, ...]) -> None:
        group = (_GROUP, self._ids.new())
        candidates = [self._candidates.pop(key) for key in members]
        first = candidates[0]
        priority = max(candidate.owned.priority for candidate in candidates)
        self._together[group] = _Together(dict.fromkeys(members))
        self._group_of.update(dict.fromkeys(members, group))
        self._admission.ask(group, first.owned.tenant_id, first.resources, first.over_ask, priority)
        self._asked()

    def _leave(self, key: Key, give_up: Callable[[Group], bool]) -> bool:
        group = self._group_of.pop(key, None)
        if group is None:
            return False
        together = self._together[group]
        del together.members[key]
        if not together.members:
            del self._together[group]
            give_up(group)
        return True

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        due = self._collection.next_due()
        if due is not None:
            wait = max(0.0, due - self._clock.monotonic())
            self._timer = asyncio.get_running_loop().call_later(wait, self.look)
