"""What a process takes over at the same time is read by a few queries, and what cannot be read spoils only itself."""

from __future__ import annotations

import asyncio
from uuid import UUID

from engine_house import COIN, CountingLedger, House, chain, node, signal
from interlock.core.events import ExecutionStarted
from interlock.runtime.loads import TOGETHER

MANY = 4 * TOGETHER
TURNS = 120


async def leave_waiting(house: House, count: int) -> list[UUID]:
    """So many executions that are due and nobody's: queued behind one that holds the only place, and then it died."""
    full = await house.engine("full", tenant_cap=1)
    workflow = await house.workflow(chain(node("w", "wait", signal="go")))
    await house.start(full, chain(node("w", "wait", seconds=4)), wait=0.0)
    starts = [full.start(house.request(workflow, wait=0.0)) for _ in range(count)]
    standings = await asyncio.gather(*starts)
    await house.kill(full)
    return [standing.execution_id for standing in standings]


async def test_executions_claimed_together_are_read_by_few_queries(house: House) -> None:
    left = await leave_waiting(house, MANY)
    ledger = CountingLedger(house.database.serve_url)
    engine = await house.engine("heir", ledger=ledger)

    async def all_wait() -> bool:
        found = await house.rows(
            "select count(*) from interlock.executions where status = 'waiting' and execution_id = any($1)", left
        )
        return bool(found[0][0] == MANY)

    await house.until(all_wait, "all executions at their signal")
    for execution_id in left[:3]:
        ended = await engine.signal(signal(house, execution_id, "go"))
        assert ended.status == "succeeded"
    assert max(ledger.together) == TOGETHER
    assert len(ledger.together) < MANY / 4


async def test_a_log_that_cannot_be_read_spoils_nothing_for_those_read_with_it(house: House) -> None:
    broken, *whole = await leave_waiting(house, 20)
    change = "update interlock.events set type = $2 where execution_id = $1 and seq = 1 returning 1"
    await house.rows(change, broken, "of.the.future")
    await house.engine("heir")

    async def waiting() -> set[UUID]:
        found = await house.rows("select execution_id from interlock.executions where status = 'waiting'")
        return {row[0] for row in found}

    async def others_wait() -> bool:
        return await waiting() >= set(whole)

    async def broken_waits() -> bool:
        return broken in await waiting()

    await house.until(others_wait, "all others at their signal")
    assert not await broken_waits()
    await house.rows(change, broken, ExecutionStarted.type)
    await house.until(broken_waits, "the one that was broken at its signal, once it can be read")


async def test_a_long_log_is_read_to_its_end(house: House) -> None:
    one, other = await house.engine("one"), await house.engine("other")
    standing = await house.start(one, COIN)
    for _ in range(TURNS):
        await one.signal(signal(house, standing.execution_id, "TURN"))
    ended = await other.signal(signal(house, standing.execution_id, "END"))
    assert ended.status == "succeeded"
    log = await house.log(standing.execution_id)
    assert [seq for seq, _ in log] == list(range(1, len(log) + 1))
    assert sum(kind == "flow.transitioned" for _, kind in log) == TURNS + 1
