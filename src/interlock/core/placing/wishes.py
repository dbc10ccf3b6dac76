"""Tasks that wait for a place: a line for each tenant, in turn; in a line by priority, then by age."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Hashable, Iterator

from interlock.core.placing.amounts import Amounts
from interlock.core.placing.over_ask import Policy

LOOKED_AT = 64
"""Different wishes of one tenant that are looked at in a round, the oldest first."""

Shape = tuple[Amounts, Policy]
"""Wishes of one shape fit or do not fit alike."""


class Wish:
    """What one task asks for. ``key`` is the task's name in this house, ``number`` its place in time."""

    __slots__ = ("is_gone", "key", "number", "passed", "priority", "shape", "tenant_id")

    def __init__(self, key: Hashable, tenant_id: str, shape: Shape, priority: int, number: int) -> None:
        self.key = key
        self.tenant_id = tenant_id
        self.shape = shape
        self.priority = priority
        self.number = number
        self.passed = 0  # how often others were served while it did not fit
        self.is_gone = False

    def __lt__(self, other: Wish) -> bool:
        return (-self.priority, self.number) < (-other.priority, other.number)


class Wishes:
    """All that wait. The tenant that was served last comes last."""

    def __init__(self) -> None:
        self._lines: dict[str, dict[Shape, list[Wish]]] = {}
        self.shapes: Counter[Shape] = Counter()

    def __len__(self) -> int:
        return self.shapes.total()

    def add(self, wish: Wish) -> None:
        """From now on it waits."""
        heapq.heappush(self._lines.setdefault(wish.tenant_id, {}).setdefault(wish.shape, []), wish)
        self.shapes[wish.shape] += 1

    def remove(self, wish: Wish) -> None:
        """It waits no longer."""
        wish.is_gone = True
        self.shapes[wish.shape] -= 1
        line = self._lines[wish.tenant_id]
        alike = line[wish.shape]
        while alike and alike[0].is_gone:
            heapq.heappop(alike)
        if not alike:
            del line[wish.shape]
        if not line:
            del self._lines[wish.tenant_id]
        if not self.shapes[wish.shape]:
            del self.shapes[wish.shape]

    def serve(self, wish: Wish) -> None:
        """It was its tenant's turn; the others come first now."""
        line = self._lines.pop(wish.tenant_id)
        self._lines[wish.tenant_id] = line
        self.remove(wish)

    def in_turn(self) -> Iterator[Wish]:
        """The best wish of each shape, tenant by tenant. Nothing may change while it is asked."""
        for line in self._lines.values():
            alikes = [alike for alike, _ in zip(line.values(), range(LOOKED_AT), strict=False)]
            yield from sorted(alike[0] for alike in alikes)
