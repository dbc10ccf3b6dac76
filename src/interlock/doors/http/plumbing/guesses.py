"""How many wrong credentials an address may show: each costs a query, before any limit knows whom to count it for."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Literal, TypeVar

from interlock.core.errors import ErrorKind, InterlockError
from interlock.doors.http.plumbing.client import network_of
from interlock.kit.clock import Clock

MOST = 60
SECONDS = 60.0
_MOST_CLIENTS = 20_000

T = TypeVar("T")
Sort = Literal["keys", "signatures", "tickets"]


class Guesses:
    """Counts the refused credentials of each address and sort, in this process, for a minute from the first.

    From ``MOST`` on, what is not known to be good is refused unseen until the minute is over. Nothing is looked up
    for an address without failures but its count, and no other address feels anything.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._failures: OrderedDict[tuple[str, str], tuple[int, float]] = OrderedDict()

    async def check(
        self, sort: Sort, client: str, check: Callable[[], Awaitable[T]], is_known: Callable[[], bool] | None = None
    ) -> T:
        """What ``check`` returns. ``is_known`` says without a query that the credential was good a while ago.

        Raises LIMITED with the seconds that are left, and what ``check`` raises.
        """
        whose = (sort, network_of(client))
        if whose in self._failures:
            self._refuse_more(whose, is_known)
        try:
            return await check()
        except InterlockError as error:
            if error.kind is ErrorKind.UNAUTHENTICATED:
                self._note(whose)
            raise

    def _refuse_more(self, whose: tuple[str, str], is_known: Callable[[], bool] | None) -> None:
        count, until = self._failures[whose]
        left = until - self._clock.monotonic()
        if left <= 0:
            del self._failures[whose]
        elif count >= MOST and (is_known is None or not is_known()):
            raise _refusal(whose[0], count, max(1, math.ceil(left)))

    def _note(self, whose: tuple[str, str]) -> None:
        count, until = self._failures.get(whose, (0, self._clock.monotonic() + SECONDS))
        self._failures[whose] = count + 1, until
        if len(self._failures) > _MOST_CLIENTS:
            self._failures.popitem(last=False)


def _refusal(sort: str, count: int, seconds: int) -> InterlockError:
    return InterlockError(
        ErrorKind.LIMITED,
        "RATE_LIMIT_EXCEEDED",
        f"{MOST} wrong {sort} came from your address within {SECONDS:g} s; try again in {seconds} s",
        details={"limit": MOST, "current": count, "retry_after": seconds, "window": f"wrong-{sort}-minute"},
        retryable=True,
        retry_after=seconds,
    )
