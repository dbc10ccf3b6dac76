"""C5: a worker whose lease ran out still writes while two others reap and claim what it owned, all at once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TypeVar
from uuid import UUID

from crash.clock import steady
from crash.database import Observer
from crash.logs import check_log
from crash.ownership import check_ownership
from crash.stage import Stage
from crash.verdict import Verdict
from interlock.backends.store.postgres.ledger import PostgresLedger
from interlock.kit.clock import SystemClock
from interlock.kit.ids import RandomIds
from interlock.ports.ledger import Flush, FlushResult
from interlock.runtime.liveness import LEASE, QUIET_BEFORE_REAP

TITLE = "two reapers and claimers against a worker that comes back"
EXECUTIONS = 4
PLANT = """
with planted as (
  insert into interlock.executions (execution_id, tenant_id, user_id, visibility, version_id, workflow_number, kind,
    status, mode, started_by, root_id, trace_id, created_at, updated_at)
  select id, 't', 'u', 'tenant', id, 1, 'graph', 'running', 'manual', 'u', id, 'x', interlock.now(), interlock.now()
  from unnest($1::uuid[]) as id
), told as (
  insert into interlock.events (execution_id, seq, tenant_id, type, data, at, trace_id, format)
  select id, 1, 't', 'task.progressed', '{"task_id": "t", "node_id": "n"}', interlock.now(), 'x', 1
  from unnest($1::uuid[]) as id
)
insert into interlock.live (execution_id, tenant_id, owner, epoch, format)
select id, 't', $2, 1, 1 from unnest($1::uuid[]) as id"""

END = """
with gone as (
  delete from interlock.live where execution_id = any ($1::uuid[]) returning execution_id
), told as (
  insert into interlock.events (execution_id, seq, tenant_id, type, data, at, trace_id, format)
  select g.execution_id, max(e.seq) + 1, 't', 'execution.cancelled', '{}', interlock.now(), 'x', 1
  from gone g join interlock.events e using (execution_id) group by g.execution_id
)
update interlock.executions set status = 'cancelled', ended_at = interlock.now()
where execution_id in (select execution_id from gone)"""
Answer = TypeVar("Answer")


class Rival:
    """A process that reaps and claims; ``claimed`` is what it got."""

    def __init__(self, url: str) -> None:
        self.ledger = PostgresLedger(url, connections=2)
        self.runner_id = 0
        self.reaped: list[UUID] = []
        self.claimed: list[UUID] = []

    async def open(self) -> None:
        await self.ledger.open()
        self.runner_id, _ = await self.ledger.register("rival")

    async def fight(self, dead: int) -> None:
        """One round of what every server does each second."""
        self.reaped, self.claimed = [], []
        found = await self.ledger.find_dead(self.runner_id, LEASE, QUIET_BEFORE_REAP)
        if any(runner_id == dead for runner_id, _ in found):
            self.reaped = await self.ledger.reap(dead, QUIET_BEFORE_REAP)
        self.claimed = [
            found.execution_id for found in (await self.ledger.claim(self.runner_id, 100, 100, 10_000, {})).claimed
        ]


class Worker:
    """A process that was silent for longer than its lease and does not know it."""

    def __init__(self, url: str) -> None:
        self.ledger = PostgresLedger(url, connections=1)
        self.runner_id = 0
        self.executions: list[UUID] = []

    async def begin(self, observer: Observer, ids: RandomIds) -> None:
        """Register anew, own a few executions, and let the lease run out."""
        self.runner_id, _ = await self.ledger.register("worker")
        self.executions = [ids.new() for _ in range(EXECUTIONS)]
        await observer.fetch(PLANT, self.executions, self.runner_id)
        await observer.fetch(
            "update interlock.runners set seen_at = interlock.now() - interval '7 s' where runner_id = $1",
            self.runner_id,
        )

    async def write(self, number: int, seqs: dict[UUID, int]) -> FlushResult:
        """Record one more event of each execution."""
        return await write_events(self.ledger, self.runner_id, number, seqs)


async def write_events(ledger: PostgresLedger, runner_id: int, number: int, seqs: dict[UUID, int]) -> FlushResult:
    """One flush with one event for each execution."""
    count, now = len(seqs), SystemClock().now()
    flush = Flush(
        number=number,
        touched=list(seqs),
        execution_ids=list(seqs),
        seqs=list(seqs.values()),
        types=["task.progressed"] * count,
        data=['{"task_id":"t","node_id":"n"}'] * count,
        refs=[None] * count,
        at=[now] * count,
        trace_ids=["x"] * count,
    )
    return await ledger.flush(runner_id, flush)


async def run(stage: Stage) -> None:
    """Many rounds; after each, everything must be owned by exactly one, and the worker either wrote or did not."""
    verdict, observer, ids = stage.verdict, stage.observer, RandomIds()
    rivals = [Rival(stage.database.serve_url), Rival(stage.database.serve_url)]
    worker = Worker(stage.database.serve_url)
    await asyncio.gather(*(rival.open() for rival in rivals), worker.ledger.open())
    flushes = {rival.runner_id: 0 for rival in rivals}
    fenced = wrote = renewed = 0
    bad: list[str] = []
    begun = steady()
    try:
        for _ in range(stage.scale.c5_rounds):
            await worker.begin(observer, ids)
            lead = stage.random.uniform(0, 0.004)
            renews = stage.random.random() < 0.25
            async with asyncio.TaskGroup() as at_once:
                writing = at_once.create_task(_after(lead, worker.write(1, dict.fromkeys(worker.executions, 2))))
                renewing = at_once.create_task(_after(lead, _renew(observer, worker.runner_id, renews)))
                for rival in rivals:
                    at_once.create_task(_after(stage.random.uniform(0, 0.004), rival.fight(worker.runner_id)))
            result, is_renewed = writing.result(), renewing.result()
            renewed += is_renewed
            fenced += not result.alive
            wrote += result.alive
            bad += await _judge(observer, worker, rivals, result, flushes)
            await _clear(observer, worker)
    finally:
        await asyncio.gather(*(rival.ledger.close() for rival in rivals), worker.ledger.close())
    _conclude(verdict, bad, stage.scale.c5_rounds, fenced, wrote, renewed)
    verdict.figures["rounds_per_second"] = round(stage.scale.c5_rounds / (steady() - begun), 1)
    await check_log(observer, verdict)
    await check_ownership(observer, verdict)


def _conclude(verdict: Verdict, bad: list[str], rounds: int, fenced: int, wrote: int, renewed: int) -> None:
    verdict.injections |= {"expired_leases": rounds, "returns_in_time": renewed}
    verdict.counts |= {"rounds": rounds, "fenced_flushes": fenced, "flushes_in_time": wrote}
    verdict.expect_none("owners and log agree after each round", bad)
    verdict.prove("the worker was fenced in some rounds", fenced > rounds / 20, fenced)
    verdict.prove("the worker was in time in some rounds", wrote > rounds / 20, wrote)


async def _after(seconds: float, work: Awaitable[Answer]) -> Answer:
    await asyncio.sleep(seconds)
    return await work


async def _renew(observer: Observer, runner_id: int, renews: bool) -> bool:
    if not renews:
        return False
    statement = "update interlock.runners set seen_at = interlock.now() where runner_id = $1 returning 1"
    return bool(await observer.value(statement, runner_id))


async def _judge(
    observer: Observer, worker: Worker, rivals: list[Rival], result: FlushResult, flushes: dict[int, int]
) -> list[str]:
    """What is wrong after a round."""
    bad = []
    both = set(rivals[0].claimed) & set(rivals[1].claimed) | set(rivals[0].reaped) & set(rivals[1].reaped)
    bad += [f"{found} was given out twice" for found in both]
    live = await observer.fetch("select execution_id, owner from interlock.live where tenant_id = 't'")
    owners: dict[UUID, int] = {row["execution_id"]: row["owner"] for row in live}
    for rival in rivals:
        stolen = [found for found in rival.claimed if owners[found] != rival.runner_id]
        bad += [f"{found} was claimed by one and is owned by another" for found in stolen]
        for_next = dict.fromkeys(rival.claimed, 2 + result.alive)
        if for_next:
            flushes[rival.runner_id] += 1
            answer = await write_events(rival.ledger, rival.runner_id, flushes[rival.runner_id], for_next)
            if not answer.alive or answer.foreign:
                bad.append(f"the new owner {rival.runner_id} could not write: {answer}")
    if not rivals[0].reaped and not rivals[1].reaped and set(owners.values()) != {worker.runner_id}:
        bad.append(f"nobody reaped, and yet the owners are {owners}")
    rows = await observer.fetch(
        "select execution_id, count(*) from interlock.events where execution_id = any ($1::uuid[]) group by 1",
        worker.executions,
    )
    claimed = set(rivals[0].claimed) | set(rivals[1].claimed)
    for execution_id, count in rows:
        if count != 1 + result.alive + (execution_id in claimed):
            bad.append(f"{execution_id} has {count} events; the worker's flush said alive={result.alive}")
    return bad


async def _clear(observer: Observer, worker: Worker) -> None:
    """End what was planted, so that the next round begins with nothing."""
    await observer.fetch(END, worker.executions)
    await observer.fetch("delete from interlock.runners where runner_id = $1", worker.runner_id)
    await observer.fetch("update interlock.runners set seen_at = interlock.now()")
