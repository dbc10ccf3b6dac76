"""Tasks of a node with a batch policy share calls and places, and each has a result of its own."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest

from engine_house import House
from interlock.backends.telemetry.prometheus import PrometheusTelemetry
from interlock.core.node_type import NodeType
from interlock.core.resources import Resources
from interlock.core.worker import Capacity
from interlock.core.workflow import BatchPolicy, ConnectionDefinition, GraphDefinition, GraphSettings, NodeDefinition
from interlock.kit.clock import SystemClock
from interlock.ports.node import Attempt, Done, Services
from interlock.ports.workers import LOCAL_WORKER
from interlock.runtime.engine import LocalEngine
from interlock.runtime.placing import Placing


class Embed:
    """Takes lists, keeps its calls, and runs once ``opened`` is set."""

    type = NodeType(name="embed", title="Embed", description="Takes lists.", place="process", schema={"type": "object"})

    def __init__(self) -> None:
        self.calls: list[list[dict[str, Any]]] = []
        self.opened = asyncio.Event()
        self.opened.set()

    async def run(self, attempt: Attempt, services: Services) -> Done:
        given = attempt.parameters["arguments"]
        self.calls.append(given if isinstance(given, list) else [given])
        await self.opened.wait()
        return Done(output=[{"n": each["n"], "of": len(given)} for each in given])


class Room:
    """An engine with four cores whose tasks share calls."""

    def __init__(self, house: House, engine: LocalEngine, placing: Placing, embed: Embed) -> None:
        self.house = house
        self.engine = engine
        self.placing = placing
        self.embed = embed

    async def start(self, count: int, policy: BatchPolicy, first: int = 0, **more: Any) -> Any:
        nodes = tuple(node(number, policy) for number in range(first, first + count))
        definition = GraphDefinition(nodes=nodes, settings=GraphSettings(on_failure="continue"), **more)
        return await self.house.start(self.engine, definition, wait=0.0)

    async def outputs(self, standing: Any) -> dict[str, Any]:
        async def is_over() -> bool:
            return (await self.engine.standing(standing.execution_id, 0)).ended_at is not None

        await self.house.until(is_over, "the end")
        rows = await self.house.rows(
            "select data from interlock.events where execution_id = $1 and type = 'task.completed'",
            standing.execution_id,
        )
        done = [msgspec.json.decode(row[0]) for row in rows]
        return {each["task_id"]: each["output"] for each in done}

    async def placements(self, standing: Any) -> list[dict[str, Any]]:
        rows = await self.house.rows(
            "select data from interlock.events where execution_id = $1 and type = 'task.started' order by seq",
            standing.execution_id,
        )
        return [msgspec.json.decode(row[0])["placement"] for row in rows]


def node(number: int, policy: BatchPolicy) -> NodeDefinition:
    return NodeDefinition(
        id=f"n{number}",
        name="embed",
        type="embed",
        parameters={"arguments": {"n": number}},
        resources=Resources(),
        batch=policy,
    )


@pytest.fixture
async def room(house: House) -> Room:
    embed = Embed()
    placing = Placing(SystemClock(), PrometheusTelemetry("test"), local=Capacity(cpu=4, memory=1_000))
    return Room(house, await house.engine(nodes=(embed,), placing=placing), placing, embed)


async def test_twelve_tasks_make_three_calls_of_four(room: Room) -> None:
    standing = await room.start(12, BatchPolicy(size=4, seconds=5.0))
    assert await room.outputs(standing) == {f"n{number}": {"n": number, "of": 4} for number in range(12)}
    assert sorted(len(call) for call in room.embed.calls) == [4, 4, 4]
    placements = await room.placements(standing)
    assert len({each["batch_id"] for each in placements}) == 3
    assert {each["batch_size"] for each in placements} == {4}


async def test_a_batch_that_is_not_full_goes_after_its_time(room: Room) -> None:
    standing = await room.start(3, BatchPolicy(size=4, seconds=0.2))
    assert await room.outputs(standing) == {f"n{number}": {"n": number, "of": 3} for number in range(3)}
    assert len(room.embed.calls) == 1


async def test_a_batch_without_a_time_goes_once_nothing_can_join(room: Room) -> None:
    standing = await room.start(3, BatchPolicy(size=4, seconds=0))
    async with asyncio.timeout(4):  # it would leave after five seconds at the latest
        assert len(await room.outputs(standing)) == 3
    assert len(room.embed.calls) == 1


async def test_a_batch_without_a_time_waits_for_a_task_behind_one_that_runs(room: Room) -> None:
    """Two wait for the third, which comes behind a batch of another kind."""
    policy = BatchPolicy(size=4, seconds=0)
    first = NodeDefinition(
        id="first", type="embed", parameters={"arguments": {"n": 9}}, resources=Resources(), batch=BatchPolicy(size=1)
    )
    definition = GraphDefinition(
        nodes=(first, *(node(number, policy) for number in range(3))),
        connections=(ConnectionDefinition(source="first", target="n2"),),
    )
    room.embed.opened.clear()
    standing = await room.house.start(room.engine, definition, wait=0.0)
    await room.house.until(lambda: len(room.embed.calls) == 1, "the first call")
    room.embed.opened.set()
    outputs = await room.outputs(standing)
    assert [outputs[f"n{number}"] for number in range(3)] == [{"n": number, "of": 3} for number in range(3)]


async def test_executions_of_one_tenant_share_calls(room: Room) -> None:
    policy = BatchPolicy(size=4, seconds=5.0)
    one, other = await asyncio.gather(room.start(2, policy), room.start(2, policy, first=2))
    assert len(await room.outputs(one)) == len(await room.outputs(other)) == 2
    assert [len(call) for call in room.embed.calls] == [4]


async def test_resources_are_set_aside_once_for_a_batch_and_come_back_with_its_last_task(room: Room) -> None:
    room.embed.opened.clear()
    standing = await room.start(4, BatchPolicy(size=4, seconds=5.0))
    await room.house.until(lambda: bool(room.embed.calls), "the call")
    assert room.placing.standing_of(LOCAL_WORKER)[0] == Resources(cpu=3, memory=1_000)
    room.embed.opened.set()
    await room.outputs(standing)
    await room.house.until(
        lambda: room.placing.standing_of(LOCAL_WORKER)[0] == Resources(cpu=4, memory=1_000), "everything given back"
    )


async def test_cancelling_one_execution_takes_its_own_tasks_only(room: Room) -> None:
    policy = BatchPolicy(size=4, seconds=0.5)
    one, other = await room.start(2, policy), await room.start(1, policy, first=2)
    await room.engine.cancel(one.execution_id, room.house.tenant.tenant_id, "me", "", "trace")
    assert await room.outputs(other) == {"n2": {"n": 2, "of": 1}}
    assert await room.outputs(one) == {}
