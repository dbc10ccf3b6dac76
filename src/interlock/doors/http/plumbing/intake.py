"""How much of what comes in a process takes up in one turn of its loop; the rest waits in lines for the next turns.

A loop that reads whatever has come makes each turn as long as there are clients, and every answer of the database waits
for a turn. So a turn takes up a few requests only, and what is under way goes on in between. The lines are served in
turn: a connection stands in that of the tenant whose request it brought last, all that brought none yet in one.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import Callable

from interlock.doors.http.plumbing.patience import Patience

A_TURN = 32
"""Parts of requests that one turn takes up."""

Begin = Callable[[bool], None]
"""Called with whether it has waited for too long."""


class Intake:
    """What one server takes up, on its one loop."""

    def __init__(self, a_turn: int = A_TURN) -> None:
        self._a_turn = a_turn
        self._begun = 0
        self._lines: OrderedDict[str, deque[tuple[float, Begin]]] = OrderedDict()  # whose turn is first
        self._patience = Patience()
        self._is_due = False

    def has_room(self) -> bool:
        """Whether this turn takes up one more; it is counted then."""
        self._see_to_next_turn()
        if self._begun >= self._a_turn or self._lines:
            return False
        self._begun += 1
        return True

    def postpone(self, asker: str, begin: Begin) -> None:
        """Call ``begin`` in a later turn, after all that wait in the line of ``asker``."""
        now = asyncio.get_running_loop().time()
        self._patience.note_lines(now)
        self._lines.setdefault(asker, deque()).append((now, begin))

    def _see_to_next_turn(self) -> None:
        if not self._is_due:
            self._is_due = True
            asyncio.get_running_loop().call_soon(self._turn)

    def _turn(self) -> None:
        self._is_due = False
        self._begun = 0
        if not self._lines:
            return
        self._see_to_next_turn()
        now = asyncio.get_running_loop().time()
        patience = self._patience.seconds(now)
        while self._lines and self._begun < self._a_turn:
            since, begin = self._next()
            self._begun += 1
            begin(now - since > patience)

    def _next(self) -> tuple[float, Begin]:
        asker, line = next(iter(self._lines.items()))
        self._lines.move_to_end(asker)
        found = line.popleft()
        if not line:
            del self._lines[asker]
        if not self._lines:
            self._patience.note_none()
        return found
