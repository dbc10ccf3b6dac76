"""Servers of different ages beside each other: an execution is left to those that know every event of its log."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from conftest import AT, Database, Plant
from interlock.backends.store.postgres.ledger import PostgresLedger
from interlock.core.events import FORMAT


@pytest.fixture
async def ledger(own_database: Database) -> AsyncIterator[PostgresLedger]:
    ledger = PostgresLedger(own_database.serve_url)
    await ledger.open()
    yield ledger
    await ledger.close()


@pytest.fixture
async def rows(own_database: Database) -> AsyncIterator[Any]:
    connection = await asyncpg.connect(own_database.superuser_url)
    yield connection
    await connection.close()


@pytest.fixture
async def planted_of(own_database: Database, plant_in: Plant, rows: Any) -> Any:
    """Plants an execution that is due, with a log of some format."""

    async def make(number: int) -> UUID:
        found = await plant_in(own_database, tenant_id="t", wake_at=AT)
        told = "update interlock.live set format = $2, inbox_seq = 1 where execution_id = $1"
        await rows.execute(told, found.execution_id, number)
        return found.execution_id

    return make


async def signal(ledger: PostgresLedger, execution_id: UUID, runner_id: int) -> int | None:
    sent = await ledger.send(execution_id, "t", "signal", "go", None, None, "", None, "trace", runner_id)
    assert sent is not None
    return sent.owner


async def signals(ledger: PostgresLedger, execution_ids: list[UUID], runner_id: int) -> list[int | None]:
    """All at once, so that they go together."""
    return list(await asyncio.gather(*(signal(ledger, found, runner_id) for found in execution_ids)))


async def test_a_later_log_is_neither_claimed_nor_adopted(ledger: PostgresLedger, planted_of: Any) -> None:
    later = await planted_of(FORMAT + 1)
    runner_id, _ = await ledger.register("old")
    assert (await ledger.claim(runner_id, 10, 10, 10, {})).claimed == []
    assert await signal(ledger, later, runner_id) is None
    others = [await planted_of(FORMAT) for _ in range(4)]
    assert await signals(ledger, [*others, later], runner_id) == [runner_id] * 4 + [None]
    sent = await ledger.cancel_tree(later, "t", "", "", "trace", runner_id)
    assert [one.owner for one in sent] == [None]


@pytest.mark.parametrize("way", ["claim", "signal", "signals", "cancel"])
async def test_whoever_holds_an_execution_writes_its_own_format(
    ledger: PostgresLedger, planted_of: Any, rows: Any, way: str
) -> None:
    earlier = await planted_of(FORMAT - 1)
    runner_id, _ = await ledger.register("new")
    if way == "claim":
        await ledger.claim(runner_id, 10, 10, 10, {})
    elif way == "signal":
        await signal(ledger, earlier, runner_id)
    elif way == "signals":
        await signals(ledger, [*[await planted_of(FORMAT) for _ in range(4)], earlier], runner_id)
    else:
        await ledger.cancel_tree(earlier, "t", "", "", "trace", runner_id)
    found = await rows.fetchrow("select owner, format from interlock.live where execution_id = $1", earlier)
    assert tuple(found) == (runner_id, FORMAT)
