"""A pool that is closed gives no connections, to those who waited for one neither."""

from __future__ import annotations

import asyncio

import pytest

from conftest import Database
from interlock.backends.store.postgres.connection import EnginePool


async def test_a_closed_pool_says_so_at_once_and_can_be_opened_again(database: Database) -> None:
    pool = EnginePool(database.serve_url, 2)
    for _ in range(2):
        await pool.open()
        async with pool.use() as connection:
            assert await connection.fetchval("select current_user") == "interlock_engine"
        await pool.close()
        for _ in range(3):
            with pytest.raises(ConnectionError):
                async with asyncio.timeout(5), pool.use():
                    pytest.fail("a connection of a closed pool")


async def test_whoever_waits_while_it_closes_hears_of_it(database: Database) -> None:
    pool = EnginePool(database.serve_url, 1)
    await pool.open()

    async def wait() -> None:
        async with pool.use():
            pytest.fail("a connection of a closed pool")

    async with asyncio.timeout(5), pool.use():
        waiting = [asyncio.create_task(wait()) for _ in range(3)]
        await asyncio.sleep(0)
        await pool.close()
        told = await asyncio.gather(*waiting, return_exceptions=True)
    assert [type(error) for error in told] == [ConnectionError] * 3
