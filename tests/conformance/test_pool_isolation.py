"""Two processes with two connections each, two tenants that use them in turn, and everything that can go wrong."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from contextlib import AsyncExitStack
from typing import Any

import asyncpg
import pytest

from figures import Note
from interlock.backends.store.postgres.store import PostgresStore
from interlock.core.errors import InterlockError
from interlock.core.principal import Principal

TASKS, CONNECTIONS, STORES = 50, 2, 2
WALLED = ("workflows", "executions", "events", "approvals", "api_keys", "audit", "webhooks", "scratch")
FOREIGN = " union all ".join(f"select tenant_id from interlock.{table}" for table in WALLED)
AFTERWARDS = """select current_user = session_user as is_itself, current_setting('role') as role,
  coalesce(current_setting('request.jwt.claims', true), '') as claims,
  current_setting('statement_timeout') as timeout"""
SEED = 20261122
FAULTS = ("none", "exception", "timeout", "cancel", "kill")
WEIGHTS = (70, 10, 8, 8, 4)


class Broken(Exception):
    """What a caller's own code may raise in mid-transaction."""


class Trial:
    """Counts what callers saw of others while requests are broken off at random."""

    def __init__(self, stores: list[PostgresStore], superuser: Any, people: list[Principal]) -> None:
        self._stores = stores
        self._superuser = superuser
        self._people = people
        self._chance = random.Random(SEED)
        self.outcomes: Counter[str] = Counter()
        self.foreign = 0

    async def requests(self, number: int, count: int) -> None:
        """One task: requests of both tenants in turn, to whichever process."""
        for turn in range(count):
            fault = self._chance.choices(FAULTS, WEIGHTS)[0]
            who = self._people[(number + turn) % len(self._people)]
            asking = asyncio.create_task(self._one(self._chance.choice(self._stores), who, fault))
            if fault == "cancel":
                await asyncio.sleep(self._chance.random() * 0.01)
                asking.cancel()
            try:
                await asking
            except (InterlockError, Broken, asyncio.CancelledError) as error:
                self.outcomes[type(error).__name__] += 1
            else:
                self.outcomes["answered"] += 1

    async def _one(self, store: PostgresStore, who: Principal, fault: str) -> None:
        async with store.transaction(who) as transaction:
            session = transaction._session
            await self._look(session, who)
            if fault == "timeout":
                await session.run("set local statement_timeout = 1")
                await session.run("select pg_sleep(5)")
            if fault == "kill":
                pid = await session.value("select pg_backend_pid()")
                await self._superuser.execute("select pg_terminate_backend($1)", pid)
            if fault == "exception":
                raise Broken
            await self._look(session, who)

    async def _look(self, session: Any, who: Principal) -> None:
        rows = await session.rows(f"select distinct tenant_id from ({FOREIGN}) seen")
        self.foreign += sum(row["tenant_id"] != who.tenant_id for row in rows)
        assert any(row["tenant_id"] == who.tenant_id for row in rows), "it sees its own"


@pytest.mark.timeout(600)
async def test_no_tenant_sees_another_whatever_breaks(
    database: Any, new_tenant: Any, added: Any, at_length: bool, note_figures: Note
) -> None:
    """G10: 50 tasks of 400 requests at length, of 12 in the suite."""
    count = 400 if at_length else 12
    people = [new_tenant().principal for _ in range(2)]
    for who in people:
        await added(who)
    async with AsyncExitStack() as stack:
        superuser = await asyncpg.connect(database.superuser_url)
        stack.push_async_callback(superuser.close)
        lock = asyncio.Lock()
        stores = []
        for _ in range(STORES):
            store = PostgresStore(database.serve_url, connections=CONNECTIONS)
            await store.open()
            stack.push_async_callback(store.close)
            stores.append(store)
        trial = Trial(stores, OneAtATime(superuser, lock), people)
        await asyncio.gather(*(trial.requests(number, count) for number in range(TASKS)))
        left = [row for store in stores for row in await afterwards(store)]
    assert trial.foreign == 0
    assert trial.outcomes["answered"] > TASKS * count / 3
    assert trial.outcomes["InterlockError"]
    assert trial.outcomes["Broken"]
    assert trial.outcomes["CancelledError"]
    assert left == [(True, "none", "", "0")] * (STORES * CONNECTIONS)
    note_figures(pool_requests=TASKS * count, pool_foreign_rows=trial.foreign, pool_broken=broken(trial.outcomes))


def broken(outcomes: Counter[str]) -> int:
    """How many requests did not end in order."""
    return outcomes.total() - outcomes["answered"]


class OneAtATime:
    """A connection that many tasks use."""

    def __init__(self, connection: Any, lock: asyncio.Lock) -> None:
        self._connection = connection
        self._lock = lock

    async def execute(self, *statement: Any) -> None:
        async with self._lock:
            await self._connection.execute(*statement)


async def afterwards(store: PostgresStore) -> list[tuple[Any, ...]]:
    """How every connection of a pool is, between two requests."""
    async with AsyncExitStack() as stack, asyncio.timeout(20):
        connections = [await stack.enter_async_context(store._connections.use()) for _ in range(CONNECTIONS)]
        return [tuple(await connection.fetchrow(AFTERWARDS)) for connection in connections]


async def test_without_a_tenant_there_is_nothing(database: Any, new_tenant: Any, added: Any) -> None:
    """G10: whoever forgets to say for whom it asks is told nothing, and may not even ask as the login."""
    await added(new_tenant().principal)
    connection = await asyncpg.connect(database.serve_url)
    try:
        for claims in ("", "{}", '{"sub": "ann", "tenant_id": null}'):
            async with connection.transaction():
                await connection.execute("set local role authenticated")
                await connection.execute("select set_config('request.jwt.claims', $1, true)", claims)
                assert await connection.fetch(FOREIGN) == []
        for table in WALLED:
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.fetch(f"select tenant_id from interlock.{table}")
    finally:
        await connection.close()
