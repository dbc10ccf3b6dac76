"""What only the executor on Ray promises: nodes and drivers that die, servers that take over, a Ray of one's own."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from conformance.executor_trial import Submitted, Trial, is_held, wait_for_death
from conformance.ray_probe import Held
from conformance.sandbox_house import KeptCode, good_walls
from engine_house import House
from interlock.backends.executor.ray.executor import RayExecutor
from interlock.core.code import Code, Form
from interlock.core.commands import AttemptLost, TaskSucceeded
from interlock.core.errors import not_found
from interlock.core.execution import Status
from interlock.core.parcel import Parcel
from interlock.core.resources import Placement, Resources
from interlock.core.workflow import GraphDefinition, NodeDefinition
from interlock.ports.node import Attempt
from ray_house import RayHouse, ready, until

pytestmark = [pytest.mark.xdist_group("ray"), pytest.mark.cluster]
PROBES = "conformance.ray_probe:load"


@pytest.fixture
async def cluster(ray_house: RayHouse) -> RayHouse:
    await ray_house.open()
    return ray_house


@asynccontextmanager
async def opened(trial: Trial) -> AsyncIterator[Trial]:
    await trial.executor.start()
    await ready(trial)
    yield trial
    await trial.executor.stop(10)


def drivers() -> list[int]:
    """The pids of our drivers."""
    found = subprocess.run(
        ["ps", "-ww", "-o", "pid=,args=", "--ppid", str(os.getpid())], check=True, capture_output=True, text=True
    )
    return [int(line.split()[0]) for line in found.stdout.splitlines() if "executor.ray.driver" in line]


def begun(folder: Path) -> list[str]:
    """What has begun there, a line each: task, attempt, pid."""
    file = folder / "begun"
    return file.read_text().splitlines() if file.exists() else []


def held_graph(folder: Path, *names: str, resources: Resources | None = None) -> GraphDefinition:
    """Nodes that wait for the test, side by side."""
    given = {"folder": str(folder)}
    return GraphDefinition(
        nodes=tuple(NodeDefinition(id=name, type="held", parameters=given, resources=resources) for name in names)
    )


def held(trial: Trial, folder: Path, **changes: Any) -> Submitted:
    return trial.submit("held", {"folder": str(folder)}, **changes)


async def test_an_attempt_outlives_its_driver_and_is_heard_of_once(cluster: RayHouse, tmp_path: Path) -> None:
    async with opened(cluster.trial(PROBES)) as trial:
        first, cancelled = held(trial, tmp_path), trial.probe("work", lock=str(tmp_path / "lock"))
        await cancelled.begin()
        await until(lambda: begun(tmp_path), "the attempt's begin")
        for pid in drivers():
            os.kill(pid, signal.SIGKILL)
        await until(lambda: trial.executor.state != "ready", "the driver's end")  # type: ignore[attr-defined]
        cancelled.cancel()
        waiting = trial.probe("answer", value=1)
        (tmp_path / "go").touch()
        result = await first.end()
        assert isinstance(result, TaskSucceeded)
        assert len(begun(tmp_path)) == len(first.results) == 1
        assert isinstance(await waiting.end(), TaskSucceeded)
        await wait_for_death(tmp_path / "lock")
        assert cancelled.results == []


async def test_it_is_not_ready_from_when_the_cluster_is_out_of_reach_until_it_is_back() -> None:
    house = RayHouse()
    try:
        await house.open()
        trial = house.trial(PROBES)
        executor = trial.executor
        assert isinstance(executor, RayExecutor)
        async with opened(trial):
            assert executor.is_ready
            house.crash()
            await until(lambda: not executor.is_ready, "the loss of the cluster", 90.0)
            await house.open()
            await until(lambda: executor.is_ready, "its return", 90.0)
    finally:
        house.close()


async def test_a_server_that_takes_over_gets_what_the_one_before_had_begun(
    cluster: RayHouse, house: House, tmp_path: Path
) -> None:
    dead, heir = cluster.trial(PROBES, house="shared"), cluster.trial(PROBES, house="shared")
    engine = await house.engine("dead", nodes=(Held(),), executors={"ray": dead.executor})
    standing = await house.start(engine, held_graph(tmp_path, "a", "b", resources=Resources(cpu=0.5)), wait=0)
    await until(lambda: len(begun(tmp_path)) == 2, "the attempts' begin")
    crash(dead.executor)
    await house.kill(engine)
    successor = await house.engine("heir", nodes=(Held(),), executors={"ray": heir.executor})
    await until(lambda: standing.execution_id in successor.runner.owned, "the take-over")
    (tmp_path / "go").touch()
    assert (await successor.standing(standing.execution_id, 30.0)).status == Status.SUCCEEDED
    assert len(begun(tmp_path)) == 2
    assert [row for row in await house.log(standing.execution_id) if row[1] == "task.started"] == [
        (2, "task.started"),
        (3, "task.started"),
    ]

    nowhere = Submitted(heir.executor, heir.probe("answer", value=1).attempt)
    heir.executor.cancel(nowhere.attempt.execution_id, "task")
    assert attach(heir, nowhere)
    assert isinstance(await nowhere.end(), AttemptLost)
    gone = heir.submit("probe", {"do": "answer"}, placement=Placement(worker="ray-000000000000"))
    assert isinstance(await gone.end(), AttemptLost)


def attach(trial: Trial, submitted: Submitted) -> bool:
    """Have the executor seek an attempt."""
    assert isinstance(trial.executor, RayExecutor)
    attempt = submitted.attempt
    return trial.executor.attach(attempt.execution_id, attempt.task_id, attempt.attempt, submitted.take)


def crash(executor: Any) -> None:
    """As if the server had been killed: its driver goes without a word, and nothing starts another one."""
    executor._driving._is_stopped = True
    os.kill(executor._driving._process.pid, signal.SIGKILL)


class Shelf:
    """One piece of code, of one tenant."""

    async def put(self, tenant_id: str, author: str, form: Form, content: bytes) -> str:
        raise AssertionError("hosts do not write code")

    async def get(self, tenant_id: str, digest: str) -> Code:
        if (tenant_id, digest) != ("tenant", "d1"):
            raise not_found("CODE_NOT_FOUND", digest)
        return Code(digest=digest, form="pickle", content=bytes(range(256)), author="ann")


class Heard:
    """What a server was told to keep."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, str]] = []

    def write(self, attempt: Attempt, stream: str, text: str) -> None:
        self.lines.append((stream, text))


async def test_other_places_are_made_on_the_node_and_read_code_of_the_server(cluster: RayHouse) -> None:
    async with opened(cluster.trial(PROBES, places="conformance.ray_probe:places", code=Shelf())) as trial:
        read = trial.submit("reader", {"code": "d1"})
        assert (await read.end()).output == ["pickle", 256, "ann"]
        assert (await trial.submit("reader", {"code": "d2"}).end()).error.code == "CODE_NOT_FOUND"
        assert isinstance(await trial.probe("answer", value=1).end(), TaskSucceeded)


async def test_users_code_runs_in_a_sandbox_on_the_node(cluster: RayHouse) -> None:
    shelf = KeptCode()
    digest = await shelf.put(
        "tenant", "ann", "source", b"def f(params):\n  print('on it')\n  return {'n': params['n'] * 2}\n"
    )
    large = await shelf.put("tenant", "ann", "source", b"def f(params):\n  return {'rows': params['rows'] * 20_000}\n")
    total = await shelf.put("tenant", "ann", "source", b"def f(params):\n  return {'total': sum(params['rows'])}\n")
    given = {"runs_code": True, "sandbox": good_walls().mode, "may_be_weaker": False, "memory": 512, "spares": 1}
    places = "interlock.bootstrap.ray_host:open_places"
    heard = Heard()
    told: dict[str, Any] = {"places": places, "given": given, "code": shelf, "task_log": heard}
    async with opened(cluster.trial("interlock.nodes:load", **told)) as trial:
        parameters = {"code": digest, "form": "source", "function": "f", "arguments": {"n": 21}}
        assert (await trial.submit("code", parameters).end()).output == {"n": 42}
        assert heard.lines == [("stdout", "on it\n")]  # before the end
        found = (await trial.submit("code", {"code": large, "arguments": {"rows": [1, 2]}}, packs=True).end()).output
        stored = trial.blobs.contents["tenant", found["rows"].sha256]
        assert stored == b"[" + b",".join([b"1,2"] * 20_000) + b"]"
        elsewhere = Parcel(await trial.blobs.put("tenant", stored.replace(b"2", b"3")))
        for given, of_all in ((found["rows"], 60_000), (elsewhere, 80_000)):
            summed = trial.submit("code", {"code": total, "arguments": {"rows": given}}, packs=True)
            assert (await summed.end()).output == {"total": of_all}


async def test_a_killed_node_costs_an_attempt_and_the_engine_alone_runs_it_again(
    cluster: RayHouse, house: House, tmp_path: Path
) -> None:
    seen: list[set[str]] = []

    def see(machines: Any) -> None:
        seen.append({machine.worker_id for machine in machines})

    trial = cluster.trial(PROBES, on_workers=see)
    second = await cluster.add("second", 3)
    engine = await house.engine(nodes=(Held(),), executors={"process": trial.executor})
    executor: Any = trial.executor
    await until(lambda: len(executor._hosts.ready) == 2, "two hosts")
    assert second in seen[-1]
    assert executor.reaches(second, "")
    assert executor.reaches("announced", "127.0.0.1")
    assert not executor.reaches("announced", "127.0.0.9")
    standing = await house.start(engine, held_graph(tmp_path, "a", "b", "c", "d"), wait=0)
    await until(lambda: len(begun(tmp_path)) == 4, "four attempts")
    await cluster.kill("second")
    await until(lambda: len(begun(tmp_path)) == 6, "the attempts of the dead node run again")
    assert sorted(line.split()[1] for line in begun(tmp_path)) == ["1", "1", "1", "1", "2", "2"]
    (tmp_path / "go").touch()
    ended = await engine.standing(standing.execution_id, 30.0)
    assert ended.status == Status.SUCCEEDED
    await until(lambda: second not in seen[-1], "the node's leave")
    assert not executor.reaches(second, "")


async def test_a_ray_of_its_own_starts_with_the_first_attempt_and_ends_with_the_executor(
    ray_house: RayHouse, tmp_path: Path
) -> None:
    folder = tmp_path / "ray"
    trial = ray_house.trial(PROBES, address="", folder=folder)
    executor = trial.executor
    assert isinstance(executor, RayExecutor)
    await executor.start()
    assert (executor.state, drivers(), folder.exists()) == ("idle", [], False)
    first = trial.probe("work", lock=str(tmp_path / "lock"))
    assert executor.state == "starting"
    await ready(trial)
    await first.begin()
    assert executor.state == "ready"
    assert stat.S_IMODE((folder / "token").stat().st_mode) == 0o600
    group = [line.split() for line in processes(drivers()[0])]
    assert {"gcs_server", "raylet"} <= {Path(args[1]).name for args in group}
    assert listening({int(args[0]) for args in group}) == {"127.0.0.1"}
    assert not attach(trial, first), "it would have died with its server"
    elsewhere = executor._driving._elsewhere
    assert elsewhere is not None, "the paths of tests are too long for the sockets of Ray"
    await executor.stop(10)
    assert drivers() == []
    assert not is_held(tmp_path / "lock")
    await until(lambda: all(not Path(f"/proc/{args[0]}").exists() for args in group), "the end of what was started")
    assert not Path(elsewhere).exists()


def processes(session: int) -> list[str]:
    """Pid and program of all in the session that a driver leads."""
    found = subprocess.run(
        ["ps", "-ww", "-o", "pid=,args=", "-s", str(session)], check=True, capture_output=True, text=True
    )
    return found.stdout.splitlines()


def listening(pids: set[int]) -> set[str]:
    """The addresses on which these processes listen (IPv4, and IPv4 in IPv6)."""
    sockets = set()
    for pid in pids:
        for file in Path(f"/proc/{pid}/fd").iterdir():
            target = os.readlink(file) if file.is_symlink() else ""
            if target.startswith("socket:["):
                sockets.add(target[8:-1])
    found = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and fields[9] in sockets:
                number = fields[1].split(":")[0][-8:]
                found.add(".".join(str(byte) for byte in reversed(bytes.fromhex(number))))
    return found
