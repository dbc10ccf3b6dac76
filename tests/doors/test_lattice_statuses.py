"""Every status that a caller of the lattice door can get, each made to happen for what it is for."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from typing import Any

import cloudpickle
import httpx2
import pytest

from doors.conftest import BASE, House
from doors.lattice_house import Lattice, of_task, of_user
from interlock.doors.http.lattice.operations import OPERATIONS
from interlock.services.drafts import call as calls

NOBODY = "01990000-0000-7000-8000-000000000001"
LARGE = base64.b64encode(bytes((8 << 20) + 1)).decode()
PLACE = {"node_ip": "10.0.0.9", "node_id": "w1", "resources": {"cpu": 1, "cpu_mem": 1, "gpu_resource": {}}}
NO_ARGS = {"args": base64.b64encode(cloudpickle.dumps(())).decode()}
NO_ARGS["kwargs"] = base64.b64encode(cloudpickle.dumps({})).decode()

Row = tuple[str, dict[str, Any] | None, int, str]
"""A path, a body that names things by their words in ``World``, the status, and the detail it has or begins with."""
SAVE = {"workflow_id": "W", "task_id": "EMPTY", "code_str": "def f(params):\n    return params"}
CALL = {"workflow_id": "W", "task_id": "GOOD", **NO_ARGS}
NO_WORKFLOW, NO_TASK = f"Workflow {NOBODY} not found", f"Task {NOBODY} not found in workflow W"


def saves(path: str) -> list[Row]:
    """What both calls that save a task answer."""
    return [
        (path, SAVE, 200, ""),
        (path, {**SAVE, "workflow_id": NOBODY}, 404, NO_WORKFLOW),
        (path, {**SAVE, "task_id": NOBODY}, 404, NO_TASK),
        (path, {"workflow_id": "W", "task_id": "EMPTY"}, 400, "Either code_str or serialized_code is required"),
        (path, {**SAVE, "serialized_code": "!"}, 400, "serialized_code is not valid base64"),
        (path, {**SAVE, "code_ser": LARGE}, 413, "Code exceeds 8 MiB"),
        (path, {**SAVE, "resources": {"tpu": 1}}, 400, "Invalid resource key(s): tpu"),
        (path, {**SAVE, "resources": {"cpu": -1}}, 400, "Resource 'cpu' must be a number >= 0"),
        (path, {**SAVE, "task_input": of_task(y=f"{NOBODY}.output.y")}, 400, "Input 'y' refers to unknown task"),
        (path, {**SAVE, "task_input": of_task(y="A")}, 400, "Input 'y' has no output key"),
        (path, {**SAVE, "task_input": 7}, 422, ""),
    ]


def edges(path: str) -> list[Row]:
    """What both calls about edges answer to those that cannot be."""
    return [
        (path, {"workflow_id": NOBODY, "source_task_id": "A", "target_task_id": "B"}, 404, NO_WORKFLOW),
        (path, {"workflow_id": "W", "source_task_id": "A"}, 422, ""),
    ]


TABLE: list[Row] = [
    ("/create_workflow", None, 200, ""),
    ("/create_workflow", {}, 200, ""),
    ("/create_workflow", {"name": 7}, 422, ""),
    ("/add_task", {"workflow_id": "W", "task_type": "code", "task_name": None}, 200, ""),
    ("/add_task", {"workflow_id": "W", "task_type": "shell"}, 400, "Invalid task type: shell"),
    ("/add_task", {"workflow_id": NOBODY}, 404, NO_WORKFLOW),
    ("/add_task", {}, 422, ""),
    *saves("/save_task"),
    *saves("/save_task_and_add_edge"),
    (
        "/save_task_and_add_edge",
        {**SAVE, "task_id": "A", "task_input": of_task(y="B.output.y")},
        400,
        "Edge B -> A would create a cycle",
    ),
    ("/add_edge", {"workflow_id": "W", "source_task_id": "A", "target_task_id": "B"}, 200, ""),
    ("/add_edge", {"workflow_id": "W", "source_task_id": "B", "target_task_id": "A"}, 400, "Edge B -> A would create"),
    ("/add_edge", {"workflow_id": "W", "source_task_id": "A", "target_task_id": "A"}, 400, "Edge A -> A would create"),
    ("/add_edge", {"workflow_id": "W", "source_task_id": "A", "target_task_id": NOBODY}, 404, NO_TASK),
    *edges("/add_edge"),
    ("/del_edge", {"workflow_id": "W", "source_task_id": "A", "target_task_id": "GOOD"}, 200, ""),
    *edges("/del_edge"),
    ("/del_task", {"workflow_id": "W", "task_id": NOBODY}, 404, NO_TASK),
    ("/del_task", {"workflow_id": NOBODY, "task_id": "A"}, 404, NO_WORKFLOW),
    ("/del_task", {"workflow_id": "W"}, 422, ""),
    ("/run_workflow", {"workflow_id": "RUNS", "run_id": "RUN"}, 200, ""),
    ("/run_workflow", {"workflow_id": "RUNS", "run_id": "OTHER"}, 409, "Run OTHER already exists"),
    ("/run_workflow", {"workflow_id": NOBODY}, 404, NO_WORKFLOW),
    ("/run_workflow", {"workflow_id": "HOLLOW"}, 400, "Task 'hollow' has no code"),
    ("/run_workflow", {"workflow_id": "DANGLES"}, 400, "Task 'reads' refers to missing task"),
    ("/run_workflow", {"workflow_id": "RUNS", "run_id": "a b"}, 422, "run_id: must be 1 to 128 letters"),
    ("/run_workflow", {"workflow_id": "RUNS", "priority": 10}, 422, ""),
    ("/cancel_run", {"run_id": "RUN"}, 200, ""),
    ("/cancel_run", {"run_id": "RUN"}, 200, ""),
    ("/cancel_run", {"run_id": NOBODY}, 404, ""),
    ("/cancel_run", {}, 422, ""),
    ("/add_langgraph_task", {"workflow_id": "W", "task_name": "t", "code_ser": "gARLAS4="}, 200, ""),
    (
        "/add_langgraph_task",
        {"workflow_id": "W", "task_name": "t", "task_type": "code"},
        400,
        "Invalid task type: code",
    ),
    (
        "/add_langgraph_task",
        {"workflow_id": "W", "task_name": "t"},
        400,
        "Either code_str or serialized_code is required",
    ),
    ("/add_langgraph_task", {"workflow_id": NOBODY, "task_name": "t", "code_ser": "gARLAS4="}, 404, NO_WORKFLOW),
    ("/add_langgraph_task", {"workflow_id": "W", "task_name": "t", "code_ser": LARGE}, 413, "Code exceeds 8 MiB"),
    ("/add_langgraph_task", {"workflow_id": "W", "task_name": []}, 422, ""),
    ("/run_langgraph_task", CALL, 200, ""),
    ("/run_langgraph_task", {**CALL, "workflow_id": NOBODY}, 404, NO_WORKFLOW),
    ("/run_langgraph_task", {**CALL, "task_id": NOBODY}, 404, NO_TASK),
    ("/run_langgraph_task", {**CALL, "task_id": "A"}, 400, "Task A is not a langgraph task"),
    ("/run_langgraph_task", {**CALL, "args": "!"}, 400, "args is not valid base64"),
    ("/run_langgraph_task", {**CALL, "args": LARGE}, 413, "args exceeds 8 MiB"),
    ("/run_langgraph_task", {**CALL, "task_id": "ODD"}, 422, ""),
    ("/run_langgraph_task", {**CALL, "task_id": "BAD"}, 500, "Task failed: KeyError: 'gone'"),
    ("/connect_worker", PLACE, 200, ""),
    ("/connect_worker", {}, 422, ""),
    ("/start_worker", PLACE, 200, ""),
    ("/start_worker", {**PLACE, "resources": 7}, 422, ""),
    ("/disconnect_worker", {"node_id": "w1"}, 200, ""),
    ("/disconnect_worker", {"node_id": "nope"}, 404, "Worker nope not found"),
    (
        "/disconnect_worker",
        {"node_id": "local-1"},
        400,
        "local-1 is the server's own machine; stop the server to take it away",
    ),
    ("/disconnect_worker", {}, 422, ""),
    ("/get_head_ray_port", None, 200, ""),
]


@pytest.fixture
async def lattice(house: House) -> AsyncIterator[Lattice]:
    """A caller in a fresh tenant, with all scopes but admin."""
    headers = {"authorization": f"Bearer {house.identity.mint('ann', f'tenant-{house.ids.new()}')}"}
    transport = httpx2.ASGITransport(app=house.app())
    async with httpx2.AsyncClient(transport=transport, base_url=BASE, headers=headers) as client:
        yield Lattice(client, BASE)


async def world(lattice: Lattice) -> dict[str, str]:
    """Ids by the words that the table has for them."""
    ids = {name: await lattice.workflow() for name in ("W", "HOLLOW", "DANGLES", "RUNS")}
    same = SAVE["code_str"]
    ids["A"] = await lattice.saved(ids["W"], "a", same, task_input=of_user(y=1))
    ids["B"] = await lattice.saved(ids["W"], "b", same, task_input=of_task(y=f"{ids['A']}.y"))
    ids["EMPTY"] = await lattice.task(ids["W"], "empty")
    for name, code in {"GOOD": "return 1", "BAD": "raise KeyError('gone')", "ODD": "return f"}.items():
        ids[name] = await callable_task(lattice, ids["W"], f"def f():\n    {code}")
    await lattice.task(ids["HOLLOW"], "hollow")
    gone = await lattice.saved(ids["DANGLES"], "gone", same)
    await lattice.saved(ids["DANGLES"], "reads", same, task_input=of_task(y=f"{gone}.y"))
    await lattice.post("/del_task", {"workflow_id": ids["DANGLES"], "task_id": gone})
    await lattice.run(await lattice.workflow(), run_id="OTHER")
    return ids


async def callable_task(lattice: Lattice, workflow_id: str, code: str) -> str:
    found: dict[str, Any] = {}
    exec(code, found)
    body = {"workflow_id": workflow_id, "task_name": "f", "task_type": "langgraph"}
    body["code_ser"] = base64.b64encode(cloudpickle.dumps(found["f"])).decode()
    return str((await lattice.post("/add_langgraph_task", body))["task_id"])


def named(value: Any, ids: dict[str, str]) -> Any:
    """A body, or a detail, with ids for the words."""
    if isinstance(value, dict):
        return {key: named(item, ids) for key, item in value.items()}
    if not isinstance(value, str) or value in (LARGE, SAVE["code_str"], *NO_ARGS.values()):
        return value
    return ".".join(" ".join(ids.get(word, word) for word in part.split(" ")) for part in value.split("."))


async def test_each_call_is_answered_as_it_says(lattice: Lattice) -> None:
    ids = await world(lattice)
    wrong = []
    for path, body, status, detail in TABLE:
        answer = await lattice.http.post(path, json=named(body, ids))
        told = answer.json()
        if status == 200:
            is_right = told.get("status") == "success"
        else:
            is_right = str(told.get("detail")).startswith(named(detail, ids)) and {"code", "trace_id"} <= told.keys()
        if answer.status_code != status or not is_right:
            wrong.append((path, str(body)[:200], status, answer.status_code, answer.text[:300]))
    assert not wrong
    for path in (f"/get_workflow_tasks/{NOBODY}", "/get_workers", "/metrics", "/docs"):
        assert (await lattice.http.get(path)).status_code == 200


def test_no_call_is_left_out() -> None:
    assert {one.path for one in OPERATIONS if one.method == "POST"} == {path for path, *_ in TABLE}


async def test_nothing_begins_while_nothing_could_run(
    lattice: Lattice, house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = await world(lattice)
    for part in (house.services.drafts.run, house.services.drafts.call):
        monkeypatch.setattr(part, "_is_ready", lambda: False)
    begun = len((await lattice.call("GET", "/runs"))["runs"])
    for path, body in (("/run_workflow", {"workflow_id": "RUNS"}), ("/run_langgraph_task", CALL)):
        answer = await lattice.http.post(path, json=named(body, ids))
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
        told = {"detail": "Executor not ready", "code": "EXECUTOR_UNAVAILABLE", "trace_id": answer.json()["trace_id"]}
        assert answer.json() == told
    assert len((await lattice.call("GET", "/runs"))["runs"]) == begun
    await lattice.post("/run_workflow", {"workflow_id": NOBODY}, 404)


async def test_a_call_that_takes_too_long(lattice: Lattice, monkeypatch: pytest.MonkeyPatch) -> None:
    workflow_id = await lattice.workflow()
    slow = await callable_task(lattice, workflow_id, "def f():\n    import time\n    time.sleep(60)")
    monkeypatch.setattr(calls, "LONGEST", 0.5)
    answer = await lattice.post("/run_langgraph_task", {**CALL, "workflow_id": workflow_id, "task_id": slow}, 504)
    assert answer["code"] == "TIMEOUT"
