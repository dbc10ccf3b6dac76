"""Faults that nobody has thought of, in what keeps a cluster: they are told, and it goes on. No Ray is started."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from interlock.backends.executor.frames import HEADER
from interlock.backends.executor.ray import cluster, driver, own_head
from interlock.backends.executor.ray.cluster import HostLine
from interlock.backends.executor.ray.messages import FromDriver, Node, NodeTold, Plan, Unable, read_driver
from interlock.backends.executor.ray.own_head import OwnHead
from interlock.backends.executor.ray.own_node import OwnNodeError
from near_cluster import PLAN

SOON = 20.0
NODE = Node(worker="ray-1", address="127.0.0.1", cpu=2, memory=0, gpus=0)
OF_NEAR = Plan(house="near", version="1", session="s", address="a:1", local=None, host=PLAN, call_lines=100)


class Ended(Exception):
    """Stands for the end of the driver's process."""


@asynccontextmanager
async def driven() -> AsyncIterator[tuple[driver.Driver, asyncio.StreamReader]]:
    """A driver, and what its server reads."""
    ours, theirs = socket.socketpair()
    reader, writer = await asyncio.open_connection(sock=ours)
    given = await asyncio.open_connection(sock=theirs)
    yield driver.Driver(OF_NEAR, *given), reader
    for each in (writer, given[1]):
        each.close()
        await each.wait_closed()


async def told(reader: asyncio.StreamReader) -> FromDriver:
    """The next message of a driver."""
    async with asyncio.timeout(SOON):
        length = int.from_bytes(await reader.readexactly(HEADER), "big")
        return read_driver.decode(await reader.readexactly(length))


async def test_a_driver_that_cannot_list_nodes_says_so_and_makes_room_for_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ended: list[int] = []

    def break_off() -> None:
        raise RuntimeError("GCS said something new")

    def end(code: int) -> None:
        ended.append(code)
        raise Ended

    monkeypatch.setattr(driver, "list_nodes", break_off)
    monkeypatch.setattr(os, "_exit", end)
    async with driven() as (found, reader):
        serving = asyncio.create_task(found.serve())
        said = await told(reader)
        assert said == Unable(reason="its nodes could not be listed: RuntimeError: GCS said something new")
        assert ended == [1]
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)


async def test_a_host_that_is_lost_in_a_way_that_nobody_knows_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    def break_off(*given: Any) -> None:
        raise TypeError("cannot pickle")

    monkeypatch.setattr(cluster.HostLine, "_open", break_off)
    line = HostLine(OF_NEAR, "1", NODE, on_ready=lambda worker, way: None, on_lines=lambda worker, lines: None)
    assert await line.live() == "TypeError: cannot pickle"


class Head:
    """A node of a head whose start goes as the test wants."""

    def __init__(self, start: Exception | None) -> None:
        self._start = start
        self.has_started = asyncio.Event()
        self.is_stopped = False

    async def start(self) -> NodeTold:
        self.has_started.set()
        if self._start is not None:
            raise self._start
        return NodeTold(worker="ray-1", address="127.0.0.1", cpu=1, memory=0, gpus=0)

    async def ended(self) -> str:
        await asyncio.Event().wait()
        raise AssertionError

    async def stop(self, grace: float) -> None:
        self.is_stopped = True


async def test_a_head_is_started_again_whatever_kept_it_from_starting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(own_head, "_FIRST_DELAY", 0.0)
    nodes = [Head(ValueError("nobody knows")), Head(OwnNodeError("it died")), Head(None)]
    given: Any = iter(nodes)
    keeper = OwnHead(lambda: next(given))
    keeper.start()
    await asyncio.wait_for(nodes[-1].has_started.wait(), SOON)
    assert [node.is_stopped for node in nodes] == [True, True, False]
    await keeper.stop(1.0)
    assert nodes[-1].is_stopped
