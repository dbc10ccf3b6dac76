"""What a server does with attempts that one before it had started, on hosts that need no Ray around them."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from conformance.executor_trial import Submitted
from conformance.ray_probe import Held
from engine_house import House, signal
from interlock.backends.executor.ray.host import Host
from interlock.core.commands import AttemptLost, SignalKind, TaskSucceeded
from interlock.core.resources import Resources
from interlock.core.workflow import GraphDefinition, NodeDefinition
from near_cluster import OWN, Server, near_host
from ray_house import until

CANCELLED_WITHIN = 5.0
"""Seconds from a cancel until the work is dead."""


@pytest.fixture
async def host() -> AsyncIterator[Host]:
    async with near_host() as host:
        yield host


async def server(session: str, host: Host) -> Server:
    """A server that has met the host."""
    found = Server(session)
    await found.executor.start()
    found.connect(OWN)
    await found.meet(host)
    return found


def pid_of(folder: Path) -> int:
    """The process in which the last attempt began; 0 if none has."""
    file = folder / "begun"
    return int(file.read_text().splitlines()[-1].split()[2]) if file.exists() else 0


def is_dead(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


async def left_behind(host: Host, folder: Path) -> tuple[Submitted, int]:
    """An attempt of a server that was killed, and the process in which it runs on."""
    dead = await server("dead", host)
    held = dead.trial.submit("held", {"folder": str(folder)})
    await until(lambda: pid_of(folder), "its begin")
    dead.crash()
    return held, pid_of(folder)


def attach(heir: Server, held: Submitted) -> Submitted:
    """Have the heir hear of it."""
    found = Submitted(heir.executor, held.attempt)
    attempt = held.attempt
    assert heir.executor.attach(attempt.execution_id, attempt.task_id, attempt.attempt, found.take)
    return found


async def test_what_a_dead_server_left_is_ended_on_a_host_that_is_known(host: Host, tmp_path: Path) -> None:
    held, pid = await left_behind(host, tmp_path)
    heir = await server("heir", host)
    attach(heir, held).cancel()
    await until(lambda: is_dead(pid), "its death", CANCELLED_WITHIN)


@pytest.mark.parametrize("knows_nodes", [True, False])
async def test_it_is_ended_as_soon_as_its_host_is_heard_of(host: Host, tmp_path: Path, *, knows_nodes: bool) -> None:
    held, pid = await left_behind(host, tmp_path)
    heir = Server("heir")
    await heir.executor.start()
    if knows_nodes:
        heir.connect(OWN)
    taken = attach(heir, held)
    taken.cancel()
    if not knows_nodes:
        heir.connect(OWN)
    await heir.meet(host)
    await until(lambda: is_dead(pid), "its death", CANCELLED_WITHIN)
    assert taken.results == []


async def test_who_loses_an_attempt_to_another_server_hears_that_it_is_gone(host: Host, tmp_path: Path) -> None:
    first, second = await server("first", host), await server("second", host)
    held = first.trial.submit("held", {"folder": str(tmp_path)})
    await until(lambda: pid_of(tmp_path), "its begin")
    taken = attach(second, held)
    assert isinstance(await held.end(), AttemptLost)
    (tmp_path / "go").touch()
    assert isinstance(await taken.end(), TaskSucceeded)


@pytest.mark.parametrize("ends_by", ["cancel", "deadline"])
async def test_work_of_an_execution_that_ended_while_nobody_held_it_is_ended_by_who_takes_it_up(
    host: Host, house: House, tmp_path: Path, ends_by: str
) -> None:
    dead, heir = await server("dead", host), await server("heir", host)
    nodes: Any = (Held(),)
    engine = await house.engine("dead", nodes=nodes, executors={"ray": dead.executor})
    task = NodeDefinition(id="a", type="held", parameters={"folder": str(tmp_path)}, resources=Resources(cpu=0.5))
    deadline = 1.0 if ends_by == "deadline" else None
    standing = await house.start(engine, GraphDefinition(nodes=(task,)), wait=0, deadline=deadline)
    await until(lambda: pid_of(tmp_path), "the attempt's begin")
    pid = pid_of(tmp_path)
    engine.drain()
    await house.kill(engine)
    dead.crash()
    if ends_by == "deadline":
        late = "select 1 from interlock.live where execution_id = $1 and created_at < now() - interval '1 s'"
        await house.until(lambda: house.rows(late, standing.execution_id), "the deadline")
    successor = await house.engine("heir", nodes=nodes, executors={"ray": heir.executor})
    if ends_by == "cancel":
        await successor.signal(signal(house, standing.execution_id, "cancel", kind=SignalKind.CANCEL))
    await until(lambda: is_dead(pid), "its death", CANCELLED_WITHIN)
    assert [row for row in await house.log(standing.execution_id) if row[1] == "task.started"] == [(2, "task.started")]
