"""A9 for users' code: runs of the lattice door are cancelled in every condition; what the code started dies with it.

The code sits in the sandbox, has forked, and has a grandchild in a session of its own. Whether it lives is asked of the
machine's process table; whether a task begins, of the log and of that table.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from crash.clock import steady, wall
from crash.judge import check_common
from crash.lattice import Graph, Task, ask, build, carry, resolved, start_run
from crash.load import Promise
from crash.processes import HOLD, MARKED, Watch, below
from crash.stage import Stage
from crash.verdict import percentile
from crash.workflows import chain

TITLE = "cancel runs of code while queued, ready, running and backing off"
TITLE_RAY = TITLE + ", on Ray"
SLOTS = 6
CORES = 2
KILL_SECONDS = 5.0
PATIENCE = 30.0
CONDITIONS = {"queued", "ready", "running", "backing off"}
QUICK = "def quick(params):\n    return {}\n"
FAILS = "def fails(params):\n    raise ValueError('again')\n"
AGAIN = {"retry": {"max_attempts": 5, "backoff_seconds": 60, "max_backoff_seconds": 60}}
WHERE = "select execution_id::text, status, waiting_reason from interlock.executions"
BEGUN = "select count(*) from interlock.events where execution_id = $1::uuid and type = 'task.started' and at > $2"


@dataclass
class Run:
    """One run, what it was doing, and the answers to its cancellation. ``mark`` is that of its processes."""

    promise: Promise
    mark: str
    condition: str = ""
    answered_at: float = 0.0
    states: list[str] = field(default_factory=list)


async def run(stage: Stage) -> None:
    """In child processes of two servers."""
    await _cancel_all(stage, ("one", "two"), {})


async def run_on_ray(stage: Stage) -> None:
    """On a Ray of the one server's own."""
    await _cancel_all(stage, ("one",), {"executor": "ray"})


async def _cancel_all(stage: Stage, names: tuple[str, ...], settings: Mapping[str, str]) -> None:
    for name in names:
        await stage.add_server(name, slots=str(SLOTS), task_cpu=str(CORES), **settings)
    health = await stage.store(chain(stage.sink, 1))
    await carry(stage, await build(stage, Task("quick", code=QUICK)), "warm")
    each = max(3, stage.scale.a9_cancels // 4)
    marks = [f"{90_000 + number}.{stage.random.randrange(10**7):07d}" for number in range(each + 3 * SLOTS)]
    async with Watch(marks) as watch:
        runs = await _begin(stage, watch, marks, each)
        found = {row[0]: (row[1], row[2]) for row in await stage.observer.fetch(WHERE)}
        watch.look()
        for one in runs:
            one.condition = _condition(*found[one.promise.execution_id], runs_now=watch.alive(one.mark) > 0)
        if "executor" in settings:
            _prove_ray(stage, watch, runs)
        stage.random.shuffle(runs)
        await asyncio.gather(*(_cancel(stage, one) for one in runs))
        drain = await stage.drain()
        await _until_dead(watch, runs)
    await _judge(stage, watch, runs)
    await check_common(stage)
    await stage.prove_health(health)
    await carry(stage, await build(stage, Task("quick", code=QUICK)), "after")
    seen = Counter(one.condition for one in runs)
    stage.verdict.injections |= {name.replace(" ", "_"): count for name, count in sorted(seen.items())}
    stage.verdict.figures["drain_s"] = round(drain, 2)
    stage.verdict.prove("every condition was met", set(seen) >= CONDITIONS, dict(seen))


def _prove_ray(stage: Stage, watch: Watch, runs: list[Run]) -> None:
    hosts = below(stage.servers[0].process.pid, lambda command: command.startswith("ray::"))
    there = {pid for host in hosts for pid in below(host)}
    code = {pid for one in runs for pid in watch.seen[one.mark]}
    stage.verdict.prove("the code ran on Ray", bool(code) and code <= there, f"{len(code & there)} of {len(code)}")


async def _begin(stage: Stage, watch: Watch, marks: list[str], each: int) -> list[Run]:
    """Runs that back off first, which take no slot once they rest; then more that hold than there is room for."""
    fails = await build(stage, Task("fails", code=FAILS, more=AGAIN))
    failing = [Run(await _start(stage, fails, f"fails-{number}"), marks[number]) for number in range(each)]

    async def rest() -> bool:
        return not await stage.observer.value(
            "select count(*) from interlock.executions x join interlock.live l using (execution_id)"
            " where x.ended_at is null and (x.waiting_reason is distinct from 'retry_at' or l.owner is not null)"
        )

    await stage.until("all of them back off", rest, 60)
    hold = await build(stage, Task("hold", code=HOLD))
    holding = []
    for number in range(3 * SLOTS):
        mark = marks[each + number]
        told = {"inputs": {hold.ids["hold"]: {"mark": mark}}}
        holding.append(Run(await _start(stage, hold, f"hold-{number}", **told), mark))

    async def hold_all() -> bool:
        return sum(watch.alive(one.mark) >= MARKED for one in holding) >= CORES * len(stage.servers)

    await stage.until("code runs on all cores", hold_all, 30)
    promises = await resolved(stage, [one.promise for one in (*failing, *holding)])
    return [Run(promise, one.mark) for promise, one in zip(promises, (*failing, *holding), strict=True)]


async def _start(stage: Stage, graph: Graph, ref: str, **more: object) -> Promise:
    await start_run(stage, graph, ref, **more)
    return Promise(ref, ref, wall())


def _condition(status: str, reason: str | None, *, runs_now: bool) -> str:
    if runs_now:
        return "running"
    return {"resources": "ready", "retry_at": "backing off"}.get(reason or "", status)


async def _cancel(stage: Stage, one: Run) -> None:
    """Cancel until it is confirmed, and once more. From the first answer on nothing may begin."""
    until = steady() + PATIENCE
    while len(one.states) < 2:
        answer = await ask(stage, "/cancel_run", {"run_id": one.promise.ref, "reason": "the suite"})
        one.answered_at = one.answered_at or wall()
        if answer.body["state"] == "cancelled" or steady() > until:
            one.states.append(answer.body["state"])


async def _until_dead(watch: Watch, runs: list[Run]) -> None:
    """Until none of the code is left, or too long."""
    until = steady() + 2 * KILL_SECONDS
    while any(watch.alive(one.mark) for one in runs) and steady() < until:
        await asyncio.sleep(0.1)


async def _judge(stage: Stage, watch: Watch, runs: list[Run]) -> None:
    verdict = stage.verdict
    late, begun, dying = [], [], []
    for one in runs:
        processes = watch.seen[one.mark].values()
        if one.condition == "running":
            dying.append(max(0.0, max(process.seen_at for process in processes) - one.answered_at))
        late += [f"{one.promise.ref}" for process in processes if process.began_at > one.answered_at + 0.02]
        at = datetime.fromtimestamp(one.answered_at, UTC)
        if await stage.observer.value(BEGUN, one.promise.execution_id, at):
            begun.append(one.promise.ref)
    wrong = [f"{one.promise.ref} {one.states}" for one in runs if one.states != ["cancelled"] * 2]
    rows = await stage.observer.fetch(WHERE)
    ids = {one.promise.execution_id for one in runs}
    others = [f"{row[0]} {row[1]}" for row in rows if row[0] in ids and row[1] != "cancelled"]
    verdict.counts |= {"cancelled": len(runs) - len(others), "code_that_died": len(dying)}
    verdict.figures |= {
        "dead_p95_s": round(percentile(dying, 0.95), 3),
        "dead_max_s": round(max(dying, default=0.0), 3),
    }
    verdict.expect_none("no task begins after the answer", begun)
    verdict.expect_none("no process of a task begins after the answer", late)
    verdict.expect("all that the code had started is dead within 5 s", max(dying, default=0.0) <= KILL_SECONDS, dying)
    verdict.expect_none("nothing of it is left", (one.promise.ref for one in runs if watch.alive(one.mark)))
    verdict.expect_none("both answers say cancelled", wrong)
    verdict.expect_none("all ended as cancelled", others)
    verdict.prove("code ran when it was cancelled", len(dying) >= CORES * len(stage.servers), len(dying))
