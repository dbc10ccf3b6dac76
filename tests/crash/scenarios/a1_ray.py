"""A1 on Ray: two servers share a cluster; one of them is killed every few seconds, and its tasks go on there."""

from __future__ import annotations

import asyncio

from crash.judge import check_common, check_load
from crash.lattice import OPEN_SANDBOX, RunLoad, Task, batched, build, carry, check_runs, resources
from crash.nemesis import Nemesis, recovery_times
from crash.stage import Stage
from crash.verdict import percentile
from crash.workflows import chain
from ray_house import RayHouse, ray_environment

TITLE = "two servers on one Ray cluster, kill -9 every 5 to 9 s"
CORES = 4
QUERY = "delay=1"
MESH = (
    Task("first", query=QUERY),
    Task("left", ("first",), QUERY, more=resources(memory=64)),
    Task("right", ("first",), name="shared", more=batched(4, 0.1)),
    Task("last", ("left", "right"), QUERY),
)
PROMISED_RECOVERY = 10.0
PROMISED_DRAIN = 60.0


async def run(stage: Stage) -> None:
    """Runs and kills at once, then heal, drain and compare."""
    house = RayHouse()
    try:
        await house.open(CORES)
        await _rage(stage, house)
    finally:
        await asyncio.to_thread(house.close)


async def _rage(stage: Stage, house: RayHouse) -> None:
    verdict, scale = stage.verdict, stage.scale
    settings = {name: value for name, value in ray_environment().items() if name.startswith("RAY_")}
    where = {"executor": "ray", "ray_address": house.address, "task_cpu": str(CORES)}
    for name in ("one", "two"):
        await stage.add_server(name, **OPEN_SANDBOX, **where, **settings)
    health = await stage.store(chain(stage.sink, 1))
    graph = await build(stage, *MESH)
    await carry(stage, graph, "warm")
    load, nemesis = RunLoad(stage, "run", graph, scale.a1_runs), Nemesis(stage)
    load.begin()
    await nemesis.rage(scale.a1_ray_seconds)
    await load.end()
    drain = await stage.drain(PROMISED_DRAIN)
    await load.resolve()
    await check_load(stage, load)
    await check_runs(stage, graph, load.promises)
    await check_common(stage)
    await stage.prove_health(health)
    times = await recovery_times(stage.observer, nemesis.kills)
    hit = sum(bool(kill.owned) for kill in nemesis.kills)
    effects = stage.effects()
    verdict.injections |= {"kills": len(nemesis.kills), "kills_with_work_in_flight": hit}
    verdict.counts |= {f"tasks_with_{count}_attempts": tasks for count, tasks in effects.attempts().items()}
    verdict.figures |= {
        "recovery_p50_s": round(percentile(times, 0.50), 2),
        "recovery_max_s": round(max(times, default=0.0), 2),
        "drain_s": round(drain, 2),
    }
    p95 = percentile(times, 0.95)
    verdict.expect(f"recovery p95 is at most {PROMISED_RECOVERY:g} s", p95 <= PROMISED_RECOVERY, round(p95, 2))
    verdict.prove("there were kills", len(nemesis.kills) > 0, len(nemesis.kills))
    verdict.prove("most kills hit work in flight", hit * 2 > len(nemesis.kills), hit)
