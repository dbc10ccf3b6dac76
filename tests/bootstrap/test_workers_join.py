"""Two commands make a cluster of two machines: a head, and a worker that joins it, works, leaves, or dies."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from doors.lattice_house import Lattice, frame, to_end
from free_ports import free_port
from ray_house import RayHouse
from served import RunningServer, environment, start_server, stop_server
from serving import descendants

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]
SOON = 120.0
WHERE = "def where(params):\n    import os\n    return {'pid': os.getpid()}"
BRIEF = "def brief(params):\n    import time\n    time.sleep(3)\n    return {'done': True}"


class Worker:
    """A process of ``interlock start --worker``."""

    def __init__(self, head: RunningServer, folder: Path, *options: str) -> None:
        command = [sys.executable, "-m", "interlock", "start", "--worker", "--addr", head.url.removeprefix("http://")]
        token = head.data_dir / "ray" / "token"
        more = ["--data", str(folder), "--auth-file", str(token), "--json", *options]
        self.told: list[dict[str, Any]] = []
        self.process = subprocess.Popen(
            [*command, *more],
            stdout=subprocess.PIPE,
            text=True,
            env=environment(INTERLOCK_TOKEN=head.token),
            start_new_session=True,
        )

    async def says(self, event: str) -> dict[str, Any]:
        """Read on until it says this."""
        assert self.process.stdout is not None
        async with asyncio.timeout(SOON):
            while True:
                line = await asyncio.to_thread(self.process.stdout.readline)
                assert line, f"it ended before {event}: {self.told}"
                self.told.append(json.loads(line))
                if self.told[-1]["event"] == event:
                    return self.told[-1]

    async def leave(self) -> int:
        """Tell it to leave; its exit code."""
        self.process.send_signal(signal.SIGTERM)
        await self.says("left")
        return await self.ended()

    async def ended(self) -> int:
        return await asyncio.to_thread(self.process.wait, SOON)


@pytest.fixture(scope="module")
def head(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    data_dir = tmp_path_factory.mktemp("head")
    options = ("--executor", "ray", "--ray-head-port", str(free_port()), "--log-level", "INFO")
    process, url, token = start_server(data_dir, *options, command=("start", "--head"))
    try:
        yield RunningServer(url, token, data_dir, process.pid)
    finally:
        assert stop_server(process) == 0


@pytest.fixture
def join(head: RunningServer, tmp_path: Path) -> Iterator[Callable[..., Worker]]:
    """Starts workers of the head, which end with the test."""
    made: list[Worker] = []

    def start(*options: str) -> Worker:
        made.append(Worker(head, tmp_path / str(len(made)), *options))
        return made[-1]

    yield start
    for worker in made:
        if worker.process.poll() is None:
            worker.process.kill()
            worker.process.wait()
        assert worker.process.stdout is not None
        worker.process.stdout.close()


@pytest.fixture
async def lattice(head: RunningServer) -> AsyncIterator[Lattice]:
    headers = {"authorization": f"Bearer {head.token}"}
    async with httpx2.AsyncClient(base_url=head.url, timeout=60.0, headers=headers) as client:
        yield Lattice(client, head.url)


async def workers(lattice: Lattice) -> dict[str, dict[str, Any]]:
    return {each["node_id"]: each for each in (await lattice.call("GET", "/get_workers"))["workers"]}


async def stands(lattice: Lattice, worker: str, state: str) -> None:
    """Return when a worker stands so."""
    async with asyncio.timeout(SOON):
        while (await workers(lattice)).get(worker, {}).get("state") != state:
            await asyncio.sleep(0.1)


async def made(lattice: Lattice, code: str, cpu: int, gpu: int) -> str:
    """A workflow of a task that needs so many cores and devices."""
    workflow_id = await lattice.workflow()
    resources = {"cpu": cpu, "cpu_mem": 0, "gpu": gpu, "gpu_mem": 0}
    await lattice.saved(workflow_id, code[4:].partition("(")[0], code, resources=resources)
    return workflow_id


async def ran(lattice: Lattice, code: str, cpu: int, gpu: int = 0) -> list[Any]:
    """The frames of such a task."""
    workflow_id = await made(lattice, code, cpu, gpu)
    return await lattice.frames(workflow_id, await lattice.run(workflow_id))


def data_of(frames: list[Any], kind: str) -> Any:
    (found,) = [frame["data"] for frame in frames if frame["type"] == kind]
    return found


async def test_a_worker_joins_works_and_leaves(lattice: Lattice, join: Callable[..., Worker]) -> None:
    worker = join("--num-cpus", "50", "--memory", "1000", "--num-gpus", "2")
    joined = await worker.says("joined")
    assert (joined["cpu"], joined["memory"], joined["gpus"]) == (50.0, 1000.0, 2)
    name = joined["worker"]
    await worker.says("ready")
    async with asyncio.timeout(SOON):
        while (listed := (await workers(lattice))[name])["free"]["cpu"] == 0.0:  # until tasks can be placed there
            await asyncio.sleep(0.1)
    assert (listed["resources"]["cpu"], sorted(listed["resources"]["gpu_resource"])) == (50.0, ["0", "1"])
    frames = await ran(lattice, WHERE, 40)
    assert on(data_of(frames, "start_task")) == name
    running = asyncio.create_task(ran(lattice, BRIEF, 40))
    async with asyncio.timeout(SOON):
        while (await workers(lattice))[name]["free"]["cpu"] == 50.0:
            await asyncio.sleep(0.05)
    assert await worker.leave() == 0
    assert data_of(await running, "finish_task")["result"] == {"done": True}, "what ran there could end"
    assert not descendants(worker.process.pid)
    assert (await workers(lattice))[name]["state"] in ("draining", "lost")


async def test_a_task_that_asks_for_too_much_is_cut_down_or_waits_until_a_node_has_it(
    lattice: Lattice, join: Callable[..., Worker]
) -> None:
    one = await with_room(lattice, join("--num-cpus", "60", "--memory", "1000", "--num-gpus", "1"))
    cut = data_of(await ran(lattice, WHERE, cpu=70, gpu=3), "start_task")  # local mode clamps
    assert (on(cut), cut["gpu_id"], cut["clamped"]) == (one, 0, {"cpu": [70, 60], "gpu": [3, 1]})

    workflow_id = await made(lattice, WHERE, cpu=70, gpu=3)
    run_id = await lattice.run(workflow_id, resource_policy="queue")
    async with asyncio.timeout(SOON * 2), lattice.socket(workflow_id, run_id, "?profile=full") as connection:
        while (told := await frame(connection))["type"] != "task_waiting":
            assert told["type"] != "start_task"
        assert told["data"]["reason"] == "no_capable_worker"
        (task,) = (await lattice.call("GET", f"/runs/{run_id}/tasks"))["tasks"]
        assert (task["status"], task["waiting_reason"]) == ("ready", "no_capable_worker")

        many = join("--num-cpus", "80", "--memory", "1000", "--num-gpus", "3")
        while (told := await frame(connection))["type"] != "start_task":
            assert told["type"] == "task_waiting"
        assert on(told["data"]) == await with_room(lattice, many)
        assert "clamped" not in told["data"]
        frames, _ = await to_end(connection)
    assert data_of(frames, "finish_workflow")["status"] == "succeeded"
    refused = {"workflow_id": await made(lattice, WHERE, cpu=90, gpu=0), "resource_policy": "reject"}
    await lattice.post("/run_workflow", refused, 400)


def on(started: Any) -> str:
    """Where a task runs."""
    return str(started["node_id"]).removesuffix(" (unsandboxed)")


async def with_room(lattice: Lattice, worker: Worker) -> str:
    """The name of a worker once tasks can be placed there."""
    name = str((await worker.says("ready"))["worker"])
    async with asyncio.timeout(SOON):
        while (await workers(lattice))[name]["free"]["cpu"] == 0.0:
            await asyncio.sleep(0.1)
    return name


async def test_a_worker_that_is_killed_is_lost_with_all_it_started(
    lattice: Lattice, join: Callable[..., Worker]
) -> None:
    worker = join("--num-cpus", "1")
    name = (await worker.says("ready"))["worker"]
    below = descendants(worker.process.pid)
    assert below
    worker.process.kill()
    await worker.ended()
    await stands(lattice, name, "lost")
    async with asyncio.timeout(SOON):
        while not all(map(_is_gone, below)):
            await asyncio.sleep(0.1)


async def test_a_worker_with_another_token_gives_up(join: Callable[..., Worker], tmp_path: Path) -> None:
    (tmp_path / "token").write_text("another-token-" * 4)
    worker = join("--num-cpus", "1", "--auth-file", str(tmp_path / "token"))
    await worker.says("joining")
    assert await worker.ended() == 2


def _is_gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


async def test_the_end_of_a_head_leaves_a_foreign_ray_alone(tmp_path: Path) -> None:
    foreign = RayHouse()
    try:
        await foreign.open()
        options = ("--executor", "ray", "--ray-head-port", str(free_port()))
        process, _, _ = await asyncio.to_thread(
            start_server, tmp_path, *options, command=("start", "--head"), INTERLOCK_LOG_LEVEL="INFO"
        )
        async with asyncio.timeout(SOON):
            while "ray_head_started" not in (tmp_path / "server.log").read_text():
                await asyncio.sleep(0.1)
        below = descendants(process.pid)
        assert await asyncio.to_thread(stop_server, process) == 0
        assert all(map(_is_gone, below))
        assert (await foreign.add("further", 1)).startswith("ray-"), "the foreign cluster still takes nodes"
    finally:
        foreign.close()
