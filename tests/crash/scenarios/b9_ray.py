"""B9: what carries tasks on a Ray cluster is killed in turn: a host, a node, a node that comes back late, the head."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable

from crash.clock import steady, wall
from crash.judge import check_common, check_promises
from crash.lattice import OPEN_SANDBOX, Graph, Task, ask, build, carry, check_runs, resolved, start_run
from crash.load import Promise
from crash.processes import below
from crash.stage import Stage, Stuck
from crash.workflows import chain
from ray_house import RayHouse, ray_environment

TITLE = "a host, a node, a frozen node and the head of Ray, killed under work"
CORES = 2
RUNS = 6
DELAY = "delay=1.5"
PAIR = (Task("one", query=DELAY), Task("two", ("one",), DELAY))
AWAY_SECONDS = 3.0
FROZEN_SECONDS = 14.0
SLOW = (Task("slow", query="delay=12"),)
SILENT = {"health_check_timeout_ms": "1000", "health_check_failure_threshold": "5"}
"""A node that says nothing for about 7 s is dead to Ray; by itself it would wait for a minute."""
READY_SECONDS = 90.0
PROMISED = {"host": 15.0, "node": 15.0, "frozen_node": 15.0, "head": 60.0}
"""Seconds from a kill until all that ran there has begun again; the head's from when it is told to come back."""
LOST = """
select execution_id::text, data ->> 'task_id', max(at) as again from interlock.events
where type = 'task.started' and execution_id = any ($1::uuid[]) group by 1, 2 having count(*) > 1"""


async def run(stage: Stage) -> None:
    """One kind after the other, each under work of its own on both nodes."""
    house = RayHouse(**SILENT)
    try:
        await house.open(CORES)
        settings = {name: value for name, value in ray_environment().items() if name.startswith("RAY_")}
        where = {"executor": "ray", "ray_address": house.address, "task_cpu": str(CORES)}
        await stage.add_server("one", **OPEN_SANDBOX, **where, **settings)
        await _Trials(stage, house).run()
    finally:
        await asyncio.to_thread(house.close)


class _Trials:
    """The cluster, its second node, and what became of the runs."""

    def __init__(self, stage: Stage, house: RayHouse) -> None:
        self._stage = stage
        self._house = house
        self._nodes = 0
        self._hit: dict[str, int] = {}

    async def run(self) -> None:
        """Every kind, then everything must have happened once."""
        stage, verdict = self._stage, self._stage.verdict
        health = await stage.store(chain(stage.sink, 1))
        graph, slow = await build(stage, *PAIR), await build(stage, *SLOW)
        await carry(stage, graph, "warm")
        await self._add_node()
        done = await self._under_work("host", self._kill_host, *[graph] * RUNS)
        done += await self._under_work("node", self._kill_node, *[graph] * RUNS)
        await self._add_node()
        frozen = await self._under_work("frozen_node", self._freeze_node, *[graph] * CORES, *[slow] * CORES)
        await self._add_node()
        done += await self._under_work("head", self._kill_head, *[graph] * RUNS)
        await check_promises(stage, [*done, *frozen])
        await check_runs(stage, graph, [*done, *frozen[:CORES]])
        await check_runs(stage, slow, frozen[CORES:])
        await check_common(stage)
        await stage.prove_health(health)
        effects = stage.effects()
        late = sum(sum(call.answered_at is not None for call in calls) > 1 for calls in effects.by_step.values())
        verdict.injections |= {f"attempts_lost_with_a_{kind}": count for kind, count in self._hit.items()}
        verdict.counts |= {f"tasks_with_{count}_attempts": tasks for count, tasks in effects.attempts().items()}
        verdict.counts["late_results_dropped"] = late
        verdict.prove("each kind hit tasks under way", all(self._hit.values()), self._hit)
        verdict.prove("results came late", late > 0, late)

    async def _under_work(self, kind: str, hurt: Callable[[], Awaitable[float]], *graphs: Graph) -> list[Promise]:
        """A run of each graph, in this order: the first ones find room on the server's own node."""
        stage = self._stage
        refs = [f"{kind}-{number}" for number in range(len(graphs))]
        promises = [Promise(ref, ref, wall()) for ref in refs]
        for ref, graph in zip(refs, graphs, strict=True):
            await start_run(stage, graph, ref)

        async def is_at_work() -> bool:
            calls = [effect for effect in stage.effects().all if effect.ref in refs]
            return sum(call.answered_at is None for call in calls) >= 2 * CORES

        await stage.until("both nodes work", is_at_work, 60)
        promises = await resolved(stage, promises)
        healed = await hurt()
        await stage.drain(PROMISED["head"] + 30)
        rows = await stage.observer.fetch(LOST, [one.execution_id for one in promises])
        self._hit[kind] = len(rows)
        took = max((row["again"].timestamp() for row in rows), default=0.0) - healed
        stage.verdict.figures[f"{kind}_recovery_s"] = round(took, 2)
        bound = PROMISED[kind]
        stage.verdict.expect(f"what a {kind} had goes on within {bound:g} s", took <= bound, round(took, 2))
        return promises

    async def _kill_host(self) -> float:
        hosts = below(self._house.pid, lambda command: command.startswith("ray::"))
        os.kill(max(hosts, key=lambda pid: len(below(pid))), signal.SIGKILL)
        return wall()

    async def _kill_node(self) -> float:
        at = wall()
        await self._house.kill(self._node)
        return at

    async def _freeze_node(self) -> float:
        """So long that it counts as dead; its tasks end meanwhile, and their results come when it wakes."""
        raylets = below(self._house.pid, lambda command: command.split(" ")[0].endswith("/raylet"))
        at, pid = wall(), max(raylets)
        os.kill(pid, signal.SIGSTOP)
        await asyncio.sleep(FROZEN_SECONDS)
        os.kill(pid, signal.SIGCONT)
        return at

    async def _kill_head(self) -> float:
        self._house.crash()
        await asyncio.sleep(AWAY_SECONDS)
        at = wall()
        await self._house.open(CORES)
        return at

    @property
    def _node(self) -> str:
        return f"second{self._nodes}"

    async def _add_node(self) -> None:
        """Another node, and wait until tasks are placed on it.

        All nodes of the test have one address; each is announced with one of its own, so that it goes by its id.
        """
        self._nodes += 1
        worker = await self._house.add(self._node, CORES)
        told = {"cpu": CORES, "cpu_mem": 2048, "gpu_resource": {}}
        await ask(
            self._stage, "/connect_worker", {"node_id": worker, "node_ip": f"127.0.9.{self._nodes}", "resources": told}
        )
        until = steady() + READY_SECONDS
        free = 0.0
        while free < CORES:
            if steady() > until:
                raise Stuck(f"tasks find no room on the node {worker} after {READY_SECONDS:g} s")
            await asyncio.sleep(0.2)
            answer = await self._stage.client.insist(self._stage.running, "GET", "/get_workers")
            free = next((one["free"]["cpu"] for one in answer.body["workers"] if one["node_id"] == worker), 0.0)
