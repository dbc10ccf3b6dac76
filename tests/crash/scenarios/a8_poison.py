"""A8: tasks that take their process down, among many that do not. Each is given up after three deaths of its own."""

from __future__ import annotations

import asyncio
from collections import Counter

from crash.clock import steady, wall
from crash.judge import check_common, check_promises, ids_of
from crash.lattice import Graph, Task, build, carry, resolved, start_run
from crash.load import Promise
from crash.processes import below
from crash.stage import Stage

TITLE = "tasks that segfault, exit or run out of memory, among many that do not"
TITLE_RAY = TITLE + ", on Ray"
CORES = 4
DEATHS = 3
EACH = 48
LEAST = 0.8
LONGEST = 300.0
WORK = "import time\n\n\ndef work(params):\n    time.sleep(0.8)\n    return {}\n"
SEGFAULT = "import ctypes\n\n\ndef segfault(params):\n    ctypes.string_at(0)\n"
EXIT = "import os\n\n\ndef leave(params):\n    os._exit(7)\n"
MEMORY = """
import os


def devour(params):
    kept = []
    try:
        while True:
            kept.append(bytearray(1 << 20))
    except MemoryError:  # where memory is held for each process and not by the kernel
        os._exit(9)
"""
SMALL = {"resources": {"cpu": 1, "cpu_mem": 96, "gpu": 0, "gpu_mem": 0}}
ENDED = "select max(ended_at) from interlock.executions where execution_id = any ($1::uuid[])"
ATTEMPTS = """
select execution_id::text, data ->> 'node_id', count(*) from interlock.events
where type = 'task.started' and execution_id = any ($1::uuid[]) group by 1, 2"""
GIVEN_UP = """
select execution_id::text, data -> 'error' ->> 'code' as code, data -> 'error' ->> 'message' as message
from interlock.events
where type = 'task.failed' and data ->> 'quarantined' = 'true' and execution_id = any ($1::uuid[])"""


async def run(stage: Stage) -> None:
    """In sandboxes of the server's machine."""
    await _poison(stage, stage.scale.a8_poison, stage.scale.a8_normal)


async def run_on_ray(stage: Stage) -> None:
    """In sandboxes on a Ray of the server's own."""
    scale = stage.scale
    await _poison(stage, scale.a8_poison * 2 // 5, scale.a8_normal * 2 // 5, executor="ray")


async def _poison(stage: Stage, poison: int, normal: int, **settings: str) -> None:
    """The same work without poison and with it; the one's pace is the measure of the other's."""
    settings |= {"task_cpu": str(CORES), "sandbox_workers": str(CORES), "sandbox_spares": "0"}  # these are counted
    server = await stage.add_server("one", **settings)
    work = await build(stage, *(Task(f"work{number}", code=WORK) for number in range(EACH)))
    poisons = [
        await build(stage, Task("segfault", code=SEGFAULT)),
        await build(stage, Task("leave", code=EXIT)),
        await build(stage, Task("devour", code=MEMORY, more=SMALL)),
    ]
    await carry(stage, work, "warm", LONGEST)
    children = _children(server.process.pid)
    base, promises = await _work(stage, work, "base", max(1, normal // EACH // 2))
    bad = [Promise(f"poison-{number}", f"poison-{number}", wall()) for number in range(poison)]
    for number, one in enumerate(bad):
        await start_run(stage, poisons[number % len(poisons)], one.ref, priority=9)
    pace, more = await _work(stage, work, "beside", normal // EACH)
    await stage.drain()
    bad = await resolved(stage, bad)
    await _judge(stage, [*promises, *more], bad)
    again, last = await _work(stage, work, "after", 1)
    await check_promises(stage, last)
    left = _children(server.process.pid)
    await check_common(stage)
    verdict = stage.verdict
    verdict.injections["deaths"] = poison * DEATHS
    verdict.counts |= {"children_before": children, "children_after": left}
    verdict.figures |= {
        "tasks_a_second_alone": round(base, 2),
        "tasks_a_second_beside_poison": round(pace, 2),
        "tasks_a_second_afterwards": round(again, 2),
        "share_of_base": round(pace / base, 3),
    }
    verdict.expect("normal work keeps 80 % of its pace", pace >= LEAST * base, f"{pace:.1f} of {base:.1f}/s")
    verdict.expect("and has all of it afterwards", again >= 0.9 * base, f"{again:.1f} of {base:.1f}/s")
    verdict.expect("there are as many workers as before", left == children == CORES, f"{children}, then {left}")


async def _work(stage: Stage, graph: Graph, name: str, runs: int) -> tuple[float, list[Promise]]:
    """Start all of it at once; tasks a second until the last has ended."""
    began, refs = wall(), [f"{name}-{number}" for number in range(runs)]
    await asyncio.gather(*(start_run(stage, graph, ref) for ref in refs))
    promises = await resolved(stage, [Promise(ref, ref, began) for ref in refs])
    until = steady() + LONGEST

    async def is_done() -> bool:
        rows = "select count(*) from interlock.executions where ended_at is null and execution_id = any ($1::uuid[])"
        return not await stage.observer.value(rows, ids_of(promises)) or steady() > until

    await stage.until(f"{name} ends", is_done, LONGEST)
    ended = await stage.observer.value(ENDED, ids_of(promises))
    return runs * len(graph.tasks) / (ended.timestamp() - began), promises


async def _judge(stage: Stage, good: list[Promise], bad: list[Promise]) -> None:
    verdict = stage.verdict
    await check_promises(stage, good)
    await check_promises(stage, bad, "failed")
    rows = await stage.observer.fetch(ATTEMPTS, ids_of(good))
    verdict.expect_none("no other task was run twice", (f"{row[0]} {row[1]}: {row[2]}" for row in rows if row[2] != 1))
    attempts = {row[0]: row[2] for row in await stage.observer.fetch(ATTEMPTS, ids_of(bad))}
    verdict.expect("each was tried three times", Counter(attempts.values()) == {DEATHS: len(bad)}, attempts)
    given_up = {row["execution_id"]: row for row in await stage.observer.fetch(GIVEN_UP, ids_of(bad))}
    unnamed = (
        one.ref
        for one in bad
        if one.execution_id not in given_up
        or given_up[one.execution_id]["code"] != "TASK_QUARANTINED"
        or "process died" not in given_up[one.execution_id]["message"]
    )
    verdict.expect_none("each was quarantined, and says why", unnamed)
    verdict.counts |= {"quarantined": len(given_up), "normal_tasks": sum(row[2] for row in rows)}
    verdict.prove("every process died", sum(attempts.values()) == len(bad) * DEATHS, sum(attempts.values()))


def _children(pid: int) -> int:
    """Sandboxes below a server, on Ray those below its hosts; what wraps one has it as its child and does not count."""
    return len(below(pid, lambda command: "executor.sandbox.child" in command and "bwrap" not in command))
