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
AT_ONCE = 256
"""Requests that one turn refuses without a look at their turn."""
CROWD_SECONDS = 0.03
"""The patience with a crowd that stays."""
_LATE = 16
"""So many are refused in the time of one that is not."""

Begin = Callable[[bool], None]
"""Called with whether it has waited for too long."""


class Intake:
    """What one server takes up, on its one loop."""

    def __init__(self, a_turn: int = A_TURN) -> None:
        self._a_turn = a_turn
        self._begun = 0
        self._turned_away = 0
        self._lines: OrderedDict[str, deque[tuple[float, Begin]]] = OrderedDict()  # whose turn is first
        self._patience = Patience(CROWD_SECONDS)
        self._is_due = False
        self._loop: asyncio.AbstractEventLoop | None = None

    def has_room(self) -> bool:
        """Whether this turn takes up one more; it is counted then."""
        self._see_to_next_turn()
        if self._begun >= self._a_turn or self._lines:
            return False
        self._begun += 1
        return True

    def is_crowded(self, asker: str) -> bool:
        """Whether the line of ``asker`` holds its part of a whole turn already, in a crowd that stays.

        Whoever comes next need not wait to hear of it. True only so often in one turn: the rest may wait for the next.
        """
        line = self._lines.get(asker)
        if line is None or self._turned_away >= AT_ONCE or len(line) * len(self._lines) < self._a_turn:
            return False
        is_crowd = self._patience.is_crowd(self.now())
        self._turned_away += is_crowd
        return is_crowd

    def postpone(self, asker: str, begin: Begin) -> None:
        """Call ``begin`` in a later turn, after all that wait in the line of ``asker``."""
        now = self.now()
        self._patience.note_lines(now)
        self._lines.setdefault(asker, deque()).append((now, begin))

    def _see_to_next_turn(self) -> None:
        if not self._is_due:
            self._is_due = True
            self._loop_here().call_soon(self._turn)

    def _turn(self) -> None:
        self._is_due = False
        self._begun = self._turned_away = 0
        if not self._lines:
            return
        self._see_to_next_turn()
        now = self.now()
        patience = self._patience.seconds(now)
        while self._lines and self._begun < self._a_turn:
            asker, line = next(iter(self._lines.items()))
            self._lines.move_to_end(asker)
            self._serve(line, now - patience)
            if not line:
                del self._lines[asker]
        if not self._lines:
            self._patience.note_none(now)

    def _serve(self, line: deque[tuple[float, Begin]], oldest: float) -> None:
        """Begin with the first of a line. Those that are too late are refused, and then it is the last one's turn.

        Were the first to come the first to be served in a crowd, each would have waited too long when its turn comes.
        """
        late = 0
        while line and late < _LATE and line[0][0] < oldest:
            late += 1
            line.popleft()[1](True)
        self._begun += late > 0
        if line and line[-1][0] >= oldest:
            self._begun += 1
            (line.pop() if late else line.popleft())[1](False)

    def now(self) -> float:
        """The loop's time, in seconds."""
        return self._loop_here().time()

    def _loop_here(self) -> asyncio.AbstractEventLoop:
        """The loop; it is asked for once: to find it is a call of the system."""
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
        return self._loop
