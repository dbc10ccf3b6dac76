"""C4: fan-ins of fifty parents that all end at one instant; what joins them begins once, after all and with all."""

from __future__ import annotations

from collections import defaultdict

from crash.clock import wall
from crash.judge import check_common, check_promises
from crash.lattice import OPEN_SANDBOX, Graph, Task, batched, build, carry, check_runs, resolved
from crash.load import Promise
from crash.stage import Stage
from crash.together import all_of
from crash.verdict import percentile

TITLE = "joins of fifty parents that end at one instant"
PARENTS = 50
STEPS = tuple(f"p{number}" for number in range(PARENTS))
JOIN = Task("join", STEPS)
CALLS = """
select count(distinct data -> 'placement' ->> 'batch_id') from interlock.events
where type = 'task.started' and data -> 'placement' ->> 'batch_id' <> '' and execution_id = any ($1::uuid[])"""
RECORDED = """
select execution_id::text, extract(epoch from max(told) - min(told))::float8 from watched.results
where execution_id = any ($1::uuid[]) and node_id <> $2 group by 1"""


async def run(stage: Stage) -> None:
    """Parents that the sink holds until all are there and then lets go together; and parents that are one call."""
    many = {"sandbox_workers": str(PARENTS), "task_cpu": str(PARENTS)}
    await stage.add_server("one", **OPEN_SANDBOX, **many)
    held = await build(stage, *(Task(step, query=f"delay=0&gather={PARENTS}") for step in STEPS), JOIN)
    called = await build(stage, *(Task(step, name="parent", more=batched(PARENTS, 1.0)) for step in STEPS), JOIN)
    await carry(stage, held, "warm")
    count = stage.scale.c4_joins
    alone = count * stage.scale.c4_held // 100
    apart = await _carry_all(stage, held, [f"held-{number}" for number in range(alone)], 1)
    together = await _carry_all(stage, called, [f"called-{number}" for number in range(count - alone)], 4)
    await stage.drain()
    for graph, promises in ((held, apart), (called, together)):
        await check_promises(stage, promises)
        await check_runs(stage, graph, promises)
    await check_common(stage)
    await _judge(stage, held, apart, together)


async def _carry_all(stage: Stage, graph: Graph, refs: list[str], width: int) -> list[Promise]:
    async def carry_some(some: list[str]) -> None:
        for ref in some:
            await carry(stage, graph, ref)

    await all_of(*(carry_some(refs[first::width]) for first in range(width)))
    return await resolved(stage, [Promise(ref, ref, wall()) for ref in refs])


async def _judge(stage: Stage, held: Graph, apart: list[Promise], together: list[Promise]) -> None:
    effects, verdict = stage.effects(), stage.verdict
    times: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for effect in effects.all:
        if effect.step != JOIN.step:
            times[effect.execution].append((effect.arrived_at, effect.answered_at or 0.0))
    joins = {one.ref: len(effects.by_step[one.ref, JOIN.step]) for one in (*apart, *together)}
    split = [ref for ref in (one.ref for one in apart) if max(times[ref])[0] > min(answer for _, answer in times[ref])]
    spreads = [
        max(answer for _, answer in times[one.ref]) - min(answer for _, answer in times[one.ref]) for one in apart
    ]
    rows = await stage.observer.fetch(RECORDED, [one.execution_id for one in apart], held.ids[JOIN.step])
    calls = await stage.observer.value(CALLS, [one.execution_id for one in together])
    verdict.expect_none("each join was called once", (f"{ref}: {count}" for ref, count in joins.items() if count != 1))
    verdict.counts |= {"joins": sum(joins.values()), "parents": PARENTS * len(joins), "shared_calls": calls}
    verdict.figures |= {
        "answers_apart_p50_ms": round(1e3 * percentile(spreads, 0.5), 1),
        "results_apart_p50_ms": round(1e3 * percentile((row[1] for row in rows), 0.5), 1),
    }
    verdict.injections |= {"let_go_at_once": len(apart) - len(split), "parents_in_one_call": len(together)}
    verdict.prove("all parents were there before one was let go", not split and len(apart) > 0, split)
    verdict.prove("parents shared calls", 0 < calls <= 2 * len(together), calls)
