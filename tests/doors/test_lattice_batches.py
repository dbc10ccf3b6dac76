"""Tasks with a batch_config share calls, as the contract's example says, and each has its own frames."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest

from doors.conftest import House
from doors.lattice_house import Lattice, of_task, of_user
from doors.socket_house import served
from served import RunningServer

pytestmark = pytest.mark.xdist_group("served")

EMBED = """
def embed(params):
    many = params if isinstance(params, list) else [params]
    if any(each["x"] < 0 for each in many):
        raise ValueError("negative")
    return [{"x": each["x"], "of": len(params)} for each in many] if isinstance(params, list) else {"x": params["x"]}
"""
SHORT = """
def short(params):
    return params[1:]
"""
ON = {"enabled": True, "batch_size": 4, "batch_timeout": 0.1}


@pytest.fixture
async def lattice(server: RunningServer) -> AsyncIterator[Lattice]:
    async with httpx2.AsyncClient(base_url=server.url, timeout=30.0) as client:
        yield Lattice(client, server.url)


async def made(lattice: Lattice, values: list[int], batch: dict[str, Any], code: str = EMBED) -> tuple[str, list[str]]:
    """A workflow of tasks of one name, one for each value."""
    workflow_id = await lattice.workflow()
    name = code.split("def ")[1].partition("(")[0]
    tasks = [
        await lattice.saved(workflow_id, name, code, task_input=of_user(x=value), batch_config=batch)
        for value in values
    ]
    return workflow_id, tasks


def shared(frames: list[Any]) -> Counter[tuple[str, int]]:
    """How many tasks each batch had, with the size that their frames say."""
    started = [found["data"] for found in frames if found["type"] == "start_task"]
    return Counter((data["batch_id"], data["batch_size"]) for data in started)


def results(frames: list[Any]) -> dict[str, Any]:
    return {found["data"]["task_id"]: found["data"]["result"] for found in frames if found["type"] == "finish_task"}


async def test_twelve_tasks_are_three_calls_of_four(lattice: Lattice) -> None:
    workflow_id, tasks = await made(lattice, list(range(12)), {**ON, "batch_timeout": 5})
    frames = await lattice.frames(workflow_id, await lattice.run(workflow_id))
    assert sorted(shared(frames).values()) == [4, 4, 4]
    assert {size for _, size in shared(frames)} == {4}
    assert results(frames) == {task_id: {"x": at, "of": 4} for at, task_id in enumerate(tasks)}


async def test_three_tasks_without_a_time_are_one_call(lattice: Lattice) -> None:
    workflow_id, tasks = await made(lattice, [1, 2, 3], {**ON, "batch_timeout": 0})
    frames = await lattice.frames(workflow_id, await lattice.run(workflow_id))
    assert results(frames) == {task_id: {"x": at, "of": 3} for at, task_id in enumerate(tasks, 1)}


async def test_a_task_behind_another_one_is_waited_for(lattice: Lattice) -> None:
    workflow_id, tasks = await made(lattice, [1, 2], {**ON, "batch_timeout": 0})
    first = await lattice.saved(workflow_id, "first", "def first(params):\n    return {'x': 9}")
    last = await lattice.saved(
        workflow_id, "embed", EMBED, task_input=of_task(x=f"{first}.x"), batch_config={**ON, "batch_timeout": 0}
    )
    found = results(await lattice.frames(workflow_id, await lattice.run(workflow_id)))
    assert [found[task_id]["of"] for task_id in (*tasks, last)] == [3, 3, 3]


async def test_a_bad_task_fails_alone(lattice: Lattice) -> None:
    workflow_id, tasks = await made(lattice, [1, -1, 3, 4], ON)
    frames = await lattice.frames(workflow_id, await lattice.run(workflow_id))
    assert results(frames) == {tasks[0]: {"x": 1}, tasks[2]: {"x": 3}, tasks[3]: {"x": 4}}
    (failed,) = [found["data"] for found in frames if found["type"] == "task_exception"]
    assert (failed["task_id"], failed["result"]) == (tasks[1], "Task failed: ValueError: negative")
    assert frames[-1]["data"]["failed_tasks"] == [tasks[1]]


async def test_a_list_of_another_length_fails_all(lattice: Lattice) -> None:
    workflow_id, tasks = await made(lattice, [1, 2, 3, 4], ON, SHORT)
    frames = await lattice.frames(workflow_id, await lattice.run(workflow_id))
    failed = [found["data"] for found in frames if found["type"] == "task_exception"]
    assert sorted(data["task_id"] for data in failed) == sorted(tasks)
    assert {data["error_type"] for data in failed} == {"BATCH_RESULT_MISMATCH"}


async def test_two_runs_share_a_call(lattice: Lattice) -> None:
    batch = {**ON, "batch_timeout": 5}
    (one, _), (other, _) = await made(lattice, [1, 2], batch), await made(lattice, [3, 4], batch)
    runs = [(workflow_id, await lattice.run(workflow_id)) for workflow_id in (one, other)]
    frames = [await lattice.frames(*each) for each in runs]
    assert shared(frames[0]).keys() == shared(frames[1]).keys()
    assert {found["of"] for each in frames for found in results(each).values()} == {4}


async def test_tenants_share_no_call(house: House) -> None:
    """Two tenants with equal tasks: each has a call of two, never one of four."""

    async def two(tenant: int) -> list[Any]:
        token = house.identity.mint("ann", f"t{tenant}-{house.ids.new()}")
        headers = {"authorization": f"Bearer {token}"}
        async with served(house.context()) as port:
            url = f"http://127.0.0.1:{port.number}"
            async with httpx2.AsyncClient(base_url=url, headers=headers) as client:
                lattice = Lattice(client, url, token)
                workflow_id, _ = await made(lattice, [1, 2], {**ON, "batch_timeout": 1})
                return await lattice.frames(workflow_id, await lattice.run(workflow_id))

    both = await asyncio.gather(two(1), two(2))
    for frames in both:
        assert list(shared(frames).values()) == [2]
        assert [result["of"] for result in results(frames).values()] == [2, 2]
    assert not shared(both[0]).keys() & shared(both[1]).keys()
