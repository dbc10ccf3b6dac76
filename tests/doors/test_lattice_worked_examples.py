"""The worked examples of the contract, word by word, against a server as a user starts it."""

from __future__ import annotations

import asyncio
import base64
import textwrap
import time
from collections.abc import AsyncIterator
from typing import Any

import cloudpickle
import httpx2
import pytest

from doors.lattice_house import Lattice, frame, kinds, of_user, to_end
from served import RunningServer

pytestmark = pytest.mark.xdist_group("served")

INC = "def inc(params):\n    return {'y': params['x'] + 1}"
INC2 = "def inc2(params):\n    return {'z': params['y'] + 1}"


@pytest.fixture
async def lattice(server: RunningServer) -> AsyncIterator[Lattice]:
    async with httpx2.AsyncClient(base_url=server.url, timeout=30.0) as client:
        yield Lattice(client, server.url)


def reading(reference: str) -> dict[str, Any]:
    return {"input_params": {"1": {"key": "y", "input_schema": "from_task", "data_type": "int", "value": reference}}}


async def chain(lattice: Lattice, form: str) -> tuple[str, str, str]:
    """The chain of the first example; workflow and tasks."""
    created = await lattice.post("/create_workflow")
    workflow_id = created["workflow_id"]
    assert created == {"status": "success", "workflow_id": workflow_id}
    body = {"workflow_id": workflow_id, "task_type": "code", "task_name": "inc"}
    first = await lattice.post("/add_task", body)
    a = first["task_id"]
    assert first == {"status": "success", "task_id": a}
    saved = await lattice.post(
        "/save_task",
        {
            "workflow_id": workflow_id,
            "task_id": a,
            "code_str": INC,
            "task_input": of_user(x=41),
            "task_output": {"output_params": {"1": {"key": "y", "data_type": "int"}}},
            "resources": {"cpu": 1, "cpu_mem": 0, "gpu": 0, "gpu_mem": 0},
        },
    )
    assert saved == {"status": "success"}
    b = await lattice.task(workflow_id, "inc2")
    saved = await lattice.post(
        "/save_task_and_add_edge",
        {
            "workflow_id": workflow_id,
            "task_id": b,
            "task_name": "inc2",
            "code_str": INC2,
            "task_input": reading(form.format(a)),
            "task_output": {"output_params": {"1": {"key": "z", "data_type": "int"}}},
            "resources": {"cpu": 10, "cpu_mem": 123, "gpu": 0.8, "gpu_mem": 324},
            "batch_config": None,
        },
    )
    assert saved == {"status": "success"}
    edge = {"workflow_id": workflow_id, "source_task_id": a, "target_task_id": b}
    assert await lattice.post("/add_edge", edge) == {"status": "success"}
    back = {"workflow_id": workflow_id, "source_task_id": b, "target_task_id": a}
    refused = await lattice.post("/add_edge", back, 400)
    assert refused["detail"] == f"Edge {b} -> {a} would create a cycle"
    assert refused["code"] == "WORKFLOW_INVALID"
    assert refused["trace_id"]
    return workflow_id, a, b


@pytest.mark.parametrize("form", ["{}.output.y", "{}.y"])
async def test_a_chain(lattice: Lattice, form: str) -> None:
    workflow_id, a, b = await chain(lattice, form)
    started = await lattice.post("/run_workflow", {"workflow_id": workflow_id})
    run_id = started["run_id"]
    assert started == {"status": "success", "run_id": run_id}
    frames = await lattice.frames(workflow_id, run_id)
    assert [found["seq"] for found in frames] == [2, 3, 4, 5, 6]
    assert all(found["trace_id"] and found["timestamp"].endswith("Z") for found in frames)
    ids = {"workflow_id": workflow_id, "run_id": run_id}
    first, finished, second, last, end = (dict(found["data"]) for found in frames)
    assert [found["type"] for found in frames] == [
        "start_task",
        "finish_task",
        "start_task",
        "finish_task",
        "finish_workflow",
    ]
    node_id = first["node_id"]
    assert node_id.removesuffix(" (unsandboxed)") == "local-1"
    place = {"node_ip": "127.0.0.1", "node_id": node_id, "gpu_id": None, "attempt": 1}
    assert first == {**ids, "task_id": a, "task_name": "inc", **place}
    assert finished.pop("duration_ms") >= 0
    assert finished == {**ids, "task_id": a, "result": {"y": 42}}
    clamped = second.pop("clamped")
    assert second == {**ids, "task_id": b, "task_name": "inc2", **place}
    assert clamped["gpu"] == [0.8, 0]
    assert clamped["gpu_mem"] == [324, 0]
    assert clamped["cpu"][0] == 10
    assert last["result"] == {"z": 43}
    assert end == {**ids, "status": "succeeded", "failed_tasks": [], "skipped_tasks": []}
    assert await lattice.frames(workflow_id, run_id) == frames
    assert await lattice.frames(workflow_id, run_id, "?after=4") == frames[3:]


async def test_mixed_success_and_failure(lattice: Lattice) -> None:
    workflow_id = await lattice.workflow()
    good = await lattice.saved(workflow_id, "good", "def good(params):\n    return {'ok': True}")
    bad = await lattice.saved(workflow_id, "bad", "def bad(params):\n    return 1 / 0")
    after = await lattice.saved(
        workflow_id, "after", "def after(params):\n    return params", task_input=reading(f"{bad}.y")
    )
    frames = await lattice.frames(workflow_id, await lattice.run(workflow_id))
    ends = {
        found["data"]["task_id"]: found for found in frames if found["type"] not in ("start_task", "finish_workflow")
    }
    assert ends[good]["type"] == "finish_task"
    assert ends[bad]["type"] == "task_exception"
    assert ends[bad]["data"]["result"] == "Task failed: ZeroDivisionError: division by zero"
    assert ends[bad]["data"]["error_type"] == "ZeroDivisionError"
    assert ends[bad]["data"]["will_retry"] is False
    assert frames[-1]["type"] == "finish_workflow"
    assert frames[-1]["data"]["status"] == "failed"
    assert frames[-1]["data"]["failed_tasks"] == [bad]
    assert frames[-1]["data"]["skipped_tasks"] == [after]
    assert ("start_task", after) not in kinds(frames)


async def test_langgraph_calls_run_side_by_side(lattice: Lattice) -> None:
    workflow_id = await lattice.workflow()
    space: dict[str, Any] = {}
    source = """
    def cpu_tool_1(state):
        import time
        time.sleep(0.5)
        return {"result1": "CPU Tool 1 done"}
    """
    exec(textwrap.dedent(source), space)  # a function of no module, as in a notebook
    added = await lattice.post(
        "/add_langgraph_task",
        {
            "workflow_id": workflow_id,
            "task_type": "langgraph",
            "task_name": "cpu_tool_1",
            "code_ser": base64.b64encode(cloudpickle.dumps(space["cpu_tool_1"])).decode(),
            "resources": {"cpu": 1, "gpu": 0, "cpu_mem": 0, "gpu_mem": 0},
        },
    )
    task_id = added["task_id"]
    assert added == {"status": "success", "task_id": task_id}
    body = {
        "workflow_id": workflow_id,
        "task_id": task_id,
        "args": base64.b64encode(cloudpickle.dumps(({"results": []},))).decode(),
        "kwargs": base64.b64encode(cloudpickle.dumps({})).decode(),
    }
    answers = await asyncio.gather(*(lattice.post("/run_langgraph_task", body) for _ in range(3)))
    began = time.monotonic()
    answers += await asyncio.gather(*(lattice.post("/run_langgraph_task", body) for _ in range(3)))
    assert time.monotonic() - began < 1.4, "three calls of half a second go side by side"
    for answer in answers:
        assert answer == {"status": "success", "result": {"result1": "CPU Tool 1 done"}, "run_id": answer["run_id"]}
    assert len({answer["run_id"] for answer in answers}) == 6


async def test_workers(lattice: Lattice) -> None:
    head = await lattice.post("/get_head_ray_port")
    assert head == {"status": "success", "port": 6379, "executor": "local"}


async def test_cancel_and_resume(lattice: Lattice) -> None:
    workflow_id = await lattice.workflow()
    first = await lattice.saved(workflow_id, "first", "def first(params):\n    return {'y': 1}")
    slow = "def slow(params):\n    import time\n    time.sleep(60)"
    second = await lattice.saved(workflow_id, "slow", slow, task_input=reading(f"{first}.y"))
    run_id = await lattice.run(workflow_id)
    async with lattice.socket(workflow_id, run_id) as connection:
        seen = [await frame(connection)]
        connection.transport.abort()  # lost, and not closed
    async with lattice.socket(workflow_id, run_id, f"?after={seen[-1]['seq']}") as connection:
        seen += [await frame(connection) for _ in range(2)]
        assert kinds(seen) == [("start_task", first), ("finish_task", first), ("start_task", second)]
        assert [found["seq"] for found in seen] == [2, 3, 4]
        cancelled = await lattice.post("/cancel_run", {"run_id": run_id})
        assert cancelled == {"status": "success", "run_id": run_id, "state": "cancelled"}
        rest, code = await to_end(connection)
    assert code == 1000
    assert [(found["type"], found["seq"]) for found in rest] == [("finish_workflow", seen[-1]["seq"] + 1)]
    assert rest[0]["data"]["status"] == "cancelled"
    assert await lattice.post("/cancel_run", {"run_id": run_id}) == cancelled


async def test_an_idempotent_start(lattice: Lattice) -> None:
    workflow_id = await lattice.workflow()
    await lattice.saved(workflow_id, "one", "def one(params):\n    return {'y': 1}")
    name = f"nightly-{workflow_id}"
    body = {"workflow_id": workflow_id, "run_id": name}
    answers = await asyncio.gather(*(lattice.post("/run_workflow", body) for _ in range(4)))
    assert all(answer == {"status": "success", "run_id": name} for answer in answers)
    frames = await lattice.frames(workflow_id, name)
    assert len(frames) == 3
    assert frames[-1]["data"]["run_id"] == name
    await lattice.saved(workflow_id, "two", "def two(params):\n    return {'y': 1}")
    refused = await lattice.post("/run_workflow", body, 409)
    assert refused["detail"] == f"Run {name} already exists"


async def test_independent_tasks_run_side_by_side(lattice: Lattice) -> None:
    workflow_id = await lattice.workflow()
    for name, seconds in (("a", 0.5), ("b", 1.0)):
        await lattice.saved(
            workflow_id, name, f"def {name}(params):\n    import time\n    time.sleep({seconds})\n    return {{}}"
        )
    frames = await lattice.frames(workflow_id, await lattice.run(workflow_id))
    assert [found["type"] for found in frames] == [
        "start_task",
        "start_task",
        "finish_task",
        "finish_task",
        "finish_workflow",
    ]


async def test_a_workflow_without_tasks_is_done_at_once(lattice: Lattice) -> None:
    workflow_id = await lattice.workflow()
    frames = await lattice.frames(workflow_id, await lattice.run(workflow_id))
    assert [found["type"] for found in frames] == ["finish_workflow"]
    assert frames[0]["data"]["status"] == "succeeded"
