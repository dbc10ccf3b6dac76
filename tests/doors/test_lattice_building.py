"""Building workflows by calls: every rule of the contract's table, and that a refused call changes nothing."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import httpx2
import pytest

from doors.conftest import BASE, House
from doors.lattice_house import Lattice, of_task
from interlock.doors.http.app_factory import build_app
from interlock.services.code.save import SaveCode
from interlock.services.drafts.tasks import SaveTasks

CODE = "def f(params):\n    return params"
NOBODY = "01990000-0000-7000-8000-000000000001"


@pytest.fixture
async def lattice(house: House) -> AsyncIterator[Lattice]:
    """A caller in a fresh tenant, with all scopes but admin."""
    tenant_id = f"tenant-{house.ids.new()}"
    token = house.identity.mint("ann", tenant_id)
    headers = {"authorization": f"Bearer {token}"}
    transport = httpx2.ASGITransport(app=house.app())
    async with httpx2.AsyncClient(transport=transport, base_url=BASE, headers=headers) as client:
        yield Lattice(client, BASE)


def save(workflow_id: str, task_id: str, **more: Any) -> dict[str, Any]:
    return {"workflow_id": workflow_id, "task_id": task_id, "code_str": CODE, **more}


async def refused(lattice: Lattice, path: str, body: Any, status: int = 400) -> str:
    """Why a call was refused."""
    answer = await lattice.post(path, body, status)
    assert set(answer) == {"detail", "code", "trace_id"}
    assert answer["trace_id"]
    assert answer["code"] == {400: "WORKFLOW_INVALID", 404: "NOT_FOUND"}.get(status, answer["code"])
    return str(answer["detail"])


async def test_tasks_are_listed_in_the_order_they_were_added(lattice: Lattice) -> None:
    workflow_id = await lattice.workflow()
    first = await lattice.task(workflow_id, "b")
    second = await lattice.task(workflow_id, None)
    third = await lattice.task(workflow_id, "a")
    assert await lattice.tasks(workflow_id) == [(first, "b"), (second, "task_2"), (third, "a")]
    await lattice.post("/save_task", save(workflow_id, third, task_name="c"))
    deleted = await lattice.post("/del_task", {"workflow_id": workflow_id, "task_id": first})
    assert deleted == {"status": "success", "task_id": first}
    assert await lattice.tasks(workflow_id) == [(second, "task_2"), (third, "c")]
    assert await lattice.tasks(NOBODY) == await lattice.tasks("no-id") == []


async def test_a_type_of_task_that_is_none(lattice: Lattice) -> None:
    workflow_id = await lattice.workflow()
    body = {"workflow_id": workflow_id, "task_type": "magic", "task_name": "x"}
    assert await refused(lattice, "/add_task", body) == "Invalid task type: magic"
    body = {"workflow_id": workflow_id, "task_type": "code", "task_name": "x", "code_ser": "QQ=="}
    assert await refused(lattice, "/add_langgraph_task", body) == "Invalid task type: code"
    assert await lattice.tasks(workflow_id) == []


async def test_workflows_and_tasks_that_are_not_there(lattice: Lattice) -> None:
    workflow_id = await lattice.workflow()
    task_id = await lattice.task(workflow_id, "x")
    for unknown in (NOBODY, "no-id"):
        told = f"Workflow {unknown} not found"
        assert await refused(lattice, "/add_task", {"workflow_id": unknown}, 404) == told
        assert await refused(lattice, "/save_task", save(unknown, task_id), 404) == told
        assert await refused(lattice, "/del_task", {"workflow_id": unknown, "task_id": task_id}, 404) == told
        assert await refused(lattice, "/run_workflow", {"workflow_id": unknown}, 404) == told
    told = f"Task {NOBODY} not found in workflow {workflow_id}"
    assert await refused(lattice, "/save_task", save(workflow_id, NOBODY), 404) == told
    assert await refused(lattice, "/del_task", {"workflow_id": workflow_id, "task_id": NOBODY}, 404) == told
    edge = {"workflow_id": workflow_id, "source_task_id": task_id, "target_task_id": NOBODY}
    assert await refused(lattice, "/add_edge", edge, 404) == told
    assert await refused(lattice, "/del_edge", edge, 404) == told
    assert await refused(lattice, "/cancel_run", {"run_id": "nothing"}, 404) == "Run nothing not found"


async def test_code_that_is_missing_or_unreadable(lattice: Lattice) -> None:
    workflow_id = await lattice.workflow()
    task_id = await lattice.task(workflow_id, "x")
    told = "Either code_str or serialized_code is required"
    assert await refused(lattice, "/save_task", {"workflow_id": workflow_id, "task_id": task_id}) == told
    body = save(workflow_id, task_id, serialized_code="no base64!")
    assert await refused(lattice, "/save_task", body) == "serialized_code is not valid base64"
    body = save(workflow_id, task_id, code_ser="QQ==", serialized_code="QQ==", code_str=None)
    await lattice.post("/save_task", body)
    assert await refused(lattice, "/add_langgraph_task", {"workflow_id": workflow_id}) == told


async def test_code_that_is_too_large(lattice: Lattice) -> None:
    workflow_id = await lattice.workflow()
    task_id = await lattice.task(workflow_id, "x")
    large = base64.b64encode(bytes(8 * 1_048_576 + 1)).decode()
    answer = await lattice.post("/save_task", save(workflow_id, task_id, serialized_code=large), 413)
    assert answer["detail"] == "Code exceeds 8 MiB"


@pytest.mark.parametrize(
    ("resources", "told"),
    [
        ({"cpu": 1, "tpu": 2}, "Invalid resource key(s): tpu"),
        ({"cpu": -1}, "Resource 'cpu' must be a number >= 0"),
        ({"gpu_mem": "much"}, "Resource 'gpu_mem' must be a number >= 0"),
        ({"cpu_mem": True}, "Resource 'cpu_mem' must be a number >= 0"),
    ],
)
async def test_resources_that_are_none(lattice: Lattice, resources: dict[str, Any], told: str) -> None:
    workflow_id = await lattice.workflow()
    task_id = await lattice.task(workflow_id, "x")
    assert await refused(lattice, "/save_task", save(workflow_id, task_id, resources=resources)) == told


async def test_references_that_lead_nowhere(lattice: Lattice) -> None:
    workflow_id = await lattice.workflow()
    a, b = await lattice.task(workflow_id, "a"), await lattice.task(workflow_id, "b")
    for path in ("/save_task", "/save_task_and_add_edge"):
        for value, told in (
            (f"{NOBODY}.output.y", f"Input 'y' refers to unknown task '{NOBODY}'"),
            ("y", "Input 'y' refers to unknown task 'y'"),
            (a, "Input 'y' has no output key"),
            (f"{a}.", "Input 'y' has no output key"),
            (f"{a}.output.", "Input 'y' has no output key"),
        ):
            body = save(workflow_id, b, task_name="renamed", task_input=of_task(y=value))
            assert await refused(lattice, path, body) == told
    assert await lattice.tasks(workflow_id) == [(a, "a"), (b, "b")]
    assert await refused(lattice, "/run_workflow", {"workflow_id": workflow_id}) == "Task 'a' has no code"


async def test_circles(lattice: Lattice) -> None:
    workflow_id = await lattice.workflow()
    a, b, c = [await lattice.task(workflow_id, name) for name in "abc"]

    def edge(source: str, target: str) -> dict[str, str]:
        return {"workflow_id": workflow_id, "source_task_id": source, "target_task_id": target}

    await lattice.post("/add_edge", edge(a, b))
    await lattice.post("/save_task", save(workflow_id, c, task_input=of_task(y=f"{b}.y")))
    assert await refused(lattice, "/add_edge", edge(a, a)) == f"Edge {a} -> {a} would create a cycle"
    assert await refused(lattice, "/add_edge", edge(c, a)) == f"Edge {c} -> {a} would create a cycle"
    body = save(workflow_id, a, task_input=of_task(y=f"{c}.y"))
    assert await refused(lattice, "/save_task_and_add_edge", body) == f"Edge {c} -> {a} would create a cycle"
    await lattice.post("/del_edge", edge(a, b))
    await lattice.post("/del_edge", edge(a, b))
    await lattice.post("/add_edge", edge(c, a))
    assert await refused(lattice, "/add_edge", edge(a, b)) == f"Edge {a} -> {b} would create a cycle"
    await lattice.post("/save_task", save(workflow_id, c))
    await lattice.post("/add_edge", edge(a, b))


async def test_new_references_replace_the_edges_of_the_old_ones(lattice: Lattice) -> None:
    workflow_id = await lattice.workflow()
    a, b, c = [await lattice.task(workflow_id, name) for name in "abc"]
    await lattice.post("/add_edge", {"workflow_id": workflow_id, "source_task_id": a, "target_task_id": c})
    await lattice.post("/save_task_and_add_edge", save(workflow_id, c, task_input=of_task(y=f"{b}.y")))
    await lattice.post("/save_task_and_add_edge", save(workflow_id, c))
    back = {"workflow_id": workflow_id, "source_task_id": c, "target_task_id": b}
    await lattice.post("/add_edge", back)
    forth = {"workflow_id": workflow_id, "source_task_id": c, "target_task_id": a}
    assert await refused(lattice, "/add_edge", forth) == f"Edge {c} -> {a} would create a cycle"


async def test_a_reference_to_a_task_that_was_deleted(lattice: Lattice) -> None:
    workflow_id = await lattice.workflow()
    a, b = await lattice.task(workflow_id, "a"), await lattice.task(workflow_id, "b")
    await lattice.post("/save_task_and_add_edge", save(workflow_id, b, task_input=of_task(y=f"{a}.y")))
    await lattice.post("/del_task", {"workflow_id": workflow_id, "task_id": a})
    told = f"Task 'b' refers to missing task '{a}'"
    assert await refused(lattice, "/run_workflow", {"workflow_id": workflow_id}) == told


async def test_many_clients_build_one_workflow(lattice: Lattice) -> None:
    workflow_id = await lattice.workflow()
    ids = await asyncio.gather(*(lattice.task(workflow_id, None) for _ in range(12)))
    names = [name for _, name in await lattice.tasks(workflow_id)]
    assert names == [f"task_{number}" for number in range(1, 13)]
    pairs = [(ids[0], ids[1]), (ids[1], ids[0])]
    bodies = [{"workflow_id": workflow_id, "source_task_id": a, "target_task_id": b} for a, b in pairs]
    answers = await asyncio.gather(*(lattice.http.post("/add_edge", json=body) for body in bodies))
    assert sorted(answer.status_code for answer in answers) == [200, 400], "one of two edges of a circle"


async def test_bodies_that_are_no_bodies(lattice: Lattice) -> None:
    answer = await lattice.post("/add_edge", {"workflow_id": 5}, 422)
    assert answer["code"] == "VALIDATION_ERROR"
    answer = await lattice.post("/run_workflow", {"workflow_id": NOBODY, "priority": 10}, 422)
    assert "priority" in answer["detail"]
    odd = {"input_params": {"1": {"key": "x", "input_schema": "from_mars"}}}
    await lattice.post("/save_task", save(NOBODY, NOBODY, task_input=odd), 422)


async def test_another_tenant_sees_nothing(lattice: Lattice, house: House) -> None:
    workflow_id = await lattice.workflow()
    task_id = await lattice.task(workflow_id, "x")
    token = house.identity.mint("bob", f"tenant-{house.ids.new()}")
    headers = {"authorization": f"Bearer {token}"}
    transport = httpx2.ASGITransport(app=house.app())
    async with httpx2.AsyncClient(transport=transport, base_url=BASE, headers=headers) as client:
        other = Lattice(client, BASE)
        assert await other.tasks(workflow_id) == []
        told = f"Workflow {workflow_id} not found"
        assert await refused(other, "/save_task", save(workflow_id, task_id), 404) == told
        assert await refused(other, "/run_workflow", {"workflow_id": workflow_id}, 404) == told


async def test_scopes(house: House) -> None:
    scopes = {"workflows:write", "workflows:execute", "executions:read"}
    token = house.identity.mint("cid", f"tenant-{house.ids.new()}", scopes)
    transport = httpx2.ASGITransport(app=house.app(is_local=False))
    async with httpx2.AsyncClient(transport=transport, base_url=BASE) as nobody:
        await Lattice(nobody, BASE).post("/create_workflow", None, 401)
    headers = {"authorization": f"Bearer {token}"}
    async with httpx2.AsyncClient(transport=transport, base_url=BASE, headers=headers) as client:
        caller = Lattice(client, BASE)
        workflow_id = await caller.workflow()
        task_id = await caller.task(workflow_id, "x")
        assert "code:write" in (await caller.post("/save_task", save(workflow_id, task_id), 403))["detail"]
        assert "workers:write" in (await caller.post("/get_head_ray_port", None, 403))["detail"]


async def test_code_is_refused_where_it_is_switched_off(lattice: Lattice, house: House) -> None:
    workflow_id = await lattice.workflow()
    task_id = await lattice.task(workflow_id, "x")
    context = house.context()
    off = SaveCode(house.services.save_code._shelf, is_enabled=False, has_sandbox=False)
    drafts = replace(house.services.drafts, save_task=SaveTasks(house.store, off))
    app = build_app(replace(context, services=replace(house.services, drafts=drafts)), lambda: b"")
    headers = {"authorization": lattice.http.headers["authorization"]}
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app=app), base_url=BASE, headers=headers) as client:
        caller = Lattice(client, BASE)
        answer = await caller.post("/save_task", save(workflow_id, task_id), 403)
        assert answer["detail"] == "Code execution is disabled on this server"
        assert answer["code"] == "AUTHORIZATION_FAILED"
        assert await caller.tasks(workflow_id) == [(task_id, "x")]


async def test_a_full_queue_is_told_with_its_size(lattice: Lattice, house: House) -> None:
    workflow_id = await lattice.workflow()
    task_id = await lattice.task(workflow_id, "x")
    await lattice.post("/save_task", save(workflow_id, task_id, resources={"gpu": 64}))
    placing = house.services.drafts.run._engine.runner.placing  # type: ignore[attr-defined]
    capacity, placing.waiting_cap = placing.waiting_cap, 0
    try:
        answer = await lattice.http.post("/run_workflow", json={"workflow_id": workflow_id})
    finally:
        placing.waiting_cap = capacity
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    told = {"message": "Task queue is full", "queue_name": "tasks", "current_size": 0, "capacity": 0, "retry_after": 1}
    assert answer.json() == {"detail": told, "code": "QUEUE_FULL", "trace_id": answer.json()["trace_id"]}
    rejected = await lattice.post("/run_workflow", {"workflow_id": workflow_id, "resource_policy": "reject"}, 400)
    assert rejected["code"] == "RESOURCES_UNAVAILABLE"


async def test_a_key_makes_a_repeat_the_same_call(lattice: Lattice) -> None:
    answers = [await lattice.post("/create_workflow", {}, idempotency_key="k1") for _ in range(2)]
    assert answers[0] == answers[1]
    workflow_id = answers[0]["workflow_id"]
    body = {"workflow_id": workflow_id}
    runs = [await lattice.post("/run_workflow", body, idempotency_key="r1") for _ in range(2)]
    assert runs[0] == runs[1]
    assert (await lattice.post("/run_workflow", body))["run_id"] != runs[0]["run_id"]


async def test_workers_come_and_go(lattice: Lattice, house: House) -> None:
    node_id = f"node-{house.ids.new()}"
    device = {"gpu_id": 0, "gpu_mem": 8192, "gpu_num": 1}
    resources = {"cpu": 8, "cpu_mem": 16384, "gpu_resource": {"0": device}}
    body = {"node_ip": "192.168.1.100", "node_id": node_id, "resources": resources}
    for path in ("/connect_worker", "/start_worker"):
        assert await lattice.post(path, body) == {"status": "success", "node_id": node_id, "state": "pending"}
    listed = (await lattice.call("GET", "/get_workers"))["workers"]
    found = next(worker for worker in listed if worker["node_id"] == node_id)
    assert (found["node_ip"], found["state"], found["resources"]) == ("192.168.1.100", "pending", resources)
    gone = await lattice.post("/disconnect_worker", {"node_id": node_id})
    assert gone == {"status": "success", "node_id": node_id, "running": 0}
    assert await refused(lattice, "/disconnect_worker", {"node_id": "nope"}, 404) == "Worker nope not found"
    await lattice.post("/connect_worker", {"node_id": node_id}, 422)
