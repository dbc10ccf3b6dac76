"""E8: far more starts of runs than a tenant may have waiting, while all workers are busy; then these are let go."""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from crash.clock import steady, wall
from crash.judge import check_common, check_promises
from crash.lattice import OPEN_SANDBOX, Graph, Task, build, carry, resolved, start_run
from crash.load import Promise
from crash.processes import resident_mb
from crash.server import Server
from crash.stage import Stage
from crash.verdict import percentile

TITLE = "a full queue: refused at the cap, then drained in order"
CORES = 4
OWNED = 200
CLAIMED = 200
"""How many starts a process takes up at a time; who is taken up later than that many others was overtaken."""
WIDTH = 32
TASKS = 50
PRIORITIES = (8, 5, 2)
OVER = 1.05
QUICK = "def quick(params):\n    return {}\n"
SIZE = "select pg_database_size(current_database())"
COUNT = "select count(*) from interlock.executions"
STARTS = """
select metadata #>> '{session,session_id}' as ref, min(e.at) as at
from interlock.executions x join interlock.events e using (execution_id)
where e.type = 'task.started' and metadata #>> '{session,session_id}' = any ($1::text[]) group by 1"""
QUEUED = """
select count(*) from interlock.executions x
join (select distinct on (execution_id) execution_id, owner from watched.owners order by execution_id, id) o
  using (execution_id)
where o.owner is null and metadata #>> '{session,session_id}' = any ($1::text[])"""
"""Runs that no process began with at once; their tasks wait for places only when one does."""
WORDS = {"message", "queue_name", "current_size", "capacity", "retry_after"}


@dataclass
class Flood:
    """What became of many starts: those that were promised by when and how urgent, and the refusals."""

    promised: dict[str, tuple[float, int]] = field(default_factory=dict)
    refused: list[float] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)


async def run(stage: Stage) -> None:
    """Runs of one task against the cap of starts, then runs of many against the cap of tasks."""
    cap, scale = stage.scale.e8_cap, stage.scale
    server = await stage.add_server(
        "one",
        **OPEN_SANDBOX,
        task_cpu=str(CORES),
        sandbox_workers=str(CORES),
        tenant_cap=str(OWNED),
        tenant_queue=str(cap),
        waiting_tasks=str(cap),
    )
    verdict = stage.verdict
    gate = await build(stage, Task("gate", query="gather=2"))
    single = await build(stage, Task("quick", code=QUICK))
    wide = await build(stage, *(Task(f"quick{number}", code=QUICK) for number in range(TASKS)))
    await carry(stage, single, "warm")

    await _close(stage, gate, "first")
    flood, before = Flood(), await stage.observer.value(COUNT)
    sizes = [await stage.observer.value(SIZE)]
    until_full = (OWNED + cap) * 11 // 10
    for first, last in ((0, until_full), (until_full, scale.e8_starts)):
        begun = steady()
        await _flood(stage, server, single, flood, range(first, last))
        verdict.figures[f"starts_a_second_{'until' if not first else 'when'}_full"] = round(
            (last - first) / (steady() - begun)
        )
        sizes.append(await stage.observer.value(SIZE))
    there = await stage.observer.value(COUNT) - before
    verdict.expect("of a refused start nothing is left", there == len(flood.promised), f"{there} executions")
    verdict.expect(
        "the queue stops at its cap", len(flood.promised) <= (OWNED + cap) * OVER, f"{len(flood.promised)} of {cap}"
    )
    grown = (sizes[2] - sizes[1]) / 1e6
    verdict.expect("refusals do not make the database grow", grown <= 1 + 0.1 * sizes[1] / 1e6, f"{grown:.1f} MB")
    verdict.figures |= {
        "database_mb_empty": round(sizes[0] / 1e6, 1),
        "database_mb_full": round(sizes[2] / 1e6, 1),
        "kb_a_waiting_run": round((sizes[1] - sizes[0]) / 1e3 / max(1, len(flood.promised)), 2),
        "server_mb_full": round(resident_mb(server.process.pid), 1),
        "refusal_p50_ms": round(1e3 * percentile(flood.refused, 0.5), 1),
    }
    drain = await _open(stage, "first")
    verdict.figures |= {"drain_s": round(drain, 1), "drained_a_second": round(len(flood.promised) / drain)}
    await _check_order(stage, flood)

    await _close(stage, gate, "second")
    tasks = Flood()
    await _flood(stage, server, wide, tasks, range(scale.e8_starts // TASKS), "wide")
    waiting = len(tasks.promised) * TASKS
    queued = TASKS * await stage.observer.value(QUEUED, list(tasks.promised))
    most = cap * OVER + TASKS
    verdict.expect("waiting tasks stop at their cap, or the next run", waiting - queued <= most, waiting - queued)
    verdict.counts["tasks_of_runs_that_queued"] = queued
    drain = await _open(stage, "second")
    verdict.figures |= {"tasks_drain_s": round(drain, 1), "tasks_drained_a_second": round(waiting / drain)}
    await _judge(stage, flood, tasks)
    await check_common(stage)


async def _close(stage: Stage, gate: Graph, name: str) -> None:
    """Keep every core busy until the gate is opened."""
    for number in range(CORES):
        await start_run(stage, gate, f"{name}-{number}", priority=9)

    async def are_there() -> bool:
        return len({effect.execution for effect in stage.effects().all if effect.execution.startswith(name)}) == CORES

    await stage.until("all cores are busy", are_there, 30)


async def _open(stage: Stage, name: str) -> float:
    """Let the workers go; the seconds until nothing waits any more."""
    begun = steady()
    for number in range(CORES):
        async with stage.client.session.post(f"{stage.sink}/effect/{name}-{number}/open?gather=2") as answer:
            await answer.read()
    await stage.drain(600)
    return steady() - begun


async def _flood(
    stage: Stage, server: Server, graph: Graph, flood: Flood, numbers: Sequence[int], name: str = "start"
) -> None:
    """Start as many as there are numbers, some at a time, each of them once."""
    waiting = iter(numbers)

    async def start_some() -> None:
        for number in waiting:
            ref, priority, began = f"{name}-{number}", stage.random.choice(PRIORITIES), steady()
            body = {"workflow_id": graph.workflow_id, "run_id": ref, "inputs": {}, "priority": priority}
            answer = await stage.client.call(server.url, "POST", "/run_workflow", body)
            flood.statuses[answer.status] += 1
            if answer.status == 200:
                flood.promised[ref] = wall(), priority
                continue
            flood.refused.append(steady() - began)
            if not _is_told_well(answer.body, answer.retry_after):
                flood.wrong.append(f"{answer.status} {answer.body} Retry-After {answer.retry_after}")

    await asyncio.gather(*(start_some() for _ in range(WIDTH)))


def _is_told_well(body: Any, retry_after: str | None) -> bool:
    """The refusal of the contract."""
    detail = body.get("detail") if isinstance(body, dict) else None
    return (
        isinstance(detail, dict)
        and set(detail) == WORDS
        and body["code"] == "QUEUE_FULL"
        and detail["current_size"] >= detail["capacity"] > 0
        and retry_after == str(int(detail["retry_after"]))
    )


async def _check_order(stage: Stage, flood: Flood) -> None:
    """By priority, and in each as they came: as far as those that a process takes up at a time leave a choice."""
    rows = await stage.observer.fetch(STARTS, list(flood.promised))
    begun = [row["ref"] for row in sorted(rows, key=lambda row: row["at"])]
    ranks: dict[int, dict[str, int]] = defaultdict(dict)
    for ref, (_, priority) in sorted(flood.promised.items(), key=lambda item: item[1][0]):
        ranks[priority][ref] = len(ranks[priority])
    seen: Counter[int] = Counter()
    moved = []
    early = 0
    left = Counter({priority: len(refs) for priority, refs in ranks.items()})
    for ref in begun:
        priority = flood.promised[ref][1]
        moved.append(abs(ranks[priority][ref] - seen[priority]))
        seen[priority] += 1
        left[priority] -= 1
        early += any(left[higher] > 0 for higher in PRIORITIES if higher > priority)
    bound = OWNED + CLAIMED
    verdict = stage.verdict
    verdict.figures |= {"moved_in_line_p95": percentile(moved, 0.95), "begun_before_higher_priority": early}
    verdict.expect("equals go as they came", max(moved) <= bound, f"{max(moved)} places at most")
    verdict.expect("higher priority goes first", early <= bound, f"{early} of {len(begun)} began too early")


async def _judge(stage: Stage, *floods: Flood) -> None:
    verdict = stage.verdict
    for flood in floods:
        promises = [Promise(ref, ref, at) for ref, (at, _) in flood.promised.items()]
        await check_promises(stage, await resolved(stage, promises))
        verdict.expect("only 200 and 503 were answered", set(flood.statuses) <= {200, 503}, dict(flood.statuses))
        verdict.expect_none("every refusal says how full it is", flood.wrong)
        verdict.prove("starts were refused", flood.statuses[503] > 0, flood.statuses[503])
    singles, wide = floods
    verdict.injections |= {"starts": singles.statuses.total(), "refused": singles.statuses[503]}
    verdict.injections |= {"tasks": wide.statuses.total() * TASKS, "tasks_refused": wide.statuses[503] * TASKS}
