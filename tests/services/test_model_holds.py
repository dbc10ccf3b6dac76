"""How many calls may be under way whose row is not in the ledger yet: one, whatever happens to the ledger."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any
from uuid import NAMESPACE_OID, UUID, uuid5

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

WHERE = [Deployment("p", "m", "m", price(1.0))]
ASKED = read_chat({"model": "m", "messages": [{"role": "user", "content": "hello"}]})


def budget(tenant_id: str, holder: str) -> Budget:
    budget_id = uuid5(NAMESPACE_OID, f"{tenant_id}/{holder}")
    return Budget(budget_id=budget_id, tenant_id=tenant_id, holder=holder, cap=10**15)


class Ledger(NoBooks):
    """Each write waits to be let through, or to be refused."""

    def __init__(self) -> None:
        self.written: list[CallRow] = []
        self.begun = asyncio.Semaphore(0)
        self._verdicts: asyncio.Queue[bool] = asyncio.Queue()

    async def budgets_of(self, tenant_id: str, holder: str) -> tuple[Budget, ...]:
        """The tenant's, and for everybody but Ann one of their own before it; elsewhere nothing but those."""
        own = () if holder == "ann" else (budget(tenant_id, holder),)
        return (*own, budget(tenant_id, "")) if tenant_id == "tenant" else own

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

    async def come(self, subject: str = "ann", tenant_id: str = "tenant") -> asyncio.Task[Hold]:
        who = Principal(subject, tenant_id, frozenset({Scope.MODELS_USE}))
        task = asyncio.create_task(self.holds.take(who, ASKED, WHERE, "trace"))
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


async def test_callers_with_budgets_of_their_own_share_the_one_early_call_of_their_tenant() -> None:
    """Else a process that dies overspends the tenant's budget by one call of each of them."""
    house = House()
    async with asyncio.timeout(5):
        first = await house.come("key-0")
        others = [await house.come(f"key-{number}") for number in range(1, 20)] + [await house.come("ann")]
        elsewhere = [await house.come(f"key-{number}", "without") for number in range(20, 23)]
        assert first.done()
        assert not any(other.done() for other in others)
        assert all(one.done() for one in elsewhere), "nothing but their own budgets can be overspent"
        for _ in range(2):
            house.ledger.let()
        await asyncio.gather(*others)
        house.settle(first, *others, *elsewhere)
        for _ in range(2):
            house.ledger.let()
        await house.holds.stop()
    assert sum(row.status == "settled" for row in house.ledger.written) == 24
    assert not house.holds._early
