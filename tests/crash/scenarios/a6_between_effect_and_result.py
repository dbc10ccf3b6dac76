"""A6: the process dies after an effect happened outside and before its result is recorded."""

from __future__ import annotations

import asyncio

from crash.clock import wall
from crash.judge import check_common, check_promises, check_steps
from crash.load import Promise
from crash.server import FAILPOINT_EXIT, Server
from crash.stage import Stage
from crash.workflows import chain

TITLE = "killed between an effect and its result"
AT_ONCE = 3
FAILPOINT = "runner.before_result=exit"


async def run(stage: Stage) -> None:
    """Victims die at the first result they get; a healthy server repeats the step with the same key."""
    verdict = stage.verdict
    rescuer = await stage.add_server("rescuer")
    workflow_id = await stage.store(chain(stage.sink, 2, 0.05))
    promises: list[Promise] = []
    deaths = 0
    victims = [stage.new_server(f"victim-{number}") for number in range(1, AT_ONCE + 1)]
    for first in range(0, stage.scale.a6_trials, AT_ONCE):
        batch = victims[: stage.scale.a6_trials - first]
        await asyncio.gather(*(victim.launch(FAILPOINT) for victim in batch))
        for victim in batch:
            promises.append(await _start_there(stage, workflow_id, victim, f"{first}-{victim.name}"))
        for victim in batch:
            deaths += await victim.process.ended(10) and victim.process.exit_code == FAILPOINT_EXIT
    drain = await stage.drain()
    stage.servers[:] = [rescuer]  # only it is left, and must be well
    await check_promises(stage, promises)
    await check_steps(stage, promises, ["s1", "s2"])
    await check_common(stage)
    await stage.prove_health(workflow_id)

    attempts = stage.effects().attempts()
    repeated = sum(count for times, count in attempts.items() if times > 1)
    verdict.injections["deaths_before_the_result"] = deaths
    verdict.counts |= {f"steps_with_{times}_calls": count for times, count in attempts.items()}
    verdict.figures["drain_s"] = round(drain, 2)
    verdict.prove("every victim died at the failpoint", deaths == stage.scale.a6_trials, deaths)
    verdict.prove("every death repeated an effect", repeated >= deaths, repeated)


async def _start_there(stage: Stage, workflow_id: str, victim: Server, ref: str) -> Promise:
    """Start at the victim if it lives; it may die of a neighbour's execution, then anybody else does."""
    url = victim.url if victim.process.is_running else None
    return Promise(ref, await stage.start(workflow_id, ref, url=url), wall())
