"""Runs of the lattice door: what tasks are given, how they fail, and who watches."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest

from doors.lattice_house import Lattice, frame, kinds, of_task, of_user, to_end
from served import RunningServer

pytestmark = pytest.mark.xdist_group("served")

SAME = "def same(params):\n    return params"


@pytest.fixture
async def lattice(server: RunningServer) -> AsyncIterator[Lattice]:
    async with httpx2.AsyncClient(base_url=server.url, timeout=30.0) as client:
        yield Lattice(client, server.url)


def results(frames: list[Any]) -> dict[str, Any]:
    """What each task gave."""
    return {found["data"]["task_id"]: found["data"]["result"] for found in frames if found["type"] == "finish_task"}


async def test_values_are_data_and_never_evaluated(lattice: Lattice) -> None:
    workflow_id = await lattice.workflow()
    odd = {"a": "{{ $trigger }}", "b": [1, 2.5, None, "}}"], "{{c}}": {"d": "{{ 1 + 1 }}"}}
    first = await lattice.saved(workflow_id, "same", SAME, task_input=of_user(**odd))
    second = await lattice.saved(
        workflow_id, "same", SAME, task_input=of_task(got=f"{first}.output.a", more=f"{first}.{{{{c}}}}")
    )
    frames = await lattice.frames(workflow_id, await lattice.run(workflow_id))
    assert results(frames) == {first: odd, second: {"got": odd["a"], "more": odd["{{c}}"]}}


async def test_large_results_are_passed_on_and_shown_whole(lattice: Lattice) -> None:
    workflow_id = await lattice.workflow()
    first = await lattice.saved(
        workflow_id, "large", "def large(params):\n    return {'text': 'x' * 3_000_000, 'n': 1}"
    )
    code = "def length(params):\n    return {'length': len(params['text'])}"
    second = await lattice.saved(workflow_id, "length", code, task_input=of_task(text=f"{first}.text"))
    frames = await lattice.frames(workflow_id, await lattice.run(workflow_id))
    assert results(frames) == {first: {"text": "x" * 3_000_000, "n": 1}, second: {"length": 3_000_000}}


async def test_inputs_of_a_run_go_over_those_of_the_author(lattice: Lattice) -> None:
    workflow_id = await lattice.workflow()
    task_id = await lattice.saved(workflow_id, "same", SAME, task_input=of_user(x=1, y=2))
    run_id = await lattice.run(workflow_id, inputs={task_id: {"y": 20}})
    assert results(await lattice.frames(workflow_id, run_id)) == {task_id: {"x": 1, "y": 20}}


async def test_a_key_that_a_task_does_not_give_fails_who_needs_it(lattice: Lattice) -> None:
    workflow_id = await lattice.workflow()
    first = await lattice.saved(workflow_id, "same", SAME, task_input=of_user(x=1))
    second = await lattice.saved(workflow_id, "needy", SAME, task_input=of_task(z=f"{first}.z"))
    frames = await lattice.frames(workflow_id, await lattice.run(workflow_id))
    failed = next(found["data"] for found in frames if found["type"] == "task_exception")
    assert failed["task_id"] == second
    assert failed["error_type"] == "INPUT_MISSING"
    assert failed["result"] == "Task failed: INPUT_MISSING: Input 'z' is missing: task 'same' gave no 'z'"
    assert frames[-1]["data"]["failed_tasks"] == [second]


async def test_who_lacks_an_input_holds_no_place(lattice: Lattice) -> None:
    workflow_id = await lattice.workflow()
    first = await lattice.saved(workflow_id, "same", SAME)
    needy = [await lattice.saved(workflow_id, f"n{at}", SAME, task_input=of_task(z=f"{first}.z")) for at in range(9)]
    frames = await lattice.frames(workflow_id, await lattice.run(workflow_id))
    assert sorted(frames[-1]["data"]["failed_tasks"]) == sorted(needy)
    other = await lattice.workflow()
    task_id = await lattice.saved(other, "same", SAME)
    assert results(await lattice.frames(other, await lattice.run(other))) == {task_id: {}}


async def test_a_task_behind_a_failed_and_a_good_one_is_skipped(lattice: Lattice) -> None:
    workflow_id = await lattice.workflow()
    good = await lattice.saved(workflow_id, "same", SAME)
    bad = await lattice.saved(workflow_id, "bad", "def bad(params):\n    raise ValueError('no')")
    last = await lattice.saved(workflow_id, "last", SAME)
    for source in (good, bad):
        await lattice.post("/add_edge", {"workflow_id": workflow_id, "source_task_id": source, "target_task_id": last})
    frames = await lattice.frames(workflow_id, await lattice.run(workflow_id), "?profile=full")
    assert ("start_task", last) not in kinds(frames)
    assert ("task_skipped", last) in kinds(frames)
    assert frames[-1]["data"]["skipped_tasks"] == [last]


async def test_a_cancelled_run_tells_what_had_failed_before(lattice: Lattice) -> None:
    workflow_id = await lattice.workflow()
    slow = await lattice.saved(workflow_id, "slow", "def slow(params):\n    import time\n    time.sleep(60)")
    bad = await lattice.saved(workflow_id, "bad", "def bad(params):\n    raise ValueError('no')")
    last = await lattice.saved(workflow_id, "last", SAME, task_input=of_task(y=f"{bad}.y"))
    never = await lattice.saved(workflow_id, "never", SAME, task_input=of_task(y=f"{slow}.y"))
    run_id = await lattice.run(workflow_id)
    async with lattice.socket(workflow_id, run_id, "?profile=full") as connection:
        while (await frame(connection))["type"] != "task_skipped":
            pass  # each turn waits for a frame
        cancelled = await lattice.post("/cancel_run", {"run_id": run_id})
        assert cancelled == {"status": "success", "run_id": run_id, "state": "cancelled"}
        frames, code = await to_end(connection)
    assert (frames[-1]["type"], frames[-1]["data"]["status"], code) == ("finish_workflow", "cancelled", 1000)
    assert (frames[-1]["data"]["failed_tasks"], frames[-1]["data"]["skipped_tasks"]) == ([bad], [last])
    tasks = (await lattice.call("GET", f"/runs/{run_id}/tasks"))["tasks"]
    told = {task["task_id"]: task["status"] for task in tasks}
    assert told == {slow: "cancelled", bad: "failed", last: "skipped", never: "cancelled"}
    assert await lattice.post("/cancel_run", {"run_id": run_id}) == cancelled


async def test_a_task_is_tried_again_if_it_says_so(lattice: Lattice) -> None:
    workflow_id = await lattice.workflow()
    code = """
    import os
    def flaky(params):
        if os.environ["INTERLOCK_ATTEMPT"] == "1":
            raise OSError("not yet")
        return {"attempt": os.environ["INTERLOCK_ATTEMPT"]}
    """
    retry = {"max_attempts": 2, "backoff_seconds": 0.01}
    task_id = await lattice.saved(workflow_id, "flaky", code, retry=retry)
    run_id = await lattice.run(workflow_id)
    frames = await lattice.frames(workflow_id, run_id)
    assert kinds(frames[:-1]) == [("start_task", task_id), ("start_task", task_id), ("finish_task", task_id)]
    assert [found["data"]["attempt"] for found in frames[:2]] == [1, 2]
    full = await lattice.frames(workflow_id, run_id, "?profile=full")
    again = next(found["data"] for found in full if found["type"] == "task_retry")
    assert again["result"] == "Task failed: OSError: not yet"
    assert [found for found in full if found["type"] in dict(kinds(frames))] == frames


async def test_a_started_run_is_not_touched_by_later_changes(lattice: Lattice) -> None:
    workflow_id = await lattice.workflow()
    slow = "def first(params):\n    import time\n    time.sleep(0.3)\n    return {'y': 1}"
    first = await lattice.saved(workflow_id, "first", slow)
    second = await lattice.saved(workflow_id, "same", SAME, task_input=of_task(y=f"{first}.y"))
    run_id = await lattice.run(workflow_id)
    await lattice.post("/del_task", {"workflow_id": workflow_id, "task_id": first})
    assert results(await lattice.frames(workflow_id, run_id)) == {first: {"y": 1}, second: {"y": 1}}


async def test_a_deadline_ends_a_run(lattice: Lattice) -> None:
    workflow_id = await lattice.workflow()
    await lattice.saved(workflow_id, "slow", "def slow(params):\n    import time\n    time.sleep(60)")
    run_id = await lattice.run(workflow_id, deadline_seconds=0.5)
    frames = await lattice.frames(workflow_id, run_id)
    assert frames[-1]["data"]["status"] == "failed"


async def test_many_readers_see_the_same(lattice: Lattice) -> None:
    workflow_id = await lattice.workflow()
    await lattice.saved(workflow_id, "same", SAME)
    run_id = await lattice.run(workflow_id)
    seen = await asyncio.gather(*(lattice.frames(workflow_id, run_id) for _ in range(5)))
    assert all(frames == seen[0] for frames in seen)
    assert await lattice.frames(workflow_id, run_id, f"?after={seen[0][-1]['seq']}") == []


@pytest.mark.parametrize("workflow", [True, False])
async def test_a_pair_that_is_unknown(lattice: Lattice, workflow: bool) -> None:
    workflow_id, other = await lattice.workflow(), await lattice.workflow()
    run_id = await lattice.run(workflow_id)
    pair = (workflow_id, "nothing") if workflow else (other, run_id)
    assert await lattice.watched(*pair) == ([], 4404)
    assert (await lattice.watched(workflow_id, run_id, "?after=x"))[1] == 1008


async def test_closing_a_socket_does_nothing_to_the_run(lattice: Lattice) -> None:
    workflow_id = await lattice.workflow()
    slow = "def slow(params):\n    import time\n    time.sleep(0.3)\n    return {}"
    await lattice.saved(workflow_id, "slow", slow)
    run_id = await lattice.run(workflow_id)
    async with lattice.socket(workflow_id, run_id) as connection:
        assert (await frame(connection))["type"] == "start_task"
    async with lattice.socket(workflow_id, run_id) as connection:
        frames, code = await to_end(connection)
    assert (frames[-1]["data"]["status"], code) == ("succeeded", 1000)


FAMILY = """
from no_such_client import task, Workflow
from no_such_client.tools import task as step
import no_such_client as client
from functools import wraps

def twice(function):
    @wraps(function)
    def called(params):
        return {"x": 2 * function(params)["x"]}
    return called

@step
@task(cpu=2)
@client.task
@twice
def same(params):
    return params
"""


async def test_decorators_of_a_client_that_is_not_here_are_left_out(lattice: Lattice) -> None:
    workflow_id = await lattice.workflow()
    good = await lattice.saved(workflow_id, "same", FAMILY, task_input=of_user(x=21))
    needed = [
        await lattice.saved(workflow_id, "same", code)
        for code in (
            f"from no_such_library import retry\n@retry\n{SAME}",
            f"from no_such_library import task, value\n@task\n{SAME}\nprint(value)",
            f"import no_such_library\n{SAME}",
        )
    ]
    frames = await lattice.frames(workflow_id, await lattice.run(workflow_id))
    assert results(frames) == {good: {"x": 42}}
    told = {found["data"]["task_id"]: found["data"]["result"] for found in frames if found["type"] == "task_exception"}
    missing = "Task failed: ModuleNotFoundError: No module named 'no_such_library'"
    assert told == dict.fromkeys(needed, missing)
