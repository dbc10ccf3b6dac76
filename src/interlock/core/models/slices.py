"""The part of a budget that one process may spend without asking again."""

from __future__ import annotations


class Slice:
    """Money granted to this process until its lease ends: what was set aside, and what was spent, in nanodollars.

    At every moment ``set_aside + spent <= granted``, unless a call cost more than was set aside for it.
    """

    __slots__ = ("granted", "set_aside", "spent")

    def __init__(self, granted: int) -> None:
        self.granted = granted
        self.set_aside = 0
        self.spent = 0

    @property
    def room(self) -> int:
        """What may still be set aside; below 0 after a call that cost more than foreseen."""
        return self.granted - self.set_aside - self.spent

    def reserve(self, estimate: int) -> bool:
        """Set ``estimate`` aside, if there is room for all of it."""
        if estimate > self.room:
            return False
        self.set_aside += estimate
        return True

    def settle(self, estimate: int, cost: int) -> None:
        """A call is over: what it cost is spent, the rest of what was set aside is free again."""
        self.set_aside -= estimate
        self.spent += cost
