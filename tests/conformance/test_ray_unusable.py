"""A cluster that answers and can run nothing: it is told, tasks wait with a reason, and go on by themselves."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from conformance.executor_trial import KeptBlobs
from conformance.ray_probe import Held
from engine_house import House
from interlock.backends.executor.ray import executor as module
from interlock.backends.executor.ray.host import Host
from interlock.backends.telemetry.prometheus import PrometheusTelemetry
from interlock.bootstrap.ray import place_here
from interlock.core.commands import AttemptLost, TaskSucceeded
from interlock.core.execution import Status
from interlock.core.resources import Placement, Resources
from interlock.core.worker import Capacity
from interlock.core.workflow import GraphDefinition, NodeDefinition
from interlock.kit.clock import SystemClock
from interlock.nodes.testing import ScriptedEgress
from interlock.ports.workers import LOCAL_WORKER
from interlock.runtime.placing import Placing
from near_cluster import OWN, PLAN, Server, near_host
from ray_house import RayHouse, until

OTHER = "ray-other"
HERE = Placement(worker=LOCAL_WORKER)


@pytest.fixture
async def host() -> AsyncIterator[Host]:
    async with near_host() as host:
        yield host


async def started(**options: str) -> Server:
    server = Server("server", **options)
    await server.executor.start()
    return server


async def test_a_cluster_on_which_no_host_can_be_opened_is_not_ready_and_says_why(host: Host) -> None:
    server = await started()
    executor = server.executor
    server.connect(OWN)
    assert (executor.state, executor.is_ready, executor.takes_own()) == ("starting", True, False)
    server.lose(OWN, "ModuleNotFoundError: No module named 'interlock'")
    assert (
        executor.state == f"unavailable: the host of {OWN} was lost: ModuleNotFoundError: No module named 'interlock'"
    )
    assert (executor.is_ready, executor.takes_own()) == (False, False)
    await server.meet(host)
    assert (executor.state, executor.is_ready, executor.takes_own()) == ("ready", True, True)
    server.lose()
    assert executor.is_ready, "one that ran is opened anew"
    assert not executor.takes_own()
    server.lose()
    assert not executor.is_ready
    server.connect(OTHER)
    assert executor.is_ready, "the node that could not be used has left"


async def test_one_node_that_can_be_used_is_enough_and_the_servers_own_takes_nothing(host: Host) -> None:
    server = await started()
    server.connect(OWN, OTHER)
    server.lose(OWN)
    assert server.executor.is_ready
    await server.meet(host, OTHER)
    assert (server.executor.state, server.executor.is_ready, server.executor.takes_own()) == ("ready", True, False)
    assert server.executor.reaches(OTHER, "") == OTHER
    assert isinstance(await server.trial.probe("answer", value=1).end(), TaskSucceeded)


async def test_a_ray_of_its_own_takes_tasks_before_it_is_started() -> None:
    server = await started(address="")
    assert (server.executor.state, server.executor.takes_own()) == ("idle", True)
    server.driver.want()
    server.connect(OWN)
    assert server.executor.takes_own()
    server.lose()
    assert (server.executor.is_ready, server.executor.takes_own()) == (False, False)


async def test_what_was_placed_on_a_node_that_cannot_be_used_is_lost_and_not_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "GONE", 0.01)
    server = await started()
    server.connect(OWN)
    placed = server.trial.submit("probe", {"do": "answer"}, placement=HERE)
    anywhere = server.trial.submit("probe", {"do": "answer"})
    server.lose()
    assert isinstance(await placed.end(), AttemptLost)
    assert (server.executor.waiting, anywhere.results) == (1, [])


async def test_a_task_that_has_nowhere_to_run_does_not_begin_and_says_why(
    host: Host, house: House, tmp_path: Path
) -> None:
    server = await started()
    placing = Placing(SystemClock(), PrometheusTelemetry("test"), local=Capacity(cpu=4, memory=1_000))
    place_here(server.executor, placing)
    engine = await house.engine(nodes=(Held(),), executors={"ray": server.executor}, placing=placing)
    server.connect(OWN)
    server.lose()
    (tmp_path / "go").touch()
    task = NodeDefinition(id="a", type="held", parameters={"folder": str(tmp_path)}, resources=Resources(cpu=0.5))
    standing = await house.start(engine, GraphDefinition(nodes=(task,)), wait=0)

    async def waits() -> bool:
        return (await engine.standing(standing.execution_id, 0)).waiting_reason == "no_worker"  # type: ignore[arg-type]

    await house.until(waits, "the reason")
    assert "task.started" not in [event for _, event in await house.log(standing.execution_id)]
    await server.meet(host)
    assert (await engine.standing(standing.execution_id, 20.0)).status == Status.SUCCEEDED  # type: ignore[arg-type]


@pytest.mark.cluster
@pytest.mark.xdist_group("ray")
async def test_hosts_that_cannot_load_what_they_need_make_ray_itself_unusable(ray_house: RayHouse) -> None:
    await ray_house.open()
    executor = ray_house.trial(places="nowhere.installed:places").executor
    assert isinstance(executor, module.RayExecutor)
    await executor.start()
    try:
        await until(lambda: not executor.is_ready, "the word that nothing can run", 90.0)
        assert "No module named 'nowhere'" in executor.state
        assert not executor.takes_own()
    finally:
        await executor.stop(10)


async def test_an_address_at_which_nobody_listens_is_told_at_once_and_as_long_as_that_is_so(tmp_path: Path) -> None:
    """Ray would look for two minutes, end its program, and name no address; and again, as one that starts."""
    told = {"session": "server", "house": "near", "version": "1", "folder": tmp_path, "environment": {}}
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))  # nobody listens there, and nobody else can begin to
        address = f"127.0.0.1:{held.getsockname()[1]}"
        executor = module.RayExecutor(PLAN, ScriptedEgress([]), KeptBlobs(), address=address, **told)
        with capture_logs() as logs:
            await executor.start()
            await until(lambda: len(logs) >= 2, "two tries")
        assert {line["event"] for line in logs} == {"executor.ray_driver_ended"}
        assert all(f"nothing listens at {address}" in line["reason"] for line in logs)
        assert executor.state.startswith(f"unavailable: nothing listens at {address}")
        assert not executor.is_ready
        await executor.stop(5)
