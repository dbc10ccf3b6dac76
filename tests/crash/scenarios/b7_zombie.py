"""B7: a server is frozen for longer than its lease, in the middle of work, and then comes back as a zombie."""

from __future__ import annotations

import asyncio
import re
from datetime import UTC, datetime

import aiohttp

from crash.clock import steady, wall
from crash.judge import check_common, check_promises, check_steps, ids_of
from crash.load import Promise
from crash.nemesis import FIRST_EVENTS
from crash.server import Server
from crash.stage import Stage
from crash.verdict import percentile
from crash.workflows import chain

TITLE = "SIGSTOP for longer than the lease, then SIGCONT"
AT_WORK = 6
STEPS = 3
STEP_DELAY = 1.5
TAKEOVER = 10.0
NOTICED = "engine.fenced"
FENCED = re.compile(r"^interlock_journal_fenced_total (\S+)", re.MULTILINE)


async def run(stage: Stage) -> None:
    """Freeze, let the other server take over, thaw, and look for the refused flush."""
    verdict = stage.verdict
    victim, other = await stage.add_server("victim"), await stage.add_server("other")
    workflow_id = await stage.store(chain(stage.sink, STEPS, STEP_DELAY))
    promises: list[Promise] = []
    takeovers: list[float] = []
    fenced = hit = 0
    for number in range(stage.scale.b7_freezes):
        begun = [await _start(stage, workflow_id, victim, f"frozen-{number}-{n}") for n in range(AT_WORK)]
        promises += begun
        await _until_at_work(stage, begun)
        seconds = stage.random.uniform(8.0, 15.0)
        before, noticed = await _fences(stage, victim), victim.count_logged(NOTICED)
        frozen_at, until = victim.freeze(), steady() + seconds
        owned = await stage.observer.owned_by(await victim.runner_ids(stage.observer))
        hit += bool(owned)
        promises.append(await _start(stage, workflow_id, other, f"meanwhile-{number}"))
        await asyncio.sleep(max(0.0, until - steady()))
        victim.thaw()
        await stage.drain()
        rows = await stage.observer.fetch(FIRST_EVENTS, ids_of(begun), datetime.fromtimestamp(frozen_at, UTC))
        takeovers.append(max((row[1].timestamp() for row in rows), default=frozen_at + 999) - frozen_at)
        await _until_ready(stage, victim, noticed)
        fenced += await _fences(stage, victim) - before
    await check_promises(stage, promises)
    await check_steps(stage, promises, [f"s{number}" for number in range(1, STEPS + 1)])
    await check_common(stage)
    await stage.prove_health(workflow_id)
    verdict.injections |= {"freezes": stage.scale.b7_freezes, "freezes_with_work_in_flight": hit}
    verdict.counts |= {"fenced_flushes": fenced, "fences_in_the_log": victim.count_logged(NOTICED)}
    verdict.figures |= {
        "takeover_p50_s": round(percentile(takeovers, 0.5), 2),
        "takeover_max_s": round(max(takeovers), 2),
    }
    verdict.expect(f"takeover is at most {TAKEOVER:g} s", max(takeovers) <= TAKEOVER, round(max(takeovers), 2))
    verdict.prove("work was in flight at each freeze", hit == stage.scale.b7_freezes, hit)
    verdict.prove("the zombie was fenced each time", verdict.counts["fences_in_the_log"] >= hit)
    verdict.prove("a late flush was refused", fenced > 0, fenced)


async def _start(stage: Stage, workflow_id: str, server: Server, ref: str) -> Promise:
    return Promise(ref, await stage.start(workflow_id, ref, url=server.url), wall())


async def _until_at_work(stage: Stage, promises: list[Promise]) -> None:
    wanted = {promise.execution_id for promise in promises}

    async def is_at_work() -> bool:
        return wanted <= {effect.execution for effect in stage.effects().all}

    await stage.until("all are in their first step", is_at_work, 20)


async def _until_ready(stage: Stage, server: Server, noticed: int) -> None:
    """Until the zombie has noticed that it is one, and serves again."""

    async def is_ready() -> bool:
        if server.count_logged(NOTICED) <= noticed:
            return False
        async with stage.client.session.get(f"{server.url}/ready") as response:
            return response.status == 200

    await stage.until("the zombie is ready again", is_ready, 20)


async def _fences(stage: Stage, server: Server) -> int:
    timeout = aiohttp.ClientTimeout(total=5)
    async with stage.client.session.get(f"{server.url}/metrics", timeout=timeout) as response:
        found = FENCED.search(await response.text())
    return int(float(found[1])) if found else 0
