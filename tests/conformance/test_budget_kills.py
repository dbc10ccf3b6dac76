"""Over any number of processes, some of which die at any moment, a budget is not overspent by more than one estimate
for each death."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any
from uuid import UUID

import asyncpg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from interlock.backends.store.postgres.budgets import PostgresBooks
from interlock.core.errors import InterlockError
from interlock.core.models.prices import Price, Usage
from interlock.core.models.requests import read_chat
from interlock.core.models.routing import Deployment
from interlock.core.principal import Principal
from interlock.kit.clock import SystemClock
from interlock.kit.ids import RandomIds
from interlock.ports.models import Answer, Budget, CallRow
from interlock.services.models.holds import Hold, Holds

IDS, CLOCK = RandomIds(), SystemClock()
PRICED = (Deployment("p", "m", "m", Price(0, 1_000_000)),)
"""One nanodollar for a token of the answer, so that an estimate is ``max_tokens``."""
MOST = 60


class Mortal:
    """The books as a process has them that may die: then nothing it wanted written is written any more."""

    def __init__(self, books: PostgresBooks) -> None:
        self._books = books
        self.is_dead = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._books, name)

    async def write(self, rows: Sequence[CallRow], answers: Sequence[Answer] = ()) -> None:
        if self.is_dead:
            await asyncio.get_running_loop().create_future()
        await self._books.write(rows, answers)


class Process:
    """One process of a server, and the calls it has under way."""

    def __init__(self, books: PostgresBooks) -> None:
        self.mortal = Mortal(books)
        self.holds = Holds(self.mortal, CLOCK, IDS)
        self.calls: list[Hold] = []

    async def kill(self) -> list[Hold]:
        """Die without a word; what was under way is what the provider goes on with."""
        self.mortal.is_dead = True
        writing = self.holds._writer._task
        if writing is not None:
            writing.cancel()
            await asyncio.wait({writing})
        return self.calls


@pytest.fixture(scope="module")
async def books(database: Any) -> AsyncIterator[PostgresBooks]:
    books = PostgresBooks(database.serve_url, connections=4)
    await books.open()
    yield books
    await books.close()


async def expire(database: Any, budget_id: UUID) -> None:
    """Let so much time pass that all leases of a budget are over."""
    connection = await asyncpg.connect(database.superuser_url)
    await connection.execute(
        "update interlock.budget_slices set expires_at = now() - interval '1 s' where budget_id = $1", budget_id
    )
    await connection.close()


async def begin(process: Process, caller: Principal, tokens: int) -> None:
    request = read_chat({"model": "m", "messages": [{"role": "user"}], "max_tokens": tokens})
    try:
        process.calls.append(await process.holds.take(caller, request, PRICED, ""))
    except InterlockError as error:
        if error.code != "BUDGET_EXCEEDED":
            raise


Step = tuple[str, int, int, int]
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["call", "call", "call", "settle", "leave", "kill", "expire"]),
        st.integers(0, 2),
        st.integers(1, MOST),
        st.integers(1, 5),
    ),
    max_size=25,
)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS, cap=st.integers(0, 3000))
async def test_deaths_and_disconnects_cost_one_estimate_at_most(
    books: PostgresBooks, database: Any, steps: list[Step], cap: int
) -> None:
    caller = Principal("ann", f"tenant-{IDS.new()}", frozenset({"models:use"}))
    budget = await books.set_budget(Budget(budget_id=IDS.new(), tenant_id=caller.tenant_id, holder="", cap=cap))
    processes = [Process(books) for _ in range(3)]
    spent = deaths = 0
    for what, number, tokens, count in steps:
        process = processes[number]
        if what == "call":
            await asyncio.gather(*(begin(process, caller, tokens) for _ in range(count)))
        elif what in ("settle", "leave") and process.calls:
            hold = process.calls.pop()
            used = min(tokens, hold.row.estimate)
            hold.settle(PRICED[0], Usage(0, used, is_estimated=what == "leave"))
            spent += used
        elif what == "kill":
            spent += sum(hold.row.estimate for hold in await process.kill())
            deaths += 1
            processes[number] = Process(books)
        elif what == "expire":
            for alive in processes:
                await alive.holds._writer.flush()
            await expire(database, budget.budget_id)
            await books.sweep()
            for alive in processes:
                await alive.holds.renew()
    spent += sum(hold.row.estimate for process in processes for hold in process.calls)
    assert spent <= cap + deaths * MOST
    for process in processes:
        await process.holds.stop()
    await expire(database, budget.budget_id)
    await books.sweep()
    (left,) = await books.budgets_of(caller.tenant_id, "")
    assert left.spent <= cap
    assert left.spent >= spent - deaths * MOST, "the books know of every call but one for each death"
    assert left.leased == 0


async def test_a_death_amid_many_calls_loses_one_of_them_at_most(books: PostgresBooks, database: Any) -> None:
    caller = Principal("ann", f"tenant-{IDS.new()}", frozenset({"models:use"}))
    budget = await books.set_budget(Budget(budget_id=IDS.new(), tenant_id=caller.tenant_id, holder="", cap=64_000))
    spent = 0
    for _ in range(10):
        process = Process(books)
        await asyncio.gather(*(begin(process, caller, 20) for _ in range(8)))
        spent += sum(hold.row.estimate for hold in await process.kill())
    await expire(database, budget.budget_id)
    await books.sweep()
    (left,) = await books.budgets_of(caller.tenant_id, "")
    assert spent - 10 * 20 <= left.spent <= spent


async def test_what_is_not_used_comes_back_when_a_process_stops(books: PostgresBooks) -> None:
    caller = Principal("ann", f"tenant-{IDS.new()}", frozenset({"models:use"}))
    await books.set_budget(Budget(budget_id=IDS.new(), tenant_id=caller.tenant_id, holder="", cap=10_000))
    process = Process(books)
    for _ in range(5):
        await begin(process, caller, 50)
    for hold in process.calls:
        hold.settle(PRICED[0], Usage(0, 10))
    await process.holds.stop()
    (after,) = await books.budgets_of(caller.tenant_id, "")
    assert (after.spent, after.leased) == (50, 0)


async def test_a_key_with_much_money_does_not_take_its_tenant_over_the_cap(books: PostgresBooks) -> None:
    tenant_id, key_id = f"tenant-{IDS.new()}", IDS.new()
    with_key = Principal("key", tenant_id, frozenset({"models:use"}), key_id=key_id)
    person = Principal("ann", tenant_id, frozenset({"models:use"}))
    for holder, cap in ((str(key_id), 100_000), ("", 200)):
        await books.set_budget(Budget(budget_id=IDS.new(), tenant_id=tenant_id, holder=holder, cap=cap))
    process = Process(books)
    for _ in range(3):
        await begin(process, with_key, 60)
        await begin(process, person, 60)
    assert len(process.calls) == 3
    for hold in process.calls:
        hold.settle(PRICED[0], Usage(0, 50))
    await process.holds.stop()
    own, whole = await books.budgets_of(tenant_id, str(key_id))
    assert (whole.spent, whole.leased, own.leased) == (150, 0, 0)
    assert own.spent == 50 * sum(hold.row.subject == "key" for hold in process.calls)


async def test_one_call_at_a_time_waits_for_no_row(books: PostgresBooks) -> None:
    caller = Principal("ann", f"tenant-{IDS.new()}", frozenset({"models:use"}))
    await books.set_budget(Budget(budget_id=IDS.new(), tenant_id=caller.tenant_id, holder="", cap=1_000_000))
    process = Process(books)
    await begin(process, caller, 5)
    await process.holds._writer.flush()
    process.mortal.is_dead = True  # from now on the database would keep everybody waiting
    async with asyncio.timeout(5):
        await begin(process, caller, 5)
    assert len(process.calls) == 2
    await process.kill()
