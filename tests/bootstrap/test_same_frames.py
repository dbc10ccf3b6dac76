"""Where tasks run changes nothing of what is told of them: one workflow, its frames on each executor."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from doors.lattice_house import Lattice, of_task, of_user
from ray_house import free_port
from served import RunningServer, start_server, stop_server

SPEAKS = "def speaks(params):\n    print('so it is', params['x'])\n    return {'y': params['x'] + 1}"
FAILS = "def fails(params):\n    print('not', params['y'])\n    raise ValueError('no')"
SAME = "def same(params):\n    return params"
FLAKY = """
import os, sys
def flaky(params):
    print("try", os.environ["INTERLOCK_ATTEMPT"], file=sys.stderr)
    if os.environ["INTERLOCK_ATTEMPT"] == "1":
        raise OSError("not yet")
    return "at last"
"""
ODD = "def odd(params):\n    return {1, 2}"
PAIR = "def pair(params):\n    return [{'x': each['x'], 'of': len(params)} for each in params]"
TRACE = """Traceback (most recent call last):
  File "user_code.py", line 3, in fails
    raise ValueError('no')
ValueError: no
"""
TRIED = """try 1
Traceback (most recent call last):
  File "user_code.py", line 6, in flaky
    raise OSError("not yet")
OSError: not yet
"""

BEGUN = {"gpu_id": None, "attempt": 1}
FAILED = {"attempt": 1, "will_retry": False}
EXPECTED = {
    "speaks": [
        ("start_task", {**BEGUN, "task_name": "speaks"}),
        ("task_log", {("stdout", 1): "so it is 1\n"}),
        ("finish_task", {"result": {"y": 2}}),
    ],
    "fails": [
        ("start_task", {**BEGUN, "task_name": "fails"}),
        ("task_log", {("stdout", 1): "not 2\n", ("stderr", 1): TRACE}),
        ("task_exception", {**FAILED, "result": "Task failed: ValueError: no", "error_type": "ValueError"}),
    ],
    "behind": [("task_skipped", {"because": "no live connection reaches it"})],
    "flaky": [
        ("start_task", {**BEGUN, "task_name": "flaky"}),
        ("task_log", {("stderr", 1): TRIED}),
        ("task_retry", {"attempt": 1, "result": "Task failed: OSError: not yet"}),
        ("start_task", {**BEGUN, "task_name": "flaky", "attempt": 2}),
        ("task_log", {("stderr", 2): "try 2\n"}),
        ("finish_task", {"result": {"result": "at last"}}),
    ],
    "clamped": [
        ("start_task", {**BEGUN, "task_name": "clamped", "clamped": {"gpu": [0.5, 0]}}),
        ("finish_task", {"result": {"x": [1, 2.5, None]}}),
    ],
    "pair 1": [
        ("start_task", {**BEGUN, "task_name": "pair", "batch_size": 2}),
        ("finish_task", {"result": {"x": 1, "of": 2}}),
    ],
    "pair 2": [
        ("start_task", {**BEGUN, "task_name": "pair", "batch_size": 2}),
        ("finish_task", {"result": {"x": 2, "of": 2}}),
    ],
}
ELSEWHERE = {"workflow_id", "run_id", "task_id", "node_ip", "node_id", "batch_id", "duration_ms", "retry_at"}
"""Fields that say where and when."""


ON_RAY = [pytest.mark.cluster, pytest.mark.timeout(600)]


@pytest.fixture(
    params=[
        "inline",
        pytest.param("local", marks=pytest.mark.xdist_group("served")),
        pytest.param("ray", marks=ON_RAY),
    ]
)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[RunningServer]:
    """A server with this executor."""
    if request.param == "local":
        yield request.getfixturevalue("server")
        return
    options = ("--executor", request.param, "--ray-head-port", str(free_port()))
    process, url, token = start_server(tmp_path, *options, command=("start", "--head"))
    try:
        yield RunningServer(url, token, tmp_path, process.pid)
    finally:
        assert stop_server(process) == 0


async def made(lattice: Lattice) -> tuple[str, dict[str, str]]:
    """A workflow with everything that can become of a task; what each of its tasks is called here."""
    workflow_id = await lattice.workflow()
    names: dict[str, str] = {}

    async def add(label: str, name: str, code: str, **more: Any) -> str:
        task_id = await lattice.saved(workflow_id, name, code, **more)
        names[task_id] = label
        return task_id

    first = await add("speaks", "speaks", SPEAKS, task_input=of_user(x=1))
    bad = await add("fails", "fails", FAILS, task_input=of_task(y=f"{first}.output.y"))
    await add("behind", "behind", SAME, task_input=of_task(z=f"{bad}.z"))
    await add("flaky", "flaky", FLAKY, retry={"max_attempts": 2, "backoff_seconds": 0})
    await add("odd", "odd", ODD)
    await add("clamped", "clamped", SAME, task_input=of_user(x=[1, 2.5, None]), resources={"gpu": 0.5})
    batch = {"enabled": True, "batch_size": 2, "batch_timeout": 5}
    for at in (1, 2):
        await add(f"pair {at}", "pair", PAIR, task_input=of_user(x=at), batch_config=batch)
    return workflow_id, names


def by_task(frames: list[Any], names: dict[str, str]) -> dict[str, list[tuple[str, Any]]]:
    """What is told of each task, in order; lines that follow each other are one text for each stream and attempt."""
    told: dict[str, list[tuple[str, Any]]] = {}
    for found in frames:
        kind, data = found["type"], found["data"]
        of_task = told.setdefault(names[data["task_id"]], [])
        if kind == "task_log":
            if not of_task or of_task[-1][0] != kind:
                of_task.append((kind, {}))
            texts, key = of_task[-1][1], (data["stream"], data["attempt"])
            texts[key] = texts.get(key, "") + data["text"]
        else:
            of_task.append((kind, {name: value for name, value in data.items() if name not in ELSEWHERE}))
    return told


async def test_the_frames_are_the_same_wherever_tasks_run(place: RunningServer) -> None:
    async with httpx2.AsyncClient(base_url=place.url, timeout=60.0) as http:
        lattice = Lattice(http, place.url)
        workflow_id, names = await made(lattice)
        run_id = await lattice.run(workflow_id)
        plain = await lattice.frames(workflow_id, run_id)
        full = await lattice.frames(workflow_id, run_id, "?profile=full")
    assert [found for found in full if "seq" in found and found["type"] in dict.fromkeys(kinds_of(plain))] == plain
    assert [found["seq"] for found in full if "seq" in found] == list(range(2, 2 + sum("seq" in one for one in full)))
    told = by_task(full[:-1], names)
    odd = told.pop("odd")
    assert [kind for kind, _ in odd] == ["start_task", "task_exception"]
    assert odd[-1][1]["error_type"] == "RESULT_NOT_JSON"
    assert odd[-1][1]["result"].startswith("Task failed: RESULT_NOT_JSON: What the function returned (set) is not JSON")
    assert told == EXPECTED
    end = full[-1]
    assert (end["type"], end["data"]["status"]) == ("finish_workflow", "failed")
    assert {names[task_id] for task_id in end["data"]["failed_tasks"]} == {"fails", "odd"}
    assert [names[task_id] for task_id in end["data"]["skipped_tasks"]] == ["behind"]


def kinds_of(frames: list[Any]) -> list[str]:
    return [found["type"] for found in frames]
