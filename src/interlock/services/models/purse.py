"""What this process holds of a budget and its tenant's: leased slices, filled again when they run low."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from uuid import UUID

from interlock.core.errors import ErrorKind, InterlockError
from interlock.core.models.prices import NANODOLLARS
from interlock.core.models.slices import Slice
from interlock.kit.clock import Clock
from interlock.kit.ids import Ids
from interlock.ports.models import Books, Budget
from interlock.services.models.writer import LedgerWriter

LEASE_SECONDS = 30.0
"""After so long without a sign of life a process's holds settle at their estimates."""


class Purse:
    """Reserves and settles within what was leased; asks the database only when that is not enough."""

    def __init__(self, budgets: tuple[Budget, ...], books: Books, writer: LedgerWriter, clock: Clock, ids: Ids) -> None:
        self.budgets = budgets
        self._books = books
        self._writer = writer
        self._clock = clock
        self._ids = ids
        self._slices: dict[UUID, Slice] = {}
        self._until: dict[UUID, float] = {}
        self._current: UUID | None = None
        self._turn = asyncio.Lock()
        self.used_at = clock.monotonic()

    async def reserve(self, estimate: int) -> UUID:
        """Set ``estimate`` aside and say in which slice. Raises BUDGET_EXCEEDED, UNAVAILABLE."""
        self.used_at = self._clock.monotonic()
        found = self._fit(estimate)
        if found is not None:
            return found
        async with self._turn:
            found = self._fit(estimate)
            if found is None:
                await self._refill(estimate)
                found = self._fit(estimate)
        if found is None:
            raise _exceeded(self.budgets, estimate)
        return found

    def settle(self, slice_id: UUID, estimate: int, cost: int) -> None:
        """A call of this slice is over."""
        if slice_id in self._slices:
            self._slices[slice_id].settle(estimate, cost)

    @property
    def slice_ids(self) -> list[UUID]:
        """The slices that this process holds."""
        return list(self._slices)

    @property
    def is_at_rest(self) -> bool:
        """Whether no call is under way."""
        return not any(one.set_aside for one in self._slices.values()) and not self._turn.locked()

    def renewed(self, asked: Iterable[UUID], alive: set[UUID], asked_at: float) -> None:
        """Of the leases ``asked`` for some last on from ``asked_at``; what is left in the others is not ours."""
        for slice_id in self._slices.keys() & set(asked):
            if slice_id in alive:
                self._until[slice_id] = asked_at + LEASE_SECONDS
            else:
                self._forget(slice_id)

    async def give_back(self, *, all_of_them: bool = False) -> None:
        """Return the slices in which no call is under way, after their rows are written."""
        empty = [slice_id for slice_id, one in self._slices.items() if all_of_them or not one.set_aside]
        if not empty:
            return
        for slice_id in empty:
            self._forget(slice_id)
        await self._writer.flush()
        await self._books.give_back(empty)

    def _fit(self, estimate: int) -> UUID | None:
        current = self._current
        if current is None or self._until[current] <= self._clock.monotonic() + LEASE_SECONDS / 6:
            return None
        return current if self._slices[current].reserve(estimate) else None

    async def _refill(self, estimate: int) -> None:
        await self.give_back()
        slice_id, asked_at = self._ids.new(), self._clock.monotonic()
        granted = await self._books.take_slice(self.budgets[0].budget_id, slice_id, estimate, LEASE_SECONDS)
        if granted >= max(estimate, 1):
            self._slices[slice_id] = Slice(granted)
            self._until[slice_id] = asked_at + LEASE_SECONDS
            self._current = slice_id

    def _forget(self, slice_id: UUID) -> None:
        del self._slices[slice_id], self._until[slice_id]
        if self._current == slice_id:
            self._current = None


def _exceeded(budgets: tuple[Budget, ...], estimate: int) -> InterlockError:
    wanted, cap = estimate / NANODOLLARS, min(budget.cap for budget in budgets) / NANODOLLARS
    whose = " or ".join(
        f"{'this caller' if budget.holder else 'this tenant'} ({budget.cap / NANODOLLARS:.6g} USD)"
        for budget in budgets
    )
    return InterlockError(
        ErrorKind.LIMITED,
        "BUDGET_EXCEEDED",
        f"The budget of {whose} has no room for this call, which may cost up to {wanted:.6g} USD; "
        "ask for fewer max_tokens, or have the budget raised",
        details={"cap_usd": cap, "estimate_usd": wanted},
    )
