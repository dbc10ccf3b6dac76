"""Seats of streams: how many a principal and a tenant hold open, over all processes."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import timedelta
from itertools import islice
from typing import NamedTuple, TypeVar

import structlog

from interlock.core.errors import ErrorKind, InterlockError
from interlock.core.principal import Principal
from interlock.core.stream_seats import Granted, SeatClaim, SeatHolder
from interlock.kit.ids import Ids
from interlock.ports.access import AccessStore

RENEW_SECONDS = 10.0
LEASE = timedelta(seconds=35)
"""What a process holds counts so long after it said so; seats of one that was killed are free again then."""
SPARE_SECONDS = 0.5
"""A seat that was given up is kept so long for the next stream of its holder: that one need not ask the database."""
_AT_ONCE = 500
_RETRY_AFTER = 5

K = TypeVar("K")


class SeatLimits(NamedTuple):
    """At most so many open streams."""

    per_principal: int
    per_tenant: int


class _Asking(NamedTuple):
    limits: SeatLimits
    seat: asyncio.Future[None]


class StreamSeats:
    """Gives out seats. Whatever is asked for while the database is told goes with the next statement, all at once.

    A seat that is given up while its holder has no more than half of its own is kept for a moment for its next stream.
    """

    def __init__(self, store: AccessStore, ids: Ids, *, lease: timedelta = LEASE) -> None:
        self._store = store
        self._process = ids.new()
        self._lease = lease
        self._held: Counter[SeatHolder] = Counter()
        self._of_tenant: Counter[str] = Counter()
        self._spare: Counter[SeatHolder] = Counter()  # held, and nobody sits there
        self._idle: Counter[SeatHolder] = Counter()  # the fewest that were spare since they were looked at
        self._looking: asyncio.TimerHandle | None = None
        self._asking: dict[SeatHolder, list[_Asking]] = {}
        self._changed: set[SeatHolder] = set()
        self._writer: asyncio.Task[None] | None = None
        self._log = structlog.get_logger(__name__)

    async def take(self, principal: Principal, limits: SeatLimits) -> Callable[[], None]:
        """Take a seat; what comes back gives it up, once. Raises LIMITED, and UNAVAILABLE without the database."""
        holder = SeatHolder(principal.tenant_id, principal.subject)
        if self._spare[holder]:
            _add(self._spare, holder, -1)
            self._idle[holder] = min(self._idle[holder], self._spare[holder])
            return self._leaver(holder, limits)
        self._refuse_what_is_full_here(holder, limits)
        seat = asyncio.get_running_loop().create_future()
        self._asking.setdefault(holder, []).append(_Asking(limits, seat))
        self._write_soon()
        try:
            await seat
        except asyncio.CancelledError:
            if seat.done() and not seat.cancelled() and seat.exception() is None:
                self._free(holder)  # nobody sits down on it any more
            raise
        return self._leaver(holder, limits)

    async def renew(self) -> None:
        """Say again what this process holds, which is no spare seat, and forget processes that are gone.

        Raises UNAVAILABLE.
        """
        for holder, spare in self._spare.items():
            self._free(holder, spare)
        self._spare.clear()
        self._idle.clear()
        self._changed.update(self._held)
        self._write_soon()
        if self._writer is not None:
            await asyncio.wait({self._writer})
        await self._store.forget_dead_seats()

    def _refuse_what_is_full_here(self, holder: SeatHolder, limits: SeatLimits) -> None:
        if self._held[holder] >= limits.per_principal:
            raise _full(*_of_you(limits))
        if self._of_tenant[holder.tenant_id] >= limits.per_tenant:
            raise _full(*_of_tenant(limits))

    def _leaver(self, holder: SeatHolder, limits: SeatLimits) -> Callable[[], None]:
        is_taken = True

        def leave() -> None:
            nonlocal is_taken
            if is_taken:
                is_taken = False
                self._leave(holder, limits)

        return leave

    def _leave(self, holder: SeatHolder, limits: SeatLimits) -> None:
        """Keep the seat for a moment, unless somebody elsewhere may want it: more than half of all are held."""
        of_tenant = self._of_tenant[holder.tenant_id]
        if self._held[holder] * 2 > limits.per_principal or of_tenant * 2 > limits.per_tenant:
            self._free(holder)
            return
        self._spare[holder] += 1
        self._look_soon()

    def _look_soon(self) -> None:
        if self._looking is None:
            self._looking = asyncio.get_running_loop().call_later(SPARE_SECONDS, self._free_idle)

    def _free_idle(self) -> None:
        """Give up the seats that nobody has taken since this was done last."""
        self._looking = None
        for holder, spare in list(self._spare.items()):
            idle = self._idle[holder]
            _add(self._spare, holder, -idle)
            self._free(holder, idle)
            self._idle[holder] = spare - idle
        self._idle = Counter({holder: self._idle[holder] for holder in self._spare})
        if self._spare:
            self._look_soon()

    def _free(self, holder: SeatHolder, seats: int = 1) -> None:
        if not seats:
            return
        _add(self._held, holder, -seats)
        _add(self._of_tenant, holder.tenant_id, -seats)
        self._changed.add(holder)
        self._write_soon()

    def _write_soon(self) -> None:
        if self._writer is None or self._writer.done():
            self._writer = asyncio.create_task(self._write(), name="stream-seats")

    async def _write(self) -> None:
        while self._asking or self._changed:
            holders = list(islice((*self._asking, *(self._changed - self._asking.keys())), _AT_ONCE))
            asking = {holder: self._asking.pop(holder, []) for holder in holders}
            self._changed.difference_update(holders)
            try:
                granted = await self._store.hold_seats(self._process, self._claims(asking), self._lease)
            except Exception as error:  # noqa: BLE001 - whoever waits for a seat is told, and nobody waits for ever
                self._log.warning("streams.seats_not_counted", error=str(error), holders=len(holders))
                self._changed.update(holders)  # with the next one, or when the lease is renewed
                _refuse(asking, error)
                if not self._asking:
                    return
            else:
                self._give(asking, granted)

    def _claims(self, asking: dict[SeatHolder, list[_Asking]]) -> list[SeatClaim]:
        return [
            SeatClaim(
                holder,
                self._held[holder],
                len(waiting),
                self._of_tenant[holder.tenant_id],
                *(waiting[-1].limits if waiting else (0, 0)),
            )
            for holder, waiting in asking.items()
        ]

    def _give(self, asking: dict[SeatHolder, list[_Asking]], granted: Sequence[Granted]) -> None:
        for (holder, waiting), given in zip(asking.items(), granted, strict=True):
            for place, (limits, seat) in enumerate(waiting):
                if seat.done():  # whoever asked has left
                    self._changed.add(holder)
                elif place < given.seats:
                    _add(self._held, holder, 1)
                    _add(self._of_tenant, holder.tenant_id, 1)
                    seat.set_result(None)
                else:
                    seat.set_exception(_full(*(_of_tenant if given.is_tenant_full else _of_you)(limits)))


def _of_tenant(limits: SeatLimits) -> tuple[str, int]:
    return "Your tenant has", limits.per_tenant


def _of_you(limits: SeatLimits) -> tuple[str, int]:
    return "You have", limits.per_principal


def _add(counter: Counter[K], key: K, number: int) -> None:
    counter[key] += number
    if counter[key] <= 0:
        del counter[key]


def _refuse(asking: dict[SeatHolder, list[_Asking]], error: Exception) -> None:
    for waiting in asking.values():
        for _, seat in waiting:
            if not seat.done():
                seat.set_exception(error)


def _full(whose: str, limit: int) -> InterlockError:
    return InterlockError(
        ErrorKind.LIMITED,
        "RATE_LIMIT_EXCEEDED",
        f"{whose} {limit} open streams; close one first",
        details={"limit": limit},
        retryable=True,
        retry_after=_RETRY_AFTER,
    )
