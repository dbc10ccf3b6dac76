"""How many calls may be under way whose row is not in the ledger yet: one, whatever happens to the ledger."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any
from uuid import UUID

import pytest

from interlock.core.errors import InterlockError, unavailable
from interlock.core.models.prices import Usage, price
from interlock.core.models.requests import read_chat
from interlock.core.models.routing import Deployment
from interlock.core.principal import Principal, Scope
from interlock.kit.clock import SystemClock
from interlock.kit.ids import RandomIds
from interlock.ports.models import Budget, CallRow
from interlock.services.models.holds import Hold, Holds
from interlock.services.models.no_books import NoBooks

WHO = Principal("ann", "tenant", frozenset({Scope.MODELS_USE}))
WHERE = [Deployment("p", "m", "m", price(1.0))]
ASKED = read_chat({"model": "m", "messages": [{"role": "user", "content": "hello"}]})


class Ledger(NoBooks):
    """Each write waits to be let through, or to be refused."""

    def __init__(self) -> None:
        self.written: list[CallRow] = []
        self.begun = asyncio.Semaphore(0)
        self._verdicts: asyncio.Queue[bool] = asyncio.Queue()

    async def budgets_of(self, tenant_id: str, holder: str) -> tuple[Budget, ...]:
        return (Budget(budget_id=UUID(int=1), tenant_id=tenant_id, holder="", cap=10**15),)

    async def take_slice(self, budget_id: UUID, slice_id: UUID, least: int, lease: float) -> int:
        return 10**12

    async def write(self, rows: Sequence[CallRow], answers: Any = ()) -> None:
        self.begun.release()
        if not await self._verdicts.get():
            raise unavailable("The database is away")
        self.written += rows

    def let(self, *, through: bool = True) -> None:
        self._verdicts.put_nowait(through)


async def turns() -> None:
    """Let everything go on that can; only the ledger is waited for."""
    for _ in range(20):
        await asyncio.sleep(0)


class House:
    def __init__(self) -> None:
        self.ledger = Ledger()
        self.holds = Holds(self.ledger, SystemClock(), RandomIds())

    async def come(self) -> asyncio.Task[Hold]:
        task = asyncio.create_task(self.holds.take(WHO, ASKED, WHERE, "trace"))
        await turns()
        return task

    def settle(self, *calls: asyncio.Task[Hold]) -> None:
        for call in calls:
            call.result().settle(WHERE[0], Usage(1, 1))


async def test_one_call_begins_before_its_row_and_the_next_one_when_that_row_is_there() -> None:
    house = House()
    async with asyncio.timeout(5):
        first = await house.come()
        assert first.done()
        second, third = await house.come(), await house.come()
        assert not second.done()
        house.ledger.let()
        await second
        assert [row.call_id for row in house.ledger.written] == [first.result().row.call_id]
        assert not third.done()
        house.ledger.let()
        await third
        house.settle(first, second, third)
        for _ in range(2):
            house.ledger.let()
        await house.holds.stop()
    assert sum(row.status == "settled" for row in house.ledger.written) == 3


async def test_while_the_ledger_is_away_no_second_call_begins() -> None:
    house = House()
    async with asyncio.timeout(5):
        first = await house.come()
        second = await house.come()
        house.ledger.let(through=False)
        await turns()
        assert not second.done(), "the row of the first is not there yet"
        third = await house.come()
        house.ledger.let(through=False)
        for refused in (second, third):
            with pytest.raises(InterlockError, match="ledger"):
                await refused
        fourth = await house.come()
        assert not fourth.done()
        house.ledger.let()
        await fourth
        house.settle(first, fourth)
        house.ledger.let()
        await house.holds.stop()
    assert {row.call_id for row in house.ledger.written} >= {first.result().row.call_id, fourth.result().row.call_id}
