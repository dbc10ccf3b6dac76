"""Collecting tasks into batches: who waits for whom, and when a batch goes though it is not full."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from interlock.core.workflow import BatchPolicy

LONGEST = 5.0
"""Seconds that a batch without a time of its own waits for tasks that could still join it."""

M = TypeVar("M", bound=Hashable)


@dataclass
class _Open(Generic[M]):
    """A batch that still takes members. ``since`` is when its first came, monotonic seconds."""

    policy: BatchPolicy
    since: float
    members: dict[M, None] = field(default_factory=dict)

    @property
    def until(self) -> float:
        return self.since + (self.policy.seconds or LONGEST)


class Collection(Generic[M]):
    """The open batches of one server, one for each kind. A kind says with whom a task may share a call.

    A batch leaves when it is full, when its time is over, or, if its policy gives it none, as soon as nothing can
    join it any more (``may_grow``). It never has more members than its policy says, and none is in two batches.
    """

    def __init__(self) -> None:
        self._open: dict[Hashable, _Open[M]] = {}
        self._kinds: dict[M, Hashable] = {}

    def add(self, kind: Hashable, member: M, policy: BatchPolicy, now: float) -> tuple[M, ...]:
        """Take a member in; what comes back is the batch that is full with it, else nothing."""
        if member in self._kinds:
            return ()
        batch = self._open.setdefault(kind, _Open(policy, now))
        batch.members[member] = None
        self._kinds[member] = kind
        return self._close(kind) if len(batch.members) >= batch.policy.size else ()

    def remove(self, member: M) -> bool:
        """Let a member go before its batch does; whether it was here."""
        kind = self._kinds.pop(member, None)
        if kind is None:
            return False
        batch = self._open[kind]
        del batch.members[member]
        if not batch.members:
            del self._open[kind]
        return True

    def due(self, now: float, may_grow: Callable[[Hashable, tuple[M, ...]], bool]) -> list[tuple[M, ...]]:
        """The batches that leave now. ``may_grow`` is asked only of those that have no time of their own."""
        leaving = [
            kind
            for kind, batch in self._open.items()
            if batch.until <= now or (batch.policy.seconds == 0 and not may_grow(kind, tuple(batch.members)))
        ]
        return [self._close(kind) for kind in leaving]

    def next_due(self) -> float | None:
        """When the next batch leaves at the latest, monotonic seconds; None if there is none."""
        return min((batch.until for batch in self._open.values()), default=None)

    def _close(self, kind: Hashable) -> tuple[M, ...]:
        members = tuple(self._open.pop(kind).members)
        for member in members:
            del self._kinds[member]
        return members
