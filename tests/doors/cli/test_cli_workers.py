"""What the commands of workers say when it cannot work, without a Ray: heads that are away, or run without one."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx2
import pytest

from cli_house import Interlock
from interlock.core.errors import ErrorKind, InterlockError
from interlock.doors.cli.failures import not_running
from interlock.doors.cli.joining import Joining
from interlock.doors.cli.output import Output
from interlock.kit.ids import RandomIds
from served import RunningServer

pytestmark = pytest.mark.xdist_group("served")


@pytest.mark.parametrize("command", [("start", "--worker"), ("worker", "join")])
def test_a_head_without_ray_is_refused_with_what_to_do(interlock: Interlock, command: tuple[str, ...]) -> None:
    ended = interlock(*command)
    assert ended.code == 2
    assert "does not run tasks on Ray (its executor is 'local')" in ended.err
    assert "interlock start --head --executor ray" in ended.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["start", "--worker", "--addr", "head"], "'head' is no host and port."),
        (["worker", "join", "--addr", "127.0.0.1:8000/x"], "'127.0.0.1:8000/x' is no host and port."),
        (["worker", "join", "--addr", "127.0.0.1:99999"], "'127.0.0.1:99999' is not an address of a server."),
        (["start", "--worker", "--port", "8123"], "A worker has no --port."),
        (["start", "--head", "--local", "--num-cpus", "2"], "A head has no --num-cpus."),
    ],
)
def test_what_a_machine_cannot_be_told_is_refused(interlock: Interlock, arguments: list[str], said: str) -> None:
    ended = interlock(*arguments)
    assert (ended.code, ended.out) == (2, "")
    assert said in ended.err
    assert "Next:" in ended.err


def test_a_name_that_leads_nowhere_is_told_from_a_server_that_is_away(interlock: Interlock) -> None:
    ended = interlock("health", "--url", "http://nobody.invalid:8000")
    assert ended.code == 1
    assert "Nobody knows where http://nobody.invalid:8000 is." in ended.err


def test_workers_are_listed_shown_and_emptied(interlock: Interlock, server: RunningServer) -> None:
    name = f"node-{RandomIds().new().hex}"
    told = {"node_id": name, "node_ip": "10.9.9.9", "resources": {"cpu": 8, "cpu_mem": 16384}}
    assert httpx2.post(f"{server.url}/connect_worker", json=told).status_code == 200
    listed = {each["node_id"]: each["state"] for each in interlock("workers", "list", "--json").json["workers"]}
    assert (listed["local-1"], listed[name]) == ("ready", "pending")
    shown = interlock("workers", "show", name)
    assert "8 cores, 16384 MiB" in shown.out
    assert interlock("workers", "show", name, "--json").json["resources"]["cpu"] == 8
    drained = interlock("workers", "drain", name, "--grace", "5")
    assert drained.out == f"Worker {name} gets nothing new; 0 tasks run there, for 5 s at most.\n"
    assert interlock("workers", "show", name, "--json").json["state"] == "draining"
    for unknown in (("show", "nobody"), ("drain", "nobody")):
        ended = interlock("workers", *unknown)
        assert (ended.code, "Worker nobody not found" in ended.err) == (1, True)
        assert "interlock workers list" in ended.err


class Node:
    """A node that is there until it is ended."""

    worker_id, address, cpu, memory, gpus = "ray-1", "10.0.0.6", 4.0, 1000.0, 1

    def __init__(self) -> None:
        self.death: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.is_stopped = False

    async def ended(self) -> str:
        return await asyncio.shield(self.death)

    async def stop(self, grace: float) -> None:
        self.is_stopped = True


class Head:
    """A head's answers, and what it was asked. ``plan`` says which calls fail first, ``running`` what still runs."""

    url = "http://head:8000"

    def __init__(self, *plan: InterlockError, running: int = 0) -> None:
        self.plan = list(plan)
        self.running = running
        self.state = "ready"
        self.asked: list[tuple[str, Any]] = []

    async def post(self, path: str, body: Any = None) -> dict[str, Any]:
        self.asked.append((path, body))
        if self.plan:
            raise self.plan.pop(0)
        answers = {
            "/get_head_ray_port": {"port": 6380, "executor": "ray"},
            "/connect_worker": {"state": self.state},
            "/disconnect_worker": {"running": self.running},
        }
        self.running = max(0, self.running - 1)
        return answers[path]


class Trial:
    """A worker of a head, and the nodes it made."""

    def __init__(self, head: Head, capsys: pytest.CaptureFixture[str], grace: float = 5.0) -> None:
        self.nodes: list[Node] = []
        self.ports: list[int] = []
        self.capsys = capsys
        self.events: list[dict[str, Any]] = []
        self.joining = Joining(head, self.join, Output(as_json=True), grace)  # type: ignore[arg-type]
        self.task = asyncio.create_task(self.joining.run())

    async def join(self, port: int) -> Any:
        self.ports.append(port)
        self.nodes.append(Node())
        return self.nodes[-1]

    async def says(self, event: str) -> dict[str, Any]:
        async with asyncio.timeout(20):
            while True:
                self.events += map(json.loads, self.capsys.readouterr().out.splitlines())
                for told in self.events:
                    if told["event"] == event:
                        del self.events[: self.events.index(told) + 1]
                        return told
                await asyncio.sleep(0.01)


async def test_a_worker_is_announced_and_leaves_when_its_tasks_are_done(capsys: Any) -> None:
    head = Head(running=2)
    trial = Trial(head, capsys)
    assert (await trial.says("joined"))["gpus"] == 1
    await trial.says("ready")
    resources = {"cpu": 4.0, "cpu_mem": 1000.0, "gpu_resource": {"0": {"gpu_id": 0, "gpu_mem": 0, "gpu_num": 1}}}
    announced = {"node_id": "ray-1", "node_ip": "10.0.0.6", "resources": resources, "refresh": True}
    assert ("/connect_worker", announced) in head.asked
    trial.joining.stop()
    assert await trial.task == 0
    left = [body for path, body in head.asked if path == "/disconnect_worker"]
    assert left == [{"node_id": "ray-1", "grace_seconds": 5.0}] * len(left)
    assert (trial.ports, trial.nodes[0].is_stopped, head.running) == ([6380], True, 0)


async def test_a_head_that_is_away_is_tried_again_and_a_dead_node_joins_anew(
    capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("interlock.doors.cli.joining._FIRST_DELAY", 0.01)
    head = Head(not_running(Head.url), not_running(Head.url))
    trial = Trial(head, capsys)
    assert "No server answers" in (await trial.says("waiting"))["reason"]
    await trial.says("ready")
    trial.nodes[0].death.set_result("it broke")
    assert (await trial.says("lost"))["reason"] == "it broke"
    await trial.says("ready")
    trial.joining.stop()
    await trial.task
    assert [node.is_stopped for node in trial.nodes] == [True, True]


async def test_a_worker_that_somebody_empties_only_says_that_it_lives(capsys: Any) -> None:
    head = Head()
    head.state = "draining"
    trial = Trial(head, capsys)
    await trial.says("draining")
    trial.joining.stop()
    await trial.task
    told = [body["refresh"] for path, body in head.asked if path == "/connect_worker"]
    assert told
    assert all(told)


async def test_what_no_patience_mends_ends_it(capsys: Any) -> None:
    denied = InterlockError(ErrorKind.DENIED, "INSUFFICIENT_SCOPE", "no")
    trial = Trial(Head(denied), capsys)
    with pytest.raises(InterlockError, match="no"):
        await trial.task
    assert trial.nodes == []


async def test_a_second_signal_breaks_the_wait_for_tasks_off(capsys: Any) -> None:
    trial = Trial(Head(running=10**9), capsys, grace=600.0)
    await trial.says("ready")
    trial.joining.stop()
    await trial.says("draining")
    trial.joining.stop()
    assert await trial.task == 0
    assert trial.nodes[0].is_stopped
