"""Signals that come together are one statement; what must wait keeps no other one waiting."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from conftest import AT, Database, Plant
from interlock.backends.store.postgres import signals
from interlock.backends.store.postgres.ledger import PostgresLedger
from interlock.core.errors import InterlockError
from interlock.ports.ledger import Sent

DEADLINE = 10.0


@pytest.fixture
async def ledger(own_database: Database) -> AsyncIterator[PostgresLedger]:
    ledger = PostgresLedger(own_database.serve_url)
    await ledger.open()
    yield ledger
    await ledger.close()


@pytest.fixture
async def planted(own_database: Database, plant_in: Plant) -> list[UUID]:
    found = [(await plant_in(own_database, tenant_id="t", wake_at=AT)).execution_id for _ in range(6)]
    connection = await asyncpg.connect(own_database.superuser_url)
    await connection.execute("update interlock.live set inbox_seq = 1")  # each was planted with one signal
    await connection.close()
    return found


async def send(ledger: PostgresLedger, execution_id: UUID, payload: Any = None, key: str | None = None) -> Sent | None:
    return await ledger.send(execution_id, "t", "event", "GO", payload, key, "ann", None, "trace", None)


async def test_each_gets_its_own_number_and_a_repeat_the_first(ledger: PostgresLedger, planted: list[UUID]) -> None:
    first = await asyncio.gather(*(send(ledger, found, {"n": 1}, "k") for found in planted))
    assert [sent.inbox_seq for sent in first if sent is not None] == [2] * len(planted)
    again = await asyncio.gather(*(send(ledger, found, {"n": n}, "k") for n, found in enumerate(planted)))
    assert [(sent.is_duplicate, sent.is_same) for sent in again if sent is not None] == [
        (True, n == 1) for n in range(len(planted))
    ]
    assert [one.inbox_seq for one in again if one] == [one.inbox_seq for one in first if one]


async def test_one_execution_gets_all_of_its_signals_in_a_row(ledger: PostgresLedger, planted: list[UUID]) -> None:
    sent = await asyncio.gather(*(send(ledger, planted[0], n) for n in range(40)))
    numbers = sorted(found.inbox_seq for found in sent if found is not None)
    assert numbers == list(range(numbers[0], numbers[0] + 40))


async def test_an_unknown_execution_is_nobodys(ledger: PostgresLedger, planted: list[UUID]) -> None:
    nobody = UUID(int=0)
    sent = await asyncio.gather(*(send(ledger, found) for found in (*planted, nobody)))
    assert [found is None for found in sent] == [False] * len(planted) + [True]


async def test_a_locked_execution_keeps_no_other_waiting(
    ledger: PostgresLedger, planted: list[UUID], own_database: Database
) -> None:
    other = await asyncpg.connect(own_database.superuser_url)
    async with other.transaction():
        await other.execute("select from interlock.live where execution_id = $1 for update", planted[0])
        stuck = [asyncio.create_task(send(ledger, planted[0])) for _ in range(3)]
        async with asyncio.timeout(DEADLINE):
            assert all(await asyncio.gather(*(send(ledger, found) for found in planted[1:])))
        assert not any(task.done() for task in stuck)
    async with asyncio.timeout(DEADLINE):
        assert all(await asyncio.gather(*stuck))
    await other.close()


async def test_a_database_that_does_not_answer_costs_a_bounded_time(
    ledger: PostgresLedger, planted: list[UUID], own_database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(signals, "SECONDS", 0.3)
    other = await asyncpg.connect(own_database.superuser_url)
    async with other.transaction():
        await other.execute("lock table interlock.live in access exclusive mode")
        async with asyncio.timeout(DEADLINE):
            sent = await asyncio.gather(*(send(ledger, found) for found in planted), return_exceptions=True)
        assert [type(found) for found in sent] == [TimeoutError] * len(planted)
    async with asyncio.timeout(DEADLINE):
        monkeypatch.setattr(signals, "SECONDS", DEADLINE)
        assert await send(ledger, planted[0]) is not None
    await other.close()


async def test_more_than_can_wait_are_refused(
    ledger: PostgresLedger, planted: list[UUID], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(signals, "MOST_WAITING", 0)
    with pytest.raises(InterlockError) as refused:
        await send(ledger, planted[0])
    assert refused.value.code == "QUEUE_FULL"
