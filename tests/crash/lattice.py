"""Work of the lattice door: graphs of code that are built by calls, and runs of them whose ids their clients choose.

The code runs in the sandbox without walls around the network, so that each task can call the sink by itself, with the
effect key it finds in its environment. A run's id is its reference; the sink knows its steps under that.
"""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from crash.client import Answer, GaveUp
from crash.clock import steady, wall
from crash.load import Load, Promise
from crash.stage import Stage

OPEN_SANDBOX = {"sandbox": "subprocess"}
"""Settings of servers whose users' code may call the sink."""
CALLS = """
import json
import os
import urllib.request


def ask(params, key):
    url = "{}/effect/{}/{}?{}".format(params["sink"], params["ref"], params["step"], params["query"])
    headers = {"Idempotency-Key": key, "X-Ref": params["ref"]}
    request = urllib.request.Request(url, data=b"", headers=headers, method="POST")
    with urllib.request.urlopen(request, timeout=3600) as answer:
        receipt = json.load(answer)["receipt"]
    return {"receipt": receipt, "given": sorted(value for name, value in params.items() if name.startswith("from_"))}


def call(params):
    several = params if isinstance(params, list) else [params]
    keys = os.environ["INTERLOCK_EFFECT_KEYS"].split()
    gave = [ask(one, key) for one, key in zip(several, keys, strict=True)]
    return gave if isinstance(params, list) else gave[0]
"""
"""One call of the sink for each task; gives its receipt, and those of the tasks before it."""
RUNS = """
select execution_id::text, metadata #>> '{session,session_id}' as ref from interlock.executions
where metadata #>> '{session,session_id}' = any ($1::text[])"""
STATUS = "select status from interlock.executions where metadata #>> '{session,session_id}' = $1"
LOG = """
select execution_id::text, seq, type, data ->> 'node_id' as node, data -> 'output' ->> 'receipt' as receipt,
  data -> 'output' ->> 'given' as given
from interlock.events where execution_id = any ($1::uuid[]) and type in ('task.started', 'task.completed')
order by execution_id, seq"""


@dataclass(frozen=True)
class Task:
    """A task of a graph: which it reads, how the sink is asked, and what else its client says of it.

    ``name`` is what the server calls it, if that is not its step; only tasks of one name share calls.
    """

    step: str
    after: tuple[str, ...] = ()
    query: str = ""
    code: str = CALLS
    name: str = ""
    more: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Graph:
    """A graph as the server has it. ``ids`` are its tasks by step."""

    workflow_id: str
    tasks: tuple[Task, ...]
    ids: Mapping[str, str]

    def inputs(self, ref: str) -> dict[str, dict[str, str]]:
        """What a run gives each task."""
        return {task_id: {"ref": ref} for task_id in self.ids.values()}


def resources(cpu: float = 1, memory: float = 0) -> dict[str, Any]:
    """What a task asks for; ``memory`` is MiB."""
    return {"resources": {"cpu": cpu, "cpu_mem": memory, "gpu": 0, "gpu_mem": 0}}


def batched(size: int, timeout: float) -> dict[str, Any]:
    """Tasks that may share a call; the first one waits ``timeout`` seconds."""
    return {"batch_config": {"enabled": True, "batch_size": size, "batch_timeout": timeout}}


async def build(stage: Stage, *tasks: Task) -> Graph:
    """Build a graph by calls; each task stands behind those it reads."""
    workflow_id = str((await ask(stage, "/create_workflow", {})).body["workflow_id"])
    ids: dict[str, str] = {}
    for task in tasks:
        named = {"workflow_id": workflow_id, "task_name": task.name or task.step}
        answer = await ask(stage, "/add_task", {**named, "task_type": "code"})
        ids[task.step] = str(answer.body["task_id"])
        body = {**named, "task_id": ids[task.step], "code_str": task.code, "task_input": _input(stage, task, ids)}
        await ask(stage, "/save_task_and_add_edge", {**body, **task.more})
    return Graph(workflow_id, tasks, ids)


async def start_run(stage: Stage, graph: Graph, ref: str, url: str | None = None, **more: Any) -> None:
    """Start a run by the id ``ref``, however often it takes, at ``url`` or anywhere. Raises RuntimeError."""
    body = {"workflow_id": graph.workflow_id, "run_id": ref, "inputs": graph.inputs(ref), **more}
    answer = await ask(stage, "/run_workflow", body, url)
    if answer.body["run_id"] != ref:
        raise RuntimeError(f"the run {ref} was answered as {answer.body}")


async def ask(stage: Stage, path: str, body: Any, url: str | None = None) -> Answer:
    """A clear answer of the server at ``url``, or of any. Raises GaveUp, RuntimeError for a refusal."""
    answer = await stage.client.insist(stage.running if url is None else [url], "POST", path, body)
    if answer.status != 200:
        raise RuntimeError(f"{path} was refused with {answer.status}: {answer.body}")
    return answer


async def carry(stage: Stage, graph: Graph, ref: str, seconds: float = 120.0) -> None:
    """Carry one run to its end. Raises RuntimeError; a Ray that starts first may take its time."""
    await start_run(stage, graph, ref)
    until = steady() + seconds
    status = ""
    while status != "succeeded" and steady() < until:
        await asyncio.sleep(0.1)
        status = await stage.observer.value(STATUS, ref)
    if status != "succeeded":
        raise RuntimeError(f"the run {ref} is {status} after {seconds:g} s")


class RunLoad(Load):
    """Starts runs of a graph at a given rate. Its promises name runs until ``resolve``."""

    def __init__(self, stage: Stage, name: str, graph: Graph, rate: float) -> None:
        super().__init__(stage, name, graph.workflow_id, rate)
        self._graph = graph

    async def _start(self, ref: str) -> None:
        try:
            await start_run(self._stage, self._graph, ref)
        except (GaveUp, RuntimeError) as error:
            self.given_up.append(f"{ref}: {error}")
        else:
            self.promises.append(Promise(ref, ref, wall()))

    async def resolve(self) -> None:
        """Look up which executions the promised runs are."""
        self.promises = await resolved(self._stage, self.promises)


async def resolved(stage: Stage, promises: Sequence[Promise]) -> list[Promise]:
    """Promises of runs with the executions that they are; a run that is missing keeps its reference as its id."""
    found: dict[str, list[str]] = defaultdict(list)
    for execution_id, ref in await stage.observer.fetch(RUNS, [promise.ref for promise in promises]):
        found[ref].append(execution_id)
    several = (f"{ref}: {len(ids)}" for ref, ids in found.items() if len(ids) > 1)
    stage.verdict.expect_none("one execution for each run id", several)
    return [replace(one, execution_id=found[one.ref][0]) if one.ref in found else one for one in promises]


async def check_runs(stage: Stage, graph: Graph, promises: Sequence[Promise]) -> None:
    """Each task of each run: one result, one effect key, done outside, begun behind all it reads, given their results.

    ``promises`` are resolved ones of runs that succeeded.
    """
    steps = {task_id: step for step, task_id in graph.ids.items()}
    logs: dict[str, list[Any]] = defaultdict(list)
    for row in await stage.observer.fetch(LOG, [one.execution_id for one in promises if one.execution_id != one.ref]):
        logs[row["execution_id"]].append(row)
    wrong: dict[str, list[str]] = {"recorded": [], "early": [], "given": []}
    for promise in promises:
        _look(graph, promise.ref, [(steps.get(row["node"], ""), row) for row in logs[promise.execution_id]], wrong)
    effects, verdict = stage.effects(), stage.verdict
    wanted = [(promise.ref, task.step) for promise in promises for task in graph.tasks]
    verdict.expect_none("each task of a run was recorded exactly once", wrong["recorded"])
    verdict.expect_none("no task began before all it reads had ended", wrong["early"])
    verdict.expect_none("each task was given what those before it gave", wrong["given"])
    verdict.expect_none("each task of a run happened outside", (one for one in wanted if one not in effects.by_step))
    verdict.expect_none("all attempts of a step carry one effect key", effects.with_several_keys())
    verdict.expect_none("no two steps share an effect key", effects.shared_keys())
    verdict.counts["runs"] = verdict.counts.get("runs", 0) + len(promises)
    verdict.counts["tasks_of_runs"] = verdict.counts.get("tasks_of_runs", 0) + len(wanted)
    verdict.counts["repeated_calls"] = effects.repeats()


def _look(graph: Graph, ref: str, log: Sequence[tuple[str, Any]], wrong: dict[str, list[str]]) -> None:
    begun: dict[str, int] = {}
    ended: dict[str, list[Any]] = defaultdict(list)
    for step, row in log:
        if row["type"] == "task.completed":
            ended[step].append(row)
        else:
            begun.setdefault(step, row["seq"])
    for task in graph.tasks:
        if len(ended[task.step]) != 1 or ended[task.step][0]["receipt"] != f"{ref}:{task.step}:done":
            wrong["recorded"].append(f"{ref} {task.step}: {[row['receipt'] for row in ended[task.step]]}")
            continue
        if any(not ended[step] or ended[step][0]["seq"] > begun[task.step] for step in task.after):
            wrong["early"].append(f"{ref} {task.step}")
        if json.loads(ended[task.step][0]["given"]) != sorted(f"{ref}:{step}:done" for step in task.after):
            wrong["given"].append(f"{ref} {task.step}: {ended[task.step][0]['given']}")


def _input(stage: Stage, task: Task, ids: Mapping[str, str]) -> dict[str, Any]:
    values = {"sink": stage.sink, "step": task.step, "query": task.query, "ref": ""}
    params = [{"key": key, "input_schema": "from_user", "value": value} for key, value in values.items()]
    params += [
        {"key": f"from_{step}", "input_schema": "from_task", "value": f"{ids[step]}.output.receipt"}
        for step in task.after
    ]
    return {"input_params": {str(number): param for number, param in enumerate(params)}}
