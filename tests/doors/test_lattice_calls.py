"""Calls of the lattice door: what they give, how they fail, who waits, and what becomes of one without anybody."""

from __future__ import annotations

import asyncio
import base64
import textwrap
from collections.abc import AsyncIterator
from typing import Any

import cloudpickle
import httpx2
import pytest

from doors.lattice_house import SOON, Lattice
from served import RunningServer

pytestmark = pytest.mark.xdist_group("served")

SAME = "def same(params):\n    return params"


@pytest.fixture
async def lattice(server: RunningServer) -> AsyncIterator[Lattice]:
    async with httpx2.AsyncClient(base_url=server.url, timeout=30.0) as client:
        yield Lattice(client, server.url)


async def added(lattice: Lattice, workflow_id: str, source: str) -> str:
    """A task of LangGraph; the function is called f."""
    space: dict[str, Any] = {}
    exec(textwrap.dedent(source), space)  # a function of no module, as in a notebook
    pickled = base64.b64encode(cloudpickle.dumps(space["f"])).decode()
    body = {"workflow_id": workflow_id, "task_name": "f", "serialized_code": pickled}
    return str((await lattice.post("/add_langgraph_task", body))["task_id"])


def call(workflow_id: str, task_id: str, *args: Any, **kwargs: Any) -> dict[str, str]:
    pickles = {"args": args, "kwargs": kwargs}
    told = {name: base64.b64encode(cloudpickle.dumps(value)).decode() for name, value in pickles.items()}
    return {"workflow_id": workflow_id, "task_id": task_id, **told}


async def until_there_is(lattice: Lattice, server: RunningServer, workflow_id: str, status: str) -> str:
    """The run of a workflow that has one, as soon as it has this status."""
    headers = {"authorization": f"Bearer {server.token}"}
    query = f"/api/app/executions?workflow_id={workflow_id}"
    async with asyncio.timeout(SOON):
        while True:
            found = (await lattice.call("GET", query, headers=headers))["executions"]
            if [run["status"] for run in found] == [status]:
                return str(found[0]["execution_id"])


async def test_a_call_that_fails_is_an_error(lattice: Lattice) -> None:
    workflow_id = await lattice.workflow()
    task_id = await added(lattice, workflow_id, "def f(state):\n    raise KeyError('gone')")
    refused = await lattice.post("/run_langgraph_task", call(workflow_id, task_id, {}), 500)
    assert refused["detail"] == "Task failed: KeyError: 'gone'"
    assert refused["code"] == "TASK_FAILED"
    assert refused["run_id"]
    frames = await lattice.frames(workflow_id, refused["run_id"])
    assert [found["type"] for found in frames] == ["start_task", "task_exception", "finish_workflow"]


@pytest.mark.parametrize("name", ["TIMEOUT", "RESULT_NOT_JSON"])
async def test_an_exception_that_is_called_like_a_code_of_ours_is_one(lattice: Lattice, name: str) -> None:
    workflow_id = await lattice.workflow()
    source = f"def f(state):\n    raise type({name!r}, (Exception,), {{}})('mine')"
    task_id = await added(lattice, workflow_id, source)
    refused = await lattice.post("/run_langgraph_task", call(workflow_id, task_id, {}), 500)
    assert (refused["detail"], refused["code"]) == (f"Task failed: {name}: mine", "TASK_FAILED")


async def test_an_exception_that_cannot_say_what_it_is_ends_the_call(lattice: Lattice) -> None:
    workflow_id = await lattice.workflow()
    source = "def f(state):\n    raise type('Odd', (Exception,), {'__str__': lambda self: 1 / 0})()"
    task_id = await added(lattice, workflow_id, source)
    refused = await lattice.post("/run_langgraph_task", call(workflow_id, task_id, {}), 500)
    assert refused["detail"] == "Task failed: Odd: Odd"


async def test_what_is_no_json_and_what_is_no_call(lattice: Lattice) -> None:
    workflow_id = await lattice.workflow()
    task_id = await added(lattice, workflow_id, "def f(state):\n    return {'f': lambda: 1}")
    refused = await lattice.post("/run_langgraph_task", call(workflow_id, task_id, {}), 422)
    assert refused["code"] == "RESULT_NOT_JSON"
    plain = await lattice.saved(workflow_id, "same", SAME)
    refused = await lattice.post("/run_langgraph_task", call(workflow_id, plain, {}), 400)
    assert refused["detail"] == f"Task {plain} is not a langgraph task"
    refused = await lattice.post("/run_langgraph_task", call(workflow_id, "nothing", {}), 404)
    assert refused["detail"] == f"Task nothing not found in workflow {workflow_id}"


async def test_a_call_with_a_key_is_made_once(lattice: Lattice) -> None:
    workflow_id = await lattice.workflow()
    task_id = await added(lattice, workflow_id, "def f(a, b=0):\n    import os\n    return [a + b, os.getpid()]")
    body = call(workflow_id, task_id, 40, b=2)
    answers = [await lattice.post("/run_langgraph_task", body, idempotency_key=f"k-{task_id}") for _ in range(2)]
    assert answers[0] == answers[1]
    assert answers[0]["result"][0] == 42


async def test_a_client_who_leaves_cancels_the_call(lattice: Lattice, server: RunningServer) -> None:
    workflow_id = await lattice.workflow()
    task_id = await added(lattice, workflow_id, "def f():\n    import time\n    time.sleep(60)")
    with pytest.raises(httpx2.TimeoutException):
        await lattice.http.post("/run_langgraph_task", json=call(workflow_id, task_id), timeout=0.7)
    await until_there_is(lattice, server, workflow_id, "CANCELED")


async def test_a_call_gives_a_large_result_whole(lattice: Lattice) -> None:
    workflow_id = await lattice.workflow()
    task_id = await added(lattice, workflow_id, "def f():\n    return {'text': 'x' * 1_000_000}")
    answer = await lattice.post("/run_langgraph_task", call(workflow_id, task_id))
    assert answer["result"] == {"text": "x" * 1_000_000}


SLOW = "def f():\n    import os, time\n    time.sleep(1.5)\n    return os.getpid()"


async def test_who_repeats_a_call_and_leaves_takes_it_from_nobody(lattice: Lattice, server: RunningServer) -> None:
    workflow_id = await lattice.workflow()
    body, key = call(workflow_id, await added(lattice, workflow_id, SLOW)), f"k-{workflow_id}"
    first = asyncio.create_task(lattice.post("/run_langgraph_task", body, idempotency_key=key))
    run_id = await until_there_is(lattice, server, workflow_id, "RUNNING")
    with pytest.raises(httpx2.TimeoutException):
        await lattice.http.post("/run_langgraph_task", json=body, headers={"idempotency-key": key}, timeout=0.3)
    assert (await first)["run_id"] == run_id


async def test_a_call_whose_connection_broke_is_there_for_who_comes_back(
    lattice: Lattice, server: RunningServer
) -> None:
    workflow_id = await lattice.workflow()
    body, key = call(workflow_id, await added(lattice, workflow_id, SLOW)), f"k-{workflow_id}"
    with pytest.raises(httpx2.TimeoutException):
        await lattice.http.post("/run_langgraph_task", json=body, headers={"idempotency-key": key}, timeout=0.5)
    answer = await lattice.post("/run_langgraph_task", body, idempotency_key=key)
    assert await until_there_is(lattice, server, workflow_id, "SUCCESS") == answer["run_id"]


async def test_a_call_that_was_given_up_is_made_anew_for_who_comes_later(
    lattice: Lattice, server: RunningServer
) -> None:
    workflow_id = await lattice.workflow()
    body, key = call(workflow_id, await added(lattice, workflow_id, SLOW)), f"k-{workflow_id}"
    first = asyncio.create_task(lattice.post("/run_langgraph_task", body, idempotency_key=key))
    run_id = await until_there_is(lattice, server, workflow_id, "RUNNING")
    given_up = {"run_id": run_id, "reason": "nobody waits for the call any more"}  # as the server says it
    await lattice.post("/cancel_run", given_up)
    answers = [await first, await lattice.post("/run_langgraph_task", body, idempotency_key=key)]
    assert answers[0] == answers[1]
    assert answers[0]["run_id"] != run_id


async def test_a_call_that_somebody_cancelled_is_not_made_anew(lattice: Lattice, server: RunningServer) -> None:
    workflow_id = await lattice.workflow()
    body, key = call(workflow_id, await added(lattice, workflow_id, SLOW)), f"k-{workflow_id}"
    first = asyncio.create_task(lattice.post("/run_langgraph_task", body, 409, idempotency_key=key))
    run_id = await until_there_is(lattice, server, workflow_id, "RUNNING")
    await lattice.post("/cancel_run", {"run_id": run_id, "reason": "enough"})
    assert (await first)["detail"] == f"Run {run_id} was cancelled"
    refused = await lattice.post("/run_langgraph_task", body, 409, idempotency_key=key)
    assert refused["run_id"] == run_id
