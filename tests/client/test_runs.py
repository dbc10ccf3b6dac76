"""Both clients against a server that speaks the contract: graphs are built, run, followed, cancelled."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

import interlock
from interlock.client import AsyncClient, Client, ConnectionLost, Refused, RunCancelled, RunFailed, TaskFailed
from interlock.client.frames import RunFinished, TaskFinished, TaskRaised, TaskStarted
from lattice_house import LatticeHouse, Refusal, lattice_house

FACTOR = 10


@interlock.task
def inc(params: dict) -> dict:
    return {"y": params["x"] + 1}


@interlock.task(cpu=10, memory=123, gpu=0.8, gpu_memory="324MiB", timeout=5, retry=2, batch=4)
def double(params: dict) -> dict:
    return {"z": params["y"] * 2}


@interlock.task
def scaled(params: dict) -> dict:
    return {"z": params["y"] * FACTOR}


@interlock.task
def divide(params: dict) -> dict:
    return {"q": 1 / params["by"]}


class Blocking:
    """The blocking client, called from threads."""

    def __init__(self, client: Client) -> None:
        self.client = client

    async def run(self, graph: interlock.Graph, **options: Any) -> Any:
        return _BlockingRun(await asyncio.to_thread(lambda: self.client.run(graph, **options)))

    def attach(self, *ids: str) -> Any:
        return _BlockingRun(self.client.attach(*ids))

    async def node(self, function: Any) -> Any:
        made = await asyncio.to_thread(self.client.langgraph_node, function)
        return lambda *args, **kwargs: asyncio.to_thread(made, *args, **kwargs)


class _BlockingRun:
    def __init__(self, run: Any) -> None:
        self.run_id, self.workflow_id, self._run = run.run_id, run.workflow_id, run

    async def events(self, **options: Any) -> Any:
        for frame in await asyncio.to_thread(lambda: list(self._run.events(**options))):
            yield frame

    async def result(self, timeout: float | None = None) -> Any:
        return await asyncio.to_thread(self._run.result, timeout)

    async def cancel(self) -> Any:
        return await asyncio.to_thread(self._run.cancel)


class Awaited:
    """The asyncio client."""

    def __init__(self, client: AsyncClient) -> None:
        self.client = client
        self.run, self.attach = client.run, client.attach

    async def node(self, function: Any) -> Any:
        return self.client.langgraph_node(function)


@pytest_asyncio.fixture
async def house() -> AsyncIterator[LatticeHouse]:
    async with lattice_house() as house:
        yield house


@pytest.fixture(params=["blocking", "asyncio"])
def client(request: pytest.FixtureRequest, house: LatticeHouse) -> Any:
    return Blocking(Client(house.url)) if request.param == "blocking" else Awaited(AsyncClient(house.url))


def chain() -> tuple[interlock.Graph, Any, Any]:
    graph = interlock.Graph("chain")
    first = graph.add(inc, x=41)
    return graph, first, graph.add(double, y=first["y"])


async def told(run: Any, **options: Any) -> list[Any]:
    return [frame async for frame in run.events(**options)]


async def test_a_chain_gives_its_results_by_node_and_by_name(client: Any) -> None:
    graph, first, second = chain()
    results = await (await client.run(graph)).result(10)
    assert (results[first], results[second]) == ({"y": 42}, {"z": 84})
    assert dict(results) == {"inc": {"y": 42}, "double": {"z": 84}}


async def test_what_is_asked_is_what_the_contract_says(client: Any, house: LatticeHouse) -> None:
    graph, _, second = chain()
    second.after(graph.nodes[0])
    run = await client.run(graph, run_id="nightly", priority=3, deadline=60)
    paths = [path for path, _, _ in house.asked]
    build = ["/add_task", "/save_task_and_add_edge"]
    assert paths == ["/create_workflow", *build, *build, "/add_edge", "/run_workflow"]
    first_saved, saved = (body for path, body, _ in house.asked if path == "/save_task_and_add_edge")
    workflow_id, first_id = run.workflow_id, first_saved["task_id"]
    assert first_saved == {
        "workflow_id": workflow_id,
        "task_id": first_id,
        "code_str": 'def inc(params: dict) -> dict:\n    return {"y": params["x"] + 1}\n',
        "task_input": {
            "input_params": {"1": {"key": "x", "input_schema": "from_user", "data_type": "int", "value": 41}}
        },
        "task_output": {"output_params": {"1": {"key": "y", "data_type": "any"}}},
        "resources": {"cpu": 1, "cpu_mem": 0, "gpu": 0, "gpu_mem": 0},
    }
    assert saved["task_input"]["input_params"]["1"]["value"] == f"{first_id}.output.y"
    assert saved["resources"] == {"cpu": 10, "cpu_mem": 123, "gpu": 0.8, "gpu_mem": 324}
    assert saved["batch_config"] == {"enabled": True, "batch_size": 4, "batch_timeout": 0.1}
    assert saved["retry"] == {"max_attempts": 2, "backoff_seconds": 1.0, "max_backoff_seconds": 60.0}
    assert saved["timeout_seconds"] == 5
    wanted = {"workflow_id": workflow_id, "run_id": "nightly", "priority": 3, "deadline_seconds": 60}
    assert house.asked[-1][1] == wanted


async def test_frames_come_in_order_with_their_types(client: Any) -> None:
    graph, *_ = chain()
    frames = await told(await client.run(graph))
    assert [type(frame) for frame in frames] == [TaskStarted, TaskFinished, TaskStarted, TaskFinished, RunFinished]
    assert [frame.seq for frame in frames] == [2, 3, 4, 5, 6]
    assert (frames[0].task_name, frames[0].node_id, frames[1].result) == ("inc", "local-1", {"y": 42})


async def test_a_function_that_uses_its_module_is_sent_with_what_it_uses(client: Any, house: LatticeHouse) -> None:
    graph = interlock.Graph()
    node = graph.add(scaled, y=4)
    assert (await (await client.run(graph)).result(10))[node] == {"z": 40}
    assert "code_str" not in next(body for path, body, _ in house.asked if path == "/save_task_and_add_edge")


async def test_nodes_of_one_task_are_told_apart(client: Any) -> None:
    graph = interlock.Graph()
    for number in range(3):
        graph.add(inc, x=number)
    run = await client.run(graph)
    assert dict(await run.result(10)) == {"inc": {"y": 1}, "inc_2": {"y": 2}, "inc_3": {"y": 3}}
    again = client.attach(run.workflow_id, run.run_id)
    assert dict(await again.result(10)) == {"inc": {"y": 1}, "inc_2": {"y": 2}, "inc_3": {"y": 3}}


async def test_a_failure_names_the_task_and_keeps_what_others_gave(client: Any) -> None:
    graph = interlock.Graph()
    good, bad = graph.add(inc, x=1), graph.add(divide, by=0)
    graph.add(inc, x=bad["q"])
    run = await client.run(graph)
    with pytest.raises(RunFailed, match="divide: Task failed: ZeroDivisionError: division by zero") as failed:
        await run.result(10)
    assert failed.value.failures["divide"].error_type == "ZeroDivisionError"
    assert failed.value.results[good] == {"y": 2}
    assert [type(frame) for frame in await told(run)].count(TaskRaised) == 1


async def test_a_cancelled_run_ends_so(client: Any, house: LatticeHouse) -> None:
    house.is_held = True
    run = await client.run(chain()[0])
    assert await run.cancel() == "cancelled"
    with pytest.raises(RunCancelled):
        await run.result(10)
    assert await run.cancel() == "cancelled"


async def test_a_run_that_takes_longer_goes_on(client: Any, house: LatticeHouse) -> None:
    house.is_held = True
    run = await client.run(chain()[0])
    with pytest.raises(TimeoutError):
        await run.result(0.2)
    assert house.runs[run.run_id][-1]["type"] == "start_task"


@pytest.mark.parametrize("code", [0, 1012], ids=["cut", "restart"])
async def test_a_lost_stream_goes_on_without_gap_or_repeat(client: Any, house: LatticeHouse, code: int) -> None:
    house.breaks = [(1, code), (0, code), (2, code)]
    run = await client.run(chain()[0])
    assert [frame.seq for frame in await told(run)] == [2, 3, 4, 5, 6]
    streams = [path for path, _, _ in house.asked if path.startswith("/get_workflow_res")]
    assert [path.partition("?")[2] for path in streams] == ["", "after=2", "after=2", "after=4"]


async def test_a_stream_can_begin_later_and_tell_more(client: Any, house: LatticeHouse) -> None:
    run = await client.run(chain()[0])
    await run.result(10)
    assert [frame.seq for frame in await told(run, after=4, full=True)] == [5, 6]
    assert house.asked[-1][0].endswith("?after=4&profile=full")


async def test_an_unknown_run_is_refused(client: Any) -> None:
    with pytest.raises(Refused, match="unknown pair"):
        await client.attach("W", "nope").result(10)


async def test_a_full_queue_is_waited_for(client: Any, house: LatticeHouse) -> None:
    full = {"message": "Task queue is full", "queue_name": "tasks", "retry_after": 0}
    house.refusals = [Refusal(503, "QUEUE_FULL", full, **{"Retry-After": "0"})] * 2
    await (await client.run(chain()[0])).result(10)
    starts = [body["run_id"] for path, body, _ in house.asked if path == "/run_workflow"]
    assert len(starts) == 3
    assert len(set(starts)) == 1


async def test_a_limit_is_waited_for_at_every_step(client: Any, house: LatticeHouse) -> None:
    house.busy = ["create_workflow", "add_task", "add_task", "save_task_and_add_edge"]
    graph, _, second = chain()
    assert (await (await client.run(graph)).result(10))[second] == {"z": 84}
    assert len(house.workflows) == 1
    assert sum(len(tasks) for tasks in house.workflows.values()) == 2


async def test_what_is_refused_is_told_with_what_helps(client: Any, house: LatticeHouse) -> None:
    house.refusals = [Refusal(403, "AUTHORIZATION_FAILED", "Code execution is disabled on this server")]
    with pytest.raises(Refused, match=r"403 AUTHORIZATION_FAILED: Code .* \(trace t1\)\. .*operator") as refused:
        await client.run(chain()[0])
    assert (refused.value.status, refused.value.code, refused.value.trace_id) == (403, "AUTHORIZATION_FAILED", "t1")


async def test_a_langgraph_node_runs_there(client: Any) -> None:
    def tool(state: dict, *, extra: int = 0) -> dict:
        return {"results": [*state["results"], FACTOR + extra]}

    node = await client.node(tool)
    assert await node({"results": [1]}, extra=2) == {"results": [1, 12]}
    assert await asyncio.gather(*(node({"results": []}) for _ in range(3))) == [{"results": [10]}] * 3


async def test_a_langgraph_node_that_raises_raises_here(client: Any) -> None:
    def tool(state: dict) -> dict:
        raise LookupError("no such tool")

    node = await client.node(tool)
    with pytest.raises(TaskFailed, match="Task failed: LookupError: no such tool") as failed:
        await node({})
    assert (failed.value.error_type, failed.value.run_id) == ("LookupError", "r1")


async def test_a_token_goes_along_with_everything(house: LatticeHouse) -> None:
    house.token = "secret-1"
    with pytest.raises(Refused, match=r"401 .*token"):
        await AsyncClient(house.url).run(chain()[0])
    run = await AsyncClient(house.url, token="secret-1").run(chain()[0])
    await run.result(10)
    assert house.asked[-1][2]["Authorization"] == "Bearer secret-1"


async def test_nobody_there_is_said(unused_tcp_port: int) -> None:
    url = f"http://127.0.0.1:{unused_tcp_port}"
    with pytest.raises(ConnectionLost, match=f"No answer from {url}"):
        await AsyncClient(url).run(chain()[0])
    with pytest.raises(ConnectionLost, match=f"No answer from {url}"):
        await asyncio.to_thread(Client(url).run, chain()[0])
