"""Budgets cannot be overspent: by many processes at once, by those that die, by those that come back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import asyncpg
import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from conftest import Planted, plant
from interlock.backends.store.postgres.budgets import PostgresBooks
from interlock.kit.ids import RandomIds
from interlock.ports.models import Budget, CallRow

AT = datetime(2026, 11, 22, tzinfo=UTC)
IDS = RandomIds()


@pytest.fixture(scope="module")
async def books(database: Any) -> AsyncIterator[PostgresBooks]:
    books = PostgresBooks(database.serve_url, connections=4)
    await books.open()
    yield books
    await books.close()


async def make_budget(books: PostgresBooks, cap: int) -> Budget:
    return await books.set_budget(Budget(budget_id=IDS.new(), tenant_id=f"tenant-{IDS.new()}", holder="", cap=cap))


def row(budget: Budget, slice_id: Any, estimate: int, status: Any = "held", cost: int = 0) -> CallRow:
    return CallRow(
        call_id=IDS.new(),
        tenant_id=budget.tenant_id,
        subject="ann",
        budget_id=budget.budget_id,
        slice_id=slice_id,
        provider="p",
        model="m",
        kind="chat",
        status=status,
        estimate=estimate,
        cost=cost,
        at=AT,
    )


async def now(books: PostgresBooks, budget: Budget) -> Budget:
    return (await books.budgets_of(budget.tenant_id, budget.holder))[0]


async def key_of(books: PostgresBooks, tenant: Budget, cap: int) -> Budget:
    return await books.set_budget(msgspec.structs.replace(tenant, budget_id=IDS.new(), holder="key-1", cap=cap))


async def test_a_key_is_limited_by_its_own_budget_and_by_that_of_its_tenant(books: PostgresBooks) -> None:
    whole = await make_budget(books, 100)
    assert await books.budgets_of(whole.tenant_id, "key-1") == (whole,)
    own = await key_of(books, whole, 5)
    assert await books.budgets_of(whole.tenant_id, "key-1") == (own, whole)
    assert await books.budgets_of(whole.tenant_id, "key-2") == (whole,)
    assert await books.list_budgets(whole.tenant_id) == [whole, own]
    assert await books.budgets_of("tenant-of-nobody", "key-1") == ()


async def test_a_key_with_a_larger_budget_spends_no_more_than_its_tenant_may(books: PostgresBooks) -> None:
    whole = await make_budget(books, 1000)
    own = await key_of(books, whole, 20_000)
    granted = await asyncio.gather(
        *(books.take_slice(one.budget_id, IDS.new(), 70, 30.0) for _ in range(20) for one in (own, whole))
    )
    assert 1000 - 70 < sum(granted) <= 1000
    assert (await now(books, whole)).leased == sum(granted)


async def test_a_key_with_a_smaller_budget_spends_no_more_than_that(books: PostgresBooks) -> None:
    whole = await make_budget(books, 1000)
    own = await key_of(books, whole, 100)
    granted = [await books.take_slice(own.budget_id, IDS.new(), 40, 30.0) for _ in range(4)]
    assert sum(granted) == (await now(books, whole)).leased == (await now(books, own)).leased == 80
    assert await books.take_slice(whole.budget_id, IDS.new(), 900, 30.0) == 900


async def test_what_a_key_spends_is_spent_of_both_and_the_rest_comes_back_to_both(books: PostgresBooks) -> None:
    whole = await make_budget(books, 1000)
    own = await key_of(books, whole, 500)
    slice_id = IDS.new()
    granted = await books.take_slice(own.budget_id, slice_id, 200, 30.0)
    held = row(own, slice_id, 100)
    await books.write([held, row(own, slice_id, 100, "settled", 7)])
    for budget in (own, whole):
        assert ((after := await now(books, budget)).spent, after.leased) == (7, granted - 7)
    await books.give_back([slice_id])
    await books.write([row(own, slice_id, 100, "settled", 3)])
    for budget in (own, whole):
        assert ((after := await now(books, budget)).spent, after.leased) == (110, 0)


async def test_what_was_leased_before_the_tenant_had_a_budget_is_no_part_of_it(books: PostgresBooks) -> None:
    own = await books.set_budget(Budget(budget_id=IDS.new(), tenant_id=f"tenant-{IDS.new()}", holder="key-1", cap=1000))
    slice_id = IDS.new()
    await books.take_slice(own.budget_id, slice_id, 200, 30.0)
    whole = await books.set_budget(msgspec.structs.replace(own, budget_id=IDS.new(), holder="", cap=1000))
    await books.write([row(own, slice_id, 100), row(own, slice_id, 100, "settled", 7)])
    await books.give_back([slice_id])
    after = await now(books, whole)
    assert (after.spent, after.leased) == (107, 0)


async def test_a_new_cap_keeps_what_was_spent(books: PostgresBooks) -> None:
    budget = await make_budget(books, 100)
    slice_id = IDS.new()
    await books.take_slice(budget.budget_id, slice_id, 50, 30.0)
    await books.write([row(budget, slice_id, 50, "settled", 40)])
    changed = await books.set_budget(msgspec.structs.replace(budget, budget_id=IDS.new(), cap=200))
    assert (changed.budget_id, changed.cap, changed.spent) == (budget.budget_id, 200, 40)


async def test_what_is_under_way_is_settled_after_its_budget_was_removed(books: PostgresBooks) -> None:
    whole = await make_budget(books, 1000)
    own = await key_of(books, whole, 500)
    slice_id = IDS.new()
    granted = await books.take_slice(own.budget_id, slice_id, 200, 30.0)
    assert await books.remove_budget(own.tenant_id, own.holder)
    assert not await books.remove_budget(own.tenant_id, own.holder)
    assert await books.budgets_of(own.tenant_id, own.holder) == (msgspec.structs.replace(whole, leased=granted),), (
        "the tenant's still counts"
    )
    later = IDS.new()
    assert 100 <= await books.take_slice(own.budget_id, later, 100, 30.0) < 500, "who did not hear of it"
    await books.write([row(own, slice_id, 100), row(own, slice_id, 100, "settled", 7)])
    await books.give_back([slice_id, later])
    assert ((after := await now(books, whole)).spent, after.leased) == (107, 0)
    again = await key_of(books, whole, 300)
    assert (again.cap, again.spent, again.leased) == (300, 0, 0)


async def test_a_tenants_budget_that_was_removed_limits_none_of_its_keys(books: PostgresBooks) -> None:
    whole = await make_budget(books, 10)
    own = await key_of(books, whole, 500)
    assert await books.remove_budget(whole.tenant_id, "")
    assert await books.take_slice(own.budget_id, IDS.new(), 200, 30.0) == 200


async def test_a_call_is_settled_once(books: PostgresBooks) -> None:
    budget = await make_budget(books, 1000)
    slice_id = IDS.new()
    await books.take_slice(budget.budget_id, slice_id, 100, 30.0)
    held = row(budget, slice_id, 60)
    await books.write([held])
    settled = msgspec.structs.replace(held, status="settled", cost=25)
    await books.write([settled])
    await books.write([settled, msgspec.structs.replace(held, call_id=IDS.new(), status="settled", cost=5)])
    assert (await now(books, budget)).spent == 30


async def test_a_crashed_hold_costs_its_estimate_and_the_rest_comes_back(books: PostgresBooks) -> None:
    budget = await make_budget(books, 1000)
    slice_id = IDS.new()
    granted = await books.take_slice(budget.budget_id, slice_id, 300, 0.0)
    held, done = row(budget, slice_id, 100), row(budget, slice_id, 100, "settled", 7)
    await books.write([held, done])
    assert granted == 300
    assert await books.sweep() >= 1
    after = await now(books, budget)
    assert (after.spent, after.leased) == (107, 0)
    await books.write([msgspec.structs.replace(held, status="settled", cost=3)])
    assert await now(books, budget) == after, "the one that comes back late changes nothing"


async def test_a_lease_that_ran_out_is_not_renewed(books: PostgresBooks) -> None:
    budget = await make_budget(books, 1000)
    good, lost = IDS.new(), IDS.new()
    await books.take_slice(budget.budget_id, good, 100, 30.0)
    await books.take_slice(budget.budget_id, lost, 100, 0.0)
    assert await books.renew([good, lost], 30.0) == {good}


async def test_many_processes_at_once_are_granted_no_more_than_the_cap(books: PostgresBooks) -> None:
    budget = await make_budget(books, 1000)
    granted = await asyncio.gather(*(books.take_slice(budget.budget_id, IDS.new(), 70, 30.0) for _ in range(40)))
    assert sum(granted) <= 1000
    assert 1000 - sum(granted) < 70
    assert (await now(books, budget)).leased == sum(granted)


async def test_a_late_settlement_of_an_unknown_hold_is_still_paid(books: PostgresBooks) -> None:
    budget = await make_budget(books, 1000)
    slice_id = IDS.new()
    await books.take_slice(budget.budget_id, slice_id, 100, 0.0)
    await books.sweep()
    await books.write([row(budget, slice_id, 50, "settled", 11)])
    after = await now(books, budget)
    assert (after.spent, after.leased) == (11, 0)


Step = tuple[int, str, int]
STEPS = st.lists(
    st.tuples(st.integers(0, 2), st.sampled_from(["hold", "settle", "kill", "sweep", "return"]), st.integers(0, 90)),
    max_size=30,
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS, cap=st.integers(0, 600), own_cap=st.integers(0, 600))
async def test_books_add_up_whatever_three_processes_do(
    books: PostgresBooks, steps: list[Step], cap: int, own_cap: int
) -> None:
    whole = await make_budget(books, cap)
    own = await key_of(books, whole, own_cap)
    slices: dict[int, tuple[Any, int]] = {}
    open_calls: dict[int, list[CallRow]] = {0: [], 1: [], 2: []}
    for process, what, amount in steps:
        budget = whole if process == 0 else own  # the first serves callers without a budget of their own
        if what == "hold":
            if process not in slices:
                slice_id = IDS.new()
                granted = await books.take_slice(budget.budget_id, slice_id, max(amount, 1), 30.0)
                if granted:
                    slices[process] = (slice_id, granted)
            slice_id, room = slices.get(process, (None, 0))
            if slice_id is not None and amount <= room:
                held = row(budget, slice_id, amount)
                await books.write([held])
                slices[process] = (slice_id, room - amount)
                open_calls[process].append(held)
        elif what == "settle" and open_calls[process]:
            held = open_calls[process].pop()
            cost = min(amount, held.estimate)
            await books.write([msgspec.structs.replace(held, status="settled", cost=cost)])
            slice_id, room = slices[process]
            slices[process] = (slice_id, room + held.estimate - cost)
        elif what in ("kill", "return") and process in slices:
            await books.give_back([slices.pop(process)[0]])
            open_calls[process].clear()
        elif what == "sweep":
            await books.sweep()
        for current in (await now(books, whole), await now(books, own)):
            assert current.spent >= 0
            assert current.leased >= 0
            assert current.spent + current.leased <= current.cap
    await books.give_back([slice_id for slice_id, _ in slices.values()])
    for end in (await now(books, whole), await now(books, own)):
        assert end.leased == 0
        assert end.spent <= end.cap
    assert (await now(books, own)).spent <= (await now(books, whole)).spent


async def test_the_ledger_and_the_budget_agree(books: PostgresBooks, database: Any) -> None:
    budget = await make_budget(books, 10_000)
    slice_id = IDS.new()
    await books.take_slice(budget.budget_id, slice_id, 5_000, 30.0)
    calls = [row(budget, slice_id, 50) for _ in range(40)]
    await asyncio.gather(*(books.write([call]) for call in calls))
    done = [msgspec.structs.replace(call, status="settled", cost=n) for n, call in enumerate(calls[:30])]
    await asyncio.gather(*(books.write([call]) for call in done))
    await books.give_back([slice_id])
    superuser = await asyncpg.connect(database.superuser_url)
    total = await superuser.fetchval(
        "select sum(cost)::bigint from interlock.model_calls where budget_id = $1", budget.budget_id
    )
    await superuser.close()
    assert total == (await now(books, budget)).spent == sum(range(30)) + 10 * 50


async def test_who_started_an_execution_is_told_to_its_tenant(books: PostgresBooks, database: Any) -> None:
    planted = await plant(database, Planted(execution_id=IDS.new(), tenant_id=f"tenant-{IDS.new()}", user_id="ann"))
    assert await books.starter_of(planted.tenant_id, planted.execution_id) == "ann"
    assert await books.starter_of("another-tenant", planted.execution_id) is None
