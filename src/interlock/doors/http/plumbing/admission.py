"""Who is worked on next: so many requests at a time, shared among the tenants that ask, and the rest in lines.

The loop of a process takes turns with all that it has begun, so whoever may begin anything makes everybody slow. What
waits in a line costs the others nothing, and what would wait for too long is refused at once.
"""

from __future__ import annotations

import asyncio
from collections import Counter, OrderedDict, deque
from collections.abc import Callable

from interlock.core.errors import ErrorKind, InterlockError, unavailable
from interlock.doors.http.plumbing.patience import Patience

PLACES = 32
"""Requests that are worked on at a time. Half of them go to whoever comes, the others evenly to all who ask."""
ALONE = 512
"""Requests of one asker at a time while nobody else asks."""
QUEUE_FULL = "QUEUE_FULL"
"""The code of whatever is refused because too much of its sort waits already."""
TOO_BUSY = "The server is too busy at the moment; try again"
TOO_MANY = "More requests of yours are under way than this server can work on; send fewer at a time"
LENT_SECONDS = 1.0
"""So long a request counts as worked on, at most: who takes longer waits for somebody else."""
_LEARNING = 0.05
"""What the last place that was given counts for in the pace of the lines."""
_ASKED_SECONDS = 1.0
"""So long an asker counts after its last request."""
_SLOW_SECONDS = 5.0
"""So long the server is called slow after somebody kept a place for too long."""


class Admission:
    """The places of one process, and the lines of those who wait for one."""

    def __init__(self, places: int = PLACES, alone: int = ALONE) -> None:
        self._places = places
        self._alone = alone
        self._overdue: set[object] = set()  # taken back, and still worked on
        self._held: OrderedDict[object, tuple[str, float]] = OrderedDict()  # oldest first
        self._taken = 0
        self._holding: Counter[str] = Counter()
        self._lines: OrderedDict[str, deque[tuple[float, asyncio.Future[None]]]] = OrderedDict()  # whose turn is first
        self._asked: OrderedDict[str, float] = OrderedDict()
        self._pace = 0.0  # seconds from one place that is given to a line to the next
        self._served_at: float | None = None
        self._patience = Patience()
        self._recalling: asyncio.TimerHandle | None = None
        self._recalled_at = float("-inf")
        self._loop: asyncio.AbstractEventLoop | None = None

    def check(self, asker: str | None) -> None:
        """Raises LIMITED, or UNAVAILABLE, if the asker's line is too long to stand behind; costs next to nothing."""
        if self._has_long_line(asker):
            raise self.refusal(asker)

    def refusal_in_line(self, asker: str | None) -> InterlockError | None:
        """What ``check`` would raise. One that is raised and caught costs ten times as much, and garbage."""
        return self.refusal(asker) if self._has_long_line(asker) else None

    def _has_long_line(self, asker: str | None) -> bool:
        line = self._lines.get(asker) if asker is not None else None
        return self._wait_behind(line) > self._patience.seconds(self._now()) if line else False

    def _wait_behind(self, line: deque[tuple[float, asyncio.Future[None]]]) -> float:
        """How long whoever comes now will wait: as long as the first has, and as the lines have moved lately."""
        return max(self._now() - line[0][0], len(line) * len(self._lines) * self._pace)

    async def enter(self, asker: str | None) -> Callable[[], None]:
        """Wait for a place; what comes back gives it up, and may be called again. Raises like ``check``.

        None needs no place.
        """
        if asker is None:
            return _nothing
        now = self._now()
        self._note(asker, now)
        if asker in self._lines or not self._take(asker):
            self.check(asker)
            await self._stand_in_line(asker, now)
            now = self._now()
        place = object()
        self._held[place] = (asker, now)
        self._recall_later()
        return lambda: self._leave(place)

    async def _stand_in_line(self, asker: str, now: float) -> None:
        """Wait until a place was taken for us."""
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._patience.note_lines(now)
        self._lines.setdefault(asker, deque()).append((now, turn))
        self._recall_later()
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._let_go(asker)
            raise

    def _take(self, asker: str) -> bool:
        """Take a place for the asker, if there is one for it."""
        is_free = self._is_free_for(asker)
        if is_free:
            self._taken += 1
            self._holding[asker] += 1
        return is_free

    def _is_free_for(self, asker: str) -> bool:
        if len(self._asked) <= 1:
            is_within = self._taken + len(self._overdue) < self._alone
            return is_within or self._taken < min(self._places, self._alone)
        if self._taken < self._places // 2:
            return True
        share = self._share()
        if self._holding[asker] >= share:
            return False
        # Whoever holds more than its share, from when nobody else asked, keeps nobody out.
        return self._taken < self._places or any(held > share for held in self._holding.values())

    def refusal(self, asker: str | None) -> InterlockError:
        """What is told to who cannot wait.

        Whoever has its share sends too much, unless the server is slow; else all together are too many.
        """
        reason = self.reason(asker)
        if reason == TOO_BUSY:
            return unavailable(TOO_BUSY, retry_after=1.0)
        return InterlockError(ErrorKind.LIMITED, QUEUE_FULL, reason, retryable=True, retry_after=1.0)

    def reason(self, asker: str | None) -> str:
        """The message of ``refusal``."""
        is_slow = self._now() - self._recalled_at < _SLOW_SECONDS
        return TOO_BUSY if is_slow or asker is None or self._holding[asker] < self._share() else TOO_MANY

    def _share(self) -> int:
        """The places that everybody who asks may have at the same time."""
        return max(1, self._places // max(1, len(self._asked)))

    def _note(self, asker: str, now: float) -> None:
        """Remember who asked lately."""
        self._asked[asker] = now
        self._asked.move_to_end(asker)
        while now - next(iter(self._asked.values())) > _ASKED_SECONDS:
            self._asked.popitem(last=False)

    def _leave(self, place: object) -> None:
        found = self._held.pop(place, None)
        if found is None:
            self._overdue.discard(place)
            return
        self._let_go(found[0])

    def _let_go(self, asker: str) -> None:
        self._taken -= 1
        self._holding[asker] -= 1
        if not self._holding[asker]:
            del self._holding[asker]
        while self._lines and self._serve_lines():
            pass

    def _serve_lines(self) -> bool:
        """Give one free place to each line in turn; whether any could be given."""
        served = False
        for _ in range(len(self._lines)):
            asker, line = next(iter(self._lines.items()))
            self._lines.move_to_end(asker)
            while line and line[0][1].done():  # its caller has left
                line.popleft()
            if line and self._take(asker):
                line.popleft()[1].set_result(None)
                served = True
                self._note_pace()
            if not line:
                del self._lines[asker]
        if not self._lines:
            self._served_at = None
            self._patience.note_none(self._now())
        return served

    def _note_pace(self) -> None:
        now = self._now()
        if self._served_at is not None:
            self._pace += _LEARNING * (now - self._served_at - self._pace)
        self._served_at = now

    def _recall_later(self) -> None:
        """While somebody waits, see to it that nobody keeps a place for too long."""
        if self._recalling is None and self._lines and self._held:
            _, since = next(iter(self._held.values()))
            self._recalling = asyncio.get_running_loop().call_at(since + LENT_SECONDS, self._recall)

    def _recall(self) -> None:
        """Take back what was lent for too long."""
        self._recalling = None
        now = self._now()
        while self._held and now - next(iter(self._held.values()))[1] >= LENT_SECONDS:
            place, (asker, _) = self._held.popitem(last=False)
            self._overdue.add(place)
            self._recalled_at = now
            self._let_go(asker)
        self._recall_later()

    def _now(self) -> float:
        """The loop's time. The loop is asked for once: to find it is a call of the system."""
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
        return self._loop.time()


def _nothing() -> None:
    """There was no place to give up."""
