"""Tasks that wait for a place: a line for each tenant, in turn; in a line by priority, who lost a place, and age."""

from __future__ import annotations

import heapq
from bisect import bisect_left, insort
from collections import Counter
from collections.abc import Callable, Hashable, Iterator
from itertools import islice

from interlock.core.placing.amounts import Amounts
from interlock.core.placing.over_ask import Policy

LOOKED_AT = 1_000
"""Different wishes of one tenant that are looked at in a round, the best first: a round must end soon."""

Shape = tuple[Amounts, Policy]
"""Wishes of one shape fit or do not fit alike."""


class Wish:
    """What one task asks for. ``key`` is the task's name in this house, ``number`` its place in time.

    ``is_lost``: it had a place, and lost it with the machine or the server.
    """

    __slots__ = ("is_gone", "is_lost", "key", "number", "passed", "priority", "shape", "tenant_id")

    def __init__(
        self, key: Hashable, tenant_id: str, shape: Shape, priority: int, number: int, *, is_lost: bool = False
    ) -> None:
        self.key = key
        self.tenant_id = tenant_id
        self.shape = shape
        self.priority = priority
        self.number = number
        self.is_lost = is_lost
        self.passed = 0  # how often others were served while it did not fit
        self.is_gone = False

    def __lt__(self, other: Wish) -> bool:
        return (-self.priority, not self.is_lost, self.number) < (-other.priority, not other.is_lost, other.number)


class _Line:
    """What one tenant waits for: wishes of one shape are looked at as one, by the best of them."""

    def __init__(self) -> None:
        self._alike: dict[Shape, list[Wish]] = {}
        self._firsts: list[Wish] = []  # the best of each shape that some machine can hold, in order

    def __bool__(self) -> bool:
        return bool(self._alike)

    def add(self, wish: Wish, *, can_be_met: bool) -> None:
        alike = self._alike.setdefault(wish.shape, [])
        first = alike[0] if alike else None
        heapq.heappush(alike, wish)
        if can_be_met and alike[0] is not first:
            self._strike(first)
            insort(self._firsts, wish)

    def remove(self, wish: Wish, *, can_be_met: bool) -> None:
        alike = self._alike[wish.shape]
        first = alike[0]
        while alike and alike[0].is_gone:
            heapq.heappop(alike)
        if not alike:
            del self._alike[wish.shape]
        if can_be_met and first is wish:
            self._strike(first)
            if alike:
                insort(self._firsts, alike[0])

    def sort(self, unmet: set[Shape]) -> None:
        self._firsts = sorted(alike[0] for shape, alike in self._alike.items() if shape not in unmet)

    def best(self) -> Iterator[Wish]:
        return islice(self._firsts, LOOKED_AT)

    def _strike(self, first: Wish | None) -> None:
        if first is not None:
            del self._firsts[bisect_left(self._firsts, first)]


class Wishes:
    """All that wait. The tenant that was served last comes last."""

    def __init__(self) -> None:
        self._lines: dict[str, _Line] = {}
        self._unmet: set[Shape] = set()  # shapes that no machine could ever hold: they hide nothing that could run
        self.shapes: Counter[Shape] = Counter()

    def __len__(self) -> int:
        return self.shapes.total()

    def add(self, wish: Wish, *, can_be_met: bool) -> None:
        """From now on it waits. ``can_be_met``: some machine could hold it."""
        if not can_be_met:
            self._unmet.add(wish.shape)
        self._lines.setdefault(wish.tenant_id, _Line()).add(wish, can_be_met=can_be_met)
        self.shapes[wish.shape] += 1

    def remove(self, wish: Wish) -> None:
        """It waits no longer."""
        wish.is_gone = True
        self.shapes[wish.shape] -= 1
        line = self._lines[wish.tenant_id]
        line.remove(wish, can_be_met=wish.shape not in self._unmet)
        if not line:
            del self._lines[wish.tenant_id]
        if not self.shapes[wish.shape]:
            del self.shapes[wish.shape]
            self._unmet.discard(wish.shape)

    def serve(self, wish: Wish) -> None:
        """It was its tenant's turn; the others come first now."""
        line = self._lines.pop(wish.tenant_id)
        self._lines[wish.tenant_id] = line
        self.remove(wish)

    def sort(self, can_be_met: Callable[[Shape], bool]) -> None:
        """The machines are others now: tell again what some machine could hold from what none could."""
        self._unmet = {shape for shape in self.shapes if not can_be_met(shape)}
        for line in self._lines.values():
            line.sort(self._unmet)

    def in_turn(self) -> Iterator[Wish]:
        """The best wish of each shape that could be met, tenant by tenant. Nothing may change while it is asked."""
        for line in self._lines.values():
            yield from line.best()
