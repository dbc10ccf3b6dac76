"""A death at every commit in the life of a family: before it, after it, and after what it allows was let go."""

from __future__ import annotations

import asyncio

from crash.clock import wall
from crash.families import check_families, store_family
from crash.judge import check_common, check_promises
from crash.load import Promise
from crash.server import FAILPOINT_EXIT
from crash.stage import Stage
from interlock.backends.store.postgres.ledger import PostgresLedger

POINTS = ("journal.before_flush", "journal.after_flush", "journal.after_release")
DEATH_SECONDS = 30.0
STEP_DELAY = 0.05


async def die_at_every_commit(above: Stage, point: str) -> None:
    """Lives of one server, alone with its families: each ends at another of its commits, in an order of the seed's.

    Each life gets a new family besides what its predecessors left, so that there is always another commit to die at;
    the last one is healthy.
    """
    async with above.beside(point.replace(".", "-")) as stage:
        server = await stage.add_server("mortal")
        family_id = await store_family(stage, STEP_DELAY)
        await server.process.stop()
        numbers = list(range(1, stage.scale.a2_commits + 1))
        stage.random.shuffle(numbers)
        starts: list[asyncio.Task[Promise]] = []
        missed = []
        for number in numbers:
            plan = f"{point}=exit@{number}"
            starts.append(asyncio.create_task(_start(stage, family_id, plan)))
            await server.begin(plan)
            if not (await server.process.ended(DEATH_SECONDS) and server.process.exit_code == FAILPOINT_EXIT):
                missed.append(plan)
                await server.kill()
            await _bury(stage)
        await server.launch()
        promises = await asyncio.gather(*starts)
        await stage.drain()
        await check_promises(stage, promises)
        await check_families(stage, promises)
        await check_common(stage)
    verdict = above.verdict
    verdict.injections["deaths_at_a_commit"] = (
        verdict.injections.get("deaths_at_a_commit", 0) + len(starts) - len(missed)
    )
    verdict.prove(f"every life ended at its commit ({point})", not missed, missed or len(starts))


async def _start(stage: Stage, family_id: str, ref: str) -> Promise:
    """Asked of a server from its first breath on, and of its successors for as long as lives are short."""
    return Promise(ref, await stage.start(family_id, ref), wall())


async def _bury(stage: Stage) -> None:
    """Reap at once what dead processes owned, as another server would after a few seconds."""
    ledger = PostgresLedger(stage.database.serve_url, connections=1)
    await ledger.open()
    try:
        for runner_id in await stage.observer.runners():
            await ledger.reap(runner_id, None)
    finally:
        await ledger.close()
