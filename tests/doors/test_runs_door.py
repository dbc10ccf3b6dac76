"""The runs door: every execution of a tenant with its tasks, and why those wait that wait."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest

from doors.conftest import BASE, House
from doors.lattice_house import Lattice, of_task, of_user
from interlock.core.worker import Capacity, Gpu

SAME = "def same(params):\n    return params"
NOBODY = "01990000-0000-7000-8000-000000000001"
NEVER = {"cpu": 1, "cpu_mem": 0, "gpu": 1, "gpu_mem": 0}
"""What no worker of the tests has."""


@pytest.fixture
async def lattice(house: House) -> AsyncIterator[Lattice]:
    """A caller in a fresh tenant, with all scopes but admin."""
    token = house.identity.mint("ann", f"tenant-{house.ids.new()}")
    transport = httpx2.ASGITransport(app=house.app())
    headers = {"authorization": f"Bearer {token}"}
    async with httpx2.AsyncClient(transport=transport, base_url=BASE, headers=headers) as client:
        yield Lattice(client, BASE)


async def get(lattice: Lattice, path: str, status: int = 200) -> Any:
    return await lattice.call("GET", path, status)


async def rested(lattice: Lattice, run_id: str) -> Any:
    """The run once it has ended."""
    async with asyncio.timeout(20):
        while True:
            run = await get(lattice, f"/runs/{run_id}?wait_ms=10000")
            if run["finished_at"]:
                return run


async def test_a_run_with_its_tasks_and_what_happened(lattice: Lattice) -> None:
    workflow_id = await lattice.workflow()
    code = "def one(params):\n    open('artifacts/n.txt', 'w').write('1')\n    return {'y': 1}"
    first = await lattice.saved(workflow_id, "one", code)
    second = await lattice.saved(workflow_id, "two", SAME, task_input=of_task(y=f"{first}.y"))
    run_id = await lattice.run(workflow_id, run_id="nightly:1")
    run = await rested(lattice, run_id)
    assert (run["run_id"], run["kind"], run["status"], run["workflow_id"]) == (
        run_id,
        "graph",
        "completed",
        workflow_id,
    )
    assert [(task["task_id"], task["name"], task["status"]) for task in run["tasks"]] == [
        (first, "one", "succeeded"),
        (second, "two", "succeeded"),
    ]
    assert [attempt["worker"] for attempt in run["tasks"][0]["attempts"]] == ["local-1"]
    assert [artifact["name"] for artifact in run["artifacts"]] == ["n.txt"]
    assert (await get(lattice, f"/runs/{run_id}/tasks"))["tasks"] == run["tasks"]
    assert (await get(lattice, f"/runs/{run_id}/artifacts"))["artifacts"] == run["artifacts"]

    page = await get(lattice, f"/runs/{run_id}/events?limit=2")
    assert (page["next_after"], page["has_more"]) == (2, True)
    rest = await get(lattice, f"/runs/{run_id}/events?after=2")
    told = [(event["type"], event["seq"]) for event in page["events"] + rest["events"]]
    names = ["run_started", "task_started", "task_finished", "task_started", "task_finished", "run_completed"]
    assert told == list(zip(names, range(1, 7), strict=True))
    assert (rest["next_after"], rest["has_more"]) == (6, False)


async def test_failed_and_skipped_tasks(lattice: Lattice) -> None:
    workflow_id = await lattice.workflow()
    bad = await lattice.saved(workflow_id, "bad", "def bad(params):\n    raise ValueError('no')")
    last = await lattice.saved(workflow_id, "last", SAME, task_input=of_task(y=f"{bad}.y"))
    run = await rested(lattice, await lattice.run(workflow_id))
    assert run["status"] == "failed"
    tasks = {task["task_id"]: task for task in run["tasks"]}
    assert (tasks[bad]["status"], tasks[last]["status"]) == ("failed", "skipped")
    assert tasks[bad]["error"] == tasks[bad]["attempts"][0]["error"]
    assert tasks[bad]["error"]["code"] == "ValueError"


async def test_a_task_that_no_worker_can_take_waits_in_sight(lattice: Lattice) -> None:
    workflow_id = await lattice.workflow()
    first = await lattice.saved(workflow_id, "first", SAME, resources=NEVER)
    second = await lattice.saved(workflow_id, "second", SAME, task_input=of_task(y=f"{first}.y"))
    run_id = await lattice.run(workflow_id, resource_policy="queue")
    async with asyncio.timeout(10):
        while (run := await get(lattice, f"/runs/{run_id}"))["waiting_reason"] != "no_worker":
            pass  # each turn is a request
    assert run["status"] == "running"
    assert [(task["task_id"], task["status"], task["waiting_reason"]) for task in run["tasks"]] == [
        (first, "ready", "no_capable_worker"),
        (second, "pending", None),
    ]
    assert [found["run_id"] for found in (await get(lattice, "/runs?status=running"))["runs"]] == [run_id]
    assert (await get(lattice, "/runs?status=queued"))["runs"] == []
    cancelled = await lattice.post(f"/runs/{run_id}/cancel", {"reason": "no devices"})
    assert cancelled == {"ok": True, "run_id": run_id, "status": "cancelled"}
    assert await lattice.post(f"/runs/{run_id}/cancel") == cancelled
    run = await get(lattice, f"/runs/{run_id}")
    assert [task["status"] for task in run["tasks"]] == ["cancelled", "cancelled"]
    told = (await get(lattice, f"/runs/{run_id}/events"))["events"][-1]
    assert (told["type"], told["payload"]["message"]) == ("run_cancelled", "no devices")


async def test_it_begins_once_a_worker_has_what_it_asks_for(lattice: Lattice, house: House) -> None:
    workflow_id = await lattice.workflow()
    await lattice.saved(workflow_id, "only", SAME, resources=NEVER)
    run_id = await lattice.run(workflow_id, resource_policy="queue")
    (task,) = (await get(lattice, f"/runs/{run_id}/tasks"))["tasks"]
    assert (task["status"], task["waiting_reason"], task["attempts"]) == ("ready", "no_capable_worker", [])
    placing = house.services.drafts.run._engine.runner.placing  # type: ignore[attr-defined]
    placing.set_worker("gpu-1", Capacity(cpu=1, memory=64, gpus=(Gpu(number=0),)), address="127.0.0.2")
    try:
        run = await rested(lattice, run_id)
    finally:
        placing.lose_worker("gpu-1")
    assert run["status"] == "completed"
    assert (run["tasks"][0]["worker"], run["tasks"][0]["waiting_reason"]) == ("gpu-1", None)


async def test_a_run_that_has_ended_is_run_again(lattice: Lattice) -> None:
    workflow_id = await lattice.workflow()
    task_id = await lattice.saved(workflow_id, "same", SAME, task_input=of_user(x=1))
    run_id = await lattice.run(workflow_id, inputs={task_id: {"x": 2}}, run_id="first")
    await rested(lattice, run_id)
    answer = await lattice.post(f"/runs/{run_id}/retry", {}, Idempotency_Key="again")
    assert answer["retried_from"] == run_id
    assert await lattice.post(f"/runs/{run_id}/retry", {}, Idempotency_Key="again") == answer
    again = await rested(lattice, answer["run_id"])
    assert again["status"] == "completed"
    finished = [
        event["payload"]["output"]
        for event in (await get(lattice, f"/runs/{answer['run_id']}/events"))["events"]
        if event["type"] == "task_finished"
    ]
    assert finished == [{"x": 2}]
    listed = (await get(lattice, "/runs?kind=graph&status=COMPLETED"))["runs"]
    assert [found["run_id"] for found in listed] == [answer["run_id"], run_id]
    page = await get(lattice, "/runs?limit=1")
    rest = await get(lattice, f"/runs?limit=1&cursor={page['next_cursor']}")
    assert [found["run_id"] for found in (*page["runs"], *rest["runs"])] == [answer["run_id"], run_id]


async def test_what_is_refused_and_in_which_words(lattice: Lattice, house: House) -> None:
    workflow_id = await lattice.workflow()
    await lattice.saved(workflow_id, "first", SAME, resources=NEVER)
    run_id = await lattice.run(workflow_id, resource_policy="queue")
    for method, path, body, status, code in (
        ("GET", f"/runs/{NOBODY}", None, 404, "NOT_FOUND"),
        ("GET", "/runs/nothing/tasks", None, 404, "NOT_FOUND"),
        ("GET", "/runs/nothing/events", None, 404, "NOT_FOUND"),
        ("POST", "/runs/nothing/cancel", {}, 404, "NOT_FOUND"),
        ("POST", "/runs/nothing/retry", {}, 404, "NOT_FOUND"),
        ("POST", f"/runs/{run_id}/retry", {}, 409, "STATE_CONFLICT"),
        ("POST", f"/runs/{run_id}/retry", {"from_seq": 2}, 422, "VALIDATION_ERROR"),
        ("GET", f"/runs/{run_id}/events?after=-1", None, 422, "VALIDATION_ERROR"),
        ("GET", "/runs?status=odd", None, 422, "VALIDATION_ERROR"),
        ("GET", "/runs?cursor=odd", None, 400, "INVALID_CURSOR"),
        ("GET", f"/runs/{run_id}/nothing", None, 404, "NOT_FOUND"),
    ):
        refused = await lattice.call(method, path, status, json=body)
        assert set(refused) == {"ok", "error", "code", "trace_id"}, (path, refused)
        assert (refused["ok"], refused["code"]) == (False, code), (path, refused)
    other = house.identity.mint("bob", f"tenant-{house.ids.new()}")
    foreign = {"authorization": f"Bearer {other}"}
    await lattice.call("GET", f"/runs/{run_id}", 404, headers=foreign)
    await lattice.call("POST", f"/runs/{run_id}/cancel", 404, headers=foreign, json={})
    await lattice.post("/cancel_run", {"run_id": run_id})


TALKS = """
import sys
def talks(params):
    print("first line")
    print("to the other", file=sys.stderr, flush=True)
    def inner():
        raise ValueError("no \\0 luck")
    if params["fails"]:
        inner()
    return {}
"""


async def text_of(lattice: Lattice, run_id: str, stream: str, query: str = "") -> str:
    """All that a run printed to a stream, read in small pages."""
    found, after, more = "", 0, True
    while more:
        page = await get(lattice, f"/runs/{run_id}/logs?limit=2&after={after}{query}")
        found += "".join(line["text"] for line in page["logs"] if line["stream"] == stream)
        after, more = page["next_after"], page["has_more"]
    return found


async def test_what_tasks_print_is_in_the_log_of_their_run(lattice: Lattice, house: House) -> None:
    workflow_id = await lattice.workflow()
    good = await lattice.saved(workflow_id, "talks", TALKS, task_input=of_user(fails=False))
    bad = await lattice.saved(workflow_id, "talks", TALKS, task_input=of_user(fails=True))
    run_id = await lattice.run(workflow_id)
    assert (await rested(lattice, run_id))["status"] == "failed"
    assert await text_of(lattice, run_id, "stdout") == "first line\n" * 2
    assert await text_of(lattice, run_id, "stderr", f"&task_id={good}") == "to the other\n"
    trace = await text_of(lattice, run_id, "stderr", f"&task_id={bad}")
    assert trace.startswith("to the other\nTraceback (most recent call last):\n")
    assert 'File "user_code.py", line 9, in talks' in trace
    assert 'File "user_code.py", line 7, in inner' in trace
    assert trace.endswith("ValueError: no \ufffd luck\n")
    assert "site-packages" not in trace
    foreign = {"authorization": f"Bearer {house.identity.mint('bob', f'tenant-{house.ids.new()}')}"}
    await lattice.call("GET", f"/runs/{run_id}/logs", 404, headers=foreign)


async def test_a_log_is_cut_with_a_mark(lattice: Lattice) -> None:
    workflow_id = await lattice.workflow()
    code = "def loud(params):\n    for _ in range(40):\n        print('x' * 50_000)\n    raise OSError('again')"
    retry = {"max_attempts": 3, "backoff_seconds": 0}
    await lattice.saved(workflow_id, "loud", code, retry=retry)
    run_id = await lattice.run(workflow_id)
    run = await rested(lattice, run_id)
    assert len(run["tasks"][0]["attempts"]) == 3
    text = await text_of(lattice, run_id, "stdout") + await text_of(lattice, run_id, "stderr")
    assert 1_048_576 <= len(text) < 1_300_000
    assert text.endswith("\n[cut: the task printed more than 1 MiB]\n")


async def test_a_batch_talks_once_in_each_run(lattice: Lattice) -> None:
    code = "def many(params):\n    print('a call')\n    return [{} for _ in params]"
    batch = {"enabled": True, "batch_size": 3, "batch_timeout": 5}
    workflow_id = await lattice.workflow()
    for _ in range(3):
        await lattice.saved(workflow_id, "many", code, batch_config=batch)
    run_id = await lattice.run(workflow_id)
    assert (await rested(lattice, run_id))["status"] == "completed"
    assert await text_of(lattice, run_id, "stdout") == "a call\n"
