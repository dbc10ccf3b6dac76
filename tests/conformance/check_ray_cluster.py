"""What takes too long for every run: a cluster that goes as a whole, and comes back. `make cluster` runs it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from conformance.ray_probe import Held
from conformance.test_ray_executor import PROBES, begun, held_graph
from engine_house import House
from interlock.core.execution import Status
from interlock.ports.executor import Executor
from ray_house import RayHouse, until


def state(executor: Executor) -> str:
    told: str = executor.state  # type: ignore[attr-defined]  # it is one on Ray
    return told


@pytest.fixture
def cluster() -> Iterator[RayHouse]:
    """One of the test's own."""
    house = RayHouse()
    yield house
    house.close()


async def test_while_the_cluster_is_away_executions_wait_and_then_go_on(
    cluster: RayHouse, house: House, tmp_path: Path
) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    second.mkdir()
    await cluster.open()
    machines: list[int] = []

    def see(told: Any) -> None:
        machines.append(len(told))

    trial = cluster.trial(PROBES, patience=3.0, on_workers=see)
    engine = await house.engine(nodes=(Held(),), executors={"process": trial.executor})
    ran = await house.start(engine, held_graph(first, "a"), wait=0)
    await until(lambda: begun(first), "the first attempt")
    cluster.crash()
    await until(lambda: state(trial.executor) != "ready", "the loss of the cluster", 60.0)
    waits = await house.start(engine, held_graph(second, "b"), wait=0)
    await until(lambda: machines[-1] == 0, "the end of all patience", 60.0)
    before = time.monotonic()
    await cluster.open()
    await until(lambda: len(begun(first)) == 2 and begun(second), "both attempts on the new cluster", 60.0)
    print(f"running again {time.monotonic() - before:.1f} s after the head was told to come back")
    for folder, standing in ((first, ran), (second, waits)):
        (folder / "go").touch()
        assert (await engine.standing(standing.execution_id, 30.0)).status == Status.SUCCEEDED
    assert [line.split()[1] for line in begun(second)] == ["1"], "what waited was not tried in vain"


async def test_nodes_join_and_leave_under_work(cluster: RayHouse, house: House, tmp_path: Path) -> None:
    await cluster.open()
    seen: list[set[str]] = []

    def see(told: Any) -> None:
        seen.append({machine.worker_id for machine in told})

    trial = cluster.trial(PROBES, on_workers=see)
    engine = await house.engine(nodes=(Held(),), executors={"process": trial.executor})
    await until(lambda: state(trial.executor) == "ready", "the head's host")
    for turn in range(3):
        folder = tmp_path / str(turn)
        folder.mkdir()
        joined = await cluster.add(f"node{turn}", 2)
        await until(lambda joined=joined: joined in trial.executor._hosts.ready, "the node's host")
        standing = await house.start(engine, held_graph(folder, "a", "b"), wait=0)
        await until(lambda folder=folder: len(begun(folder)) == 2, "two attempts")
        await cluster.kill(f"node{turn}")
        await until(lambda folder=folder: len(begun(folder)) == 3, "the lost one again")
        (folder / "go").touch()
        assert (await engine.standing(standing.execution_id, 30.0)).status == Status.SUCCEEDED
        await until(lambda joined=joined: joined not in seen[-1], "the node's leave")
