"""Who is worked on next: so many requests at a time, divided evenly among the tenants that ask, the rest in lines.

The loop of a process takes turns with everything it has begun, so whoever may begin anything makes everybody slow. A
request that waits in a line costs nothing; and one that would wait for too long is refused at once.
"""

from __future__ import annotations

import asyncio
from collections import Counter, OrderedDict, deque
from collections.abc import Callable

from interlock.core.errors import ErrorKind, InterlockError

PLACES = 32
"""Requests that are worked on at a time."""
LENT_SECONDS = 0.25
"""So long a request counts as worked on, at most: who takes longer waits for somebody else."""
PATIENCE_SECONDS = 1.0
"""Whoever would come behind somebody that has waited for so long is refused."""
LINE = 2_000
"""Requests that wait for one asker."""
_ASKED_SECONDS = 1.0
"""So long an asker counts after its last request."""


class Admission:
    """The places of one process. ``now`` is the loop's time unless a test has its own."""

    def __init__(self, places: int = PLACES) -> None:
        self._places = places
        self._held: OrderedDict[object, tuple[str, float]] = OrderedDict()  # oldest first
        self._holding: Counter[str] = Counter()
        self._lines: OrderedDict[str, deque[tuple[float, asyncio.Future[None]]]] = OrderedDict()  # whose turn is first
        self._asked: OrderedDict[str, float] = OrderedDict()
        self._recalling: asyncio.TimerHandle | None = None
        self.refused = 0

    def check(self, asker: str) -> None:
        """Raises LIMITED if the asker's line is too long to stand behind; costs next to nothing."""
        line = self._lines.get(asker)
        if line and (len(line) >= LINE or _now() - line[0][0] > PATIENCE_SECONDS):
            self.refused += 1
            raise InterlockError(
                ErrorKind.LIMITED,
                "QUEUE_FULL",
                "More requests of yours are under way than this server can work on; send fewer at a time",
                retryable=True,
                retry_after=1.0,
            )

    async def enter(self, asker: str) -> Callable[[], None]:
        """Wait for a place; what comes back gives it up, and may be called again. Raises LIMITED like ``check``."""
        now = _now()
        self._note(asker, now)
        if asker in self._lines or not self._is_free(asker):
            self.check(asker)
            await self._stand_in_line(asker, now)
        place = object()
        self._held[place] = (asker, _now())
        return lambda: self._leave(place)

    async def _stand_in_line(self, asker: str, now: float) -> None:
        """Wait until a place was taken for us: it counts as held from then on."""
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._lines.setdefault(asker, deque()).append((now, turn))
        self._recall_later()
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._let_go(asker)
            raise

    def _is_free(self, asker: str) -> bool:
        """Whether there is a place for the asker; then it is taken."""
        if self._holding.total() >= self._places or self._holding[asker] >= self._share():
            return False
        self._holding[asker] += 1
        return True

    def _share(self) -> int:
        return max(1, self._places // max(1, len(self._asked)))

    def _note(self, asker: str, now: float) -> None:
        """Remember who asked lately."""
        self._asked[asker] = now
        self._asked.move_to_end(asker)
        while now - next(iter(self._asked.values())) > _ASKED_SECONDS:
            self._asked.popitem(last=False)

    def _leave(self, place: object) -> None:
        found = self._held.pop(place, None)
        if found is not None:
            self._let_go(found[0])

    def _let_go(self, asker: str) -> None:
        self._holding[asker] -= 1
        if not self._holding[asker]:
            del self._holding[asker]
        self._hand_out()

    def _hand_out(self) -> None:
        """Give what is free to the lines, one to each in turn."""
        for asker in list(self._lines):
            line = self._lines[asker]
            while line and line[0][1].done():  # its caller has left
                line.popleft()
            if line and self._is_free(asker):
                line.popleft()[1].set_result(None)
                self._lines.move_to_end(asker)
            if not line:
                del self._lines[asker]

    def _recall_later(self) -> None:
        if self._recalling is None and self._held:
            _, since = next(iter(self._held.values()))
            loop = asyncio.get_running_loop()
            self._recalling = loop.call_at(since + LENT_SECONDS, self._recall)

    def _recall(self) -> None:
        """Take back what was lent for too long."""
        self._recalling = None
        now = _now()
        while self._held and now - next(iter(self._held.values()))[1] >= LENT_SECONDS:
            _, (asker, _) = self._held.popitem(last=False)
            self._let_go(asker)
        if self._lines:
            self._recall_later()


def _now() -> float:
    return asyncio.get_running_loop().time()
