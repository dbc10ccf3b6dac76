"""A1: two servers under load, one of them killed with SIGKILL every few seconds.

The load are chains, parents with children, sessions that call webhooks and are called back by them, and runs of the
lattice door, whose tasks are users' code with resources, some of it in batches.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime

from crash.families import check_families, store_family
from crash.judge import check_common, check_load, check_steps, ids_of
from crash.lattice import OPEN_SANDBOX, RunLoad, Task, batched, build, check_runs, resources
from crash.load import Load, Promise
from crash.nemesis import Kill, Nemesis, recovery_times
from crash.sessions import SessionLoad, check_sessions, settle_sessions, store_sessions
from crash.stage import Stage
from crash.verdict import percentile
from crash.workflows import chain

TITLE = "two servers, kill -9 every 5 to 9 s"
STEPS = 5
STEP_DELAY = 0.2
CODE_QUERY = "delay=0.7"
FAMILY_DELAY = 0.3
MESH = (
    Task("split", query=CODE_QUERY),
    Task("left", ("split",), CODE_QUERY, more=resources(cpu=1, memory=64)),
    Task("right", ("split",), CODE_QUERY, more=resources(cpu=2)),
    Task("one", ("split",), name="shared", more=batched(4, 0.1)),
    Task("other", ("split",), name="shared", more=batched(4, 0.1)),
    Task("join", ("left", "right", "one", "other"), CODE_QUERY),
)
"""Two tasks may share a call with one another, and with those of other runs."""
ROOM = {"sandbox_workers": "10", "task_cpu": "10"}
"""For the tasks of both servers at one of them: they only wait for the sink, and recovery is not a wait for room."""
UNDER_WAY = """
select count(*) from interlock.executions
where execution_id = any ($1::uuid[]) and created_at < $2 and ended_at > $2"""
RELATIVES = """
select count(*) from interlock.executions
where execution_id = any ($1::uuid[]) and root_id = any ($2::uuid[])"""
PROMISED_RECOVERY = 10.0
PROMISED_DRAIN = 60.0


async def run(stage: Stage) -> None:
    """Load and kills at once, then heal, drain and compare."""
    verdict, scale = stage.verdict, stage.scale
    for name in ("one", "two"):
        await stage.add_server(name, **OPEN_SANDBOX, **ROOM)
    workflow_id = await stage.store(chain(stage.sink, STEPS, STEP_DELAY))
    family_id = await store_family(stage, FAMILY_DELAY)
    await store_sessions(stage)
    chains = Load(stage, "chain", workflow_id, scale.a1_rate)
    families = Load(stage, "family", family_id, scale.a1_families)
    sessions = SessionLoad(stage, scale.a1_sessions)
    graph = await build(stage, *MESH)
    runs = RunLoad(stage, "run", graph, scale.a1_runs)
    nemesis = Nemesis(stage)
    loads: tuple[Load, ...] = (chains, families, sessions, runs)
    for load in loads:
        load.begin()
    await nemesis.rage(scale.a1_seconds)
    await asyncio.gather(*(load.end() for load in loads))
    drain = await stage.drain(PROMISED_DRAIN)
    told = await settle_sessions(stage)
    await runs.resolve()
    for load in (chains, families, runs):
        await check_load(stage, load)
    await check_sessions(stage, sessions)
    await check_steps(stage, chains.promises, [f"s{number}" for number in range(1, STEPS + 1)])
    await check_families(stage, families.promises)
    await check_runs(stage, graph, runs.promises)
    await check_common(stage)
    await stage.prove_health(workflow_id)

    times = await recovery_times(stage.observer, nemesis.kills)
    at_work = sum(bool(kill.owned) for kill in nemesis.kills)
    hit, held = await _families_hit(stage, nemesis.kills, families.promises)
    runs_hit, runs_held = await _families_hit(stage, nemesis.kills, runs.promises)
    verdict.injections |= {"kills": len(nemesis.kills), "kills_with_work_in_flight": at_work}
    verdict.injections |= {"kills_with_families_under_way": hit, "parents_and_children_held_by_the_dead": held}
    verdict.injections |= {"kills_with_runs_under_way": runs_hit, "runs_held_by_the_dead": runs_held}
    verdict.counts |= {
        "executions_taken_over": sum(len(kill.owned) for kill in nemesis.kills),
        "calls_repeated_by_clients": stage.client.unclear,
    }
    verdict.figures |= {
        "recovery_p50_s": round(percentile(times, 0.50), 2),
        "recovery_p95_s": round(percentile(times, 0.95), 2),
        "recovery_max_s": round(max(times, default=0.0), 2),
        "drain_s": round(drain, 2),
        "told_s": round(told, 2),
        "bound_3_over_n": round(3 / max(1, verdict.counts["steps"]), 6),
    }
    p95 = verdict.figures["recovery_p95_s"]
    verdict.expect(f"recovery p95 is at most {PROMISED_RECOVERY:g} s", p95 <= PROMISED_RECOVERY, p95)
    kills = len(nemesis.kills)
    verdict.prove(f"at least {scale.a1_least_kills} kills", kills >= scale.a1_least_kills, kills)
    verdict.prove("most kills hit work in flight", at_work * 2 > kills, at_work)
    verdict.prove("most kills hit families under way", hit * 2 > kills, hit)
    verdict.prove("most kills hit runs under way", runs_hit * 2 > kills, runs_hit)
    verdict.prove("recovery was measured", len(times) * 2 > kills, len(times))


async def _families_hit(stage: Stage, kills: Sequence[Kill], promises: Sequence[Promise]) -> tuple[int, int]:
    """How many kills came while a family was under way, and how many of their members the dead servers held."""
    parents, hit, held = ids_of(promises), 0, 0
    for kill in kills:
        hit += bool(await stage.observer.value(UNDER_WAY, parents, datetime.fromtimestamp(kill.at, UTC)))
        held += await stage.observer.value(RELATIVES, list(kill.owned), parents)
    return hit, held
