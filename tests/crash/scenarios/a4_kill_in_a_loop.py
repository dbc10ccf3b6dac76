"""A4: one long loop whose owner is killed again and again; what is recorded is never done again."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from uuid import UUID

from crash.clock import wall
from crash.judge import check_common, check_promises
from crash.load import Promise
from crash.nemesis import Nemesis, recovery_times
from crash.stage import Stage
from crash.verdict import percentile
from crash.workflows import loop

TITLE = "a loop of 60 steps, its owner killed after every k-th"
TIMES = 60
RESULTS = """
select task_id as task, at from watched.results where execution_id = $1 and node_id = 'body'"""


async def run(stage: Stage) -> None:
    """Kill whoever owns it each time k more steps are recorded."""
    verdict, every = stage.verdict, stage.scale.a4_every
    for name in ("one", "two"):
        await stage.add_server(name)
    workflow_id = await stage.store(loop(stage.sink, TIMES, 0.1))
    execution_id = await stage.start(workflow_id, "loop")
    nemesis = Nemesis(stage)
    for target in range(every, TIMES, every):

        async def is_there(target: int = target) -> bool:
            return len(await stage.observer.fetch(RESULTS, UUID(execution_id))) >= target

        await stage.until(f"{target} steps are recorded", is_there, 60)
        await _kill_owner(stage, nemesis, UUID(execution_id))
    drain = await stage.drain(120)
    await check_promises(stage, [Promise("loop", execution_id, wall())])
    await check_common(stage)
    await _judge(stage, execution_id, len(nemesis.kills))

    times = await recovery_times(stage.observer, nemesis.kills)
    verdict.injections["kills_of_the_owner"] = len(nemesis.kills)
    verdict.figures |= {
        "recovery_p50_s": round(percentile(times, 0.5), 2),
        "recovery_max_s": round(max(times, default=0.0), 2),
        "drain_s": round(drain, 2),
    }
    wanted = (TIMES - 1) // every
    verdict.prove("the owner was killed each time", len(nemesis.kills) >= wanted * 0.9, len(nemesis.kills))


async def _kill_owner(stage: Stage, nemesis: Nemesis, execution_id: UUID) -> None:
    """Kill the server that owns the execution now, and wait until it serves again."""
    for _ in range(100):
        for server in stage.servers:
            owned = await stage.observer.owned_by(await server.runner_ids(stage.observer))
            if execution_id in owned and server.process.is_running:
                await nemesis.kill(server, 0.0)
                await nemesis.settled()
                return
        await asyncio.sleep(0.05)


async def _judge(stage: Stage, execution_id: str, kills: int) -> None:
    effects, verdict = stage.effects(), stage.verdict
    recorded = {row["task"]: row["at"] for row in await stage.observer.fetch(RESULTS, UUID(execution_id))}
    calls = [effect for effect in effects.all if effect.execution == execution_id]
    by_index = {f"again[{call.step}]/body": call for call in calls}  # the last call of each
    again = [
        task
        for task, call in by_index.items()
        if task in recorded and datetime.fromtimestamp(call.arrived_at, UTC) > recorded[task]
    ]
    verdict.counts |= {"steps": len(recorded), "calls": len(calls)}
    verdict.expect("every step is recorded once", len(recorded) == TIMES, len(recorded))
    verdict.expect_none("no step was done again after its result was recorded", again)
    verdict.expect("at most one more call for each kill", len(calls) <= TIMES + kills, len(calls))
    verdict.expect_none("all attempts of a step carry one effect key", effects.with_several_keys())
    verdict.prove("calls and results can be told apart by their step", set(by_index) == set(recorded), len(by_index))
