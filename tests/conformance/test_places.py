"""Tasks with resources begin where there is room for them, and give it back once, whatever their end."""

from __future__ import annotations

import asyncio
from itertools import count
from typing import Any
from uuid import UUID

import msgspec
import pytest

from engine_house import Gate, House, signal
from interlock.backends.telemetry.prometheus import PrometheusTelemetry
from interlock.core.commands import SignalKind, TaskSucceeded
from interlock.core.errors import ErrorKind, InterlockError
from interlock.core.node_type import NodeType
from interlock.core.resources import Placement, Resources
from interlock.core.worker import Capacity, Gpu
from interlock.core.workflow import ConnectionDefinition, GraphDefinition, GraphSettings, NodeDefinition, RetryPolicy
from interlock.kit.clock import SystemClock
from interlock.ports.node import Attempt, Done, NodeFailed, Services
from interlock.runtime.engine import LocalEngine
from interlock.runtime.placing import LOCAL_WORKER, Placing

WHOLE = Resources(cpu=4)


class Flaky:
    """Fails the first time."""

    type = NodeType(name="flaky", title="Flaky", description="Fails once.", schema={"type": "object"})

    def __init__(self) -> None:
        self.attempts: list[Attempt] = []

    def run(self, attempt: Attempt, services: Services) -> Done:
        self.attempts.append(attempt)
        if attempt.attempt == 1:
            raise NodeFailed("ONCE", "not yet", retryable=True)
        return Done(output={"attempt": attempt.attempt})


class Room:
    """An engine with four cores, and the gate that keeps tasks running on it."""

    def __init__(self, house: House, engine: LocalEngine, placing: Placing, gate: Gate, flaky: Flaky) -> None:
        self.house = house
        self.engine = engine
        self.placing = placing
        self.gate = gate
        self.flaky = flaky

    async def start(self, *nodes: NodeDefinition, **more: Any) -> Any:
        settings = GraphSettings(over_ask=more.pop("over_ask", None), max_parallel=more.pop("max_parallel", 100))
        definition = GraphDefinition(nodes=nodes, settings=settings, connections=more.pop("connections", ()))
        return await self.house.start(self.engine, definition, **{"wait": 0.0} | more)

    async def running(self, number: int) -> None:
        await self.house.until(lambda: len(self.gate.attempts) == number, f"{number} attempts")

    async def ended(self, standing: Any, status: str = "succeeded") -> Any:
        found = standing

        async def is_over() -> bool:
            nonlocal found
            found = await self.engine.standing(standing.execution_id, 0)
            return found.ended_at is not None

        await self.house.until(is_over, "the end")
        assert found.status == status, found
        return found

    async def reason(self, execution_id: UUID, reason: str | None) -> None:
        async def has_it() -> bool:
            return (await self.engine.standing(execution_id, 0)).waiting_reason == reason  # type: ignore[arg-type]

        await self.house.until(has_it, f"reason {reason}")

    def free(self) -> Resources:
        return self.placing.standing_of(LOCAL_WORKER)[0]

    async def all_free(self) -> None:
        await self.house.until(lambda: self.free() == Resources(cpu=4, memory=1_000), "everything given back")


def placing(**more: Any) -> Placing:
    return Placing(SystemClock(), PrometheusTelemetry("test"), local=Capacity(cpu=4, memory=1_000), **more)


@pytest.fixture
async def room(house: House) -> Room:
    gate, flaky, places = Gate(), Flaky(), placing()
    engine = await house.engine(nodes=(gate, flaky), placing=places)
    return Room(house, engine, places, gate, flaky)


_names = count()


def task(name: str = "gate", resources: Resources | None = None, **more: Any) -> NodeDefinition:
    return NodeDefinition(id=f"n{next(_names)}", type=name, resources=resources or Resources(), **more)


async def started(house: House, execution_id: UUID) -> list[dict[str, Any]]:
    rows = await house.rows(
        "select data from interlock.events where execution_id = $1 and type = 'task.started' order by seq", execution_id
    )
    return [msgspec.json.decode(row[0]) for row in rows]


async def test_as_many_run_as_there_is_room_for_and_all_of_it_comes_back(room: Room) -> None:
    standing = await room.start(*(task() for _ in range(6)))
    other = await room.start(task(resources=Resources(memory=600)), task(resources=Resources(memory=600)))
    await room.running(4)
    assert [attempt.placement for attempt in room.gate.attempts] == [Placement(worker=LOCAL_WORKER)] * 4
    assert room.free() == Resources(cpu=0, memory=1_000 - sum(a.resources.memory for a in room.gate.attempts))  # type: ignore[union-attr]
    await room.reason(
        other.execution_id, None if len({a.execution_id for a in room.gate.attempts}) > 1 else "resources"
    )
    room.gate.opened.set()
    await room.ended(standing)
    await room.ended(other)
    await room.all_free()
    assert len(await started(room.house, standing.execution_id)) == 6


async def test_a_caller_that_waits_gets_the_end_and_not_the_wait_for_room(room: Room) -> None:
    room.gate.opened.set()
    first = task("gate")
    found = await room.start(
        first,
        NodeDefinition(id="after", type="transform", parameters={"mapping": "{{ $json.by }}"}),
        connections=(ConnectionDefinition(source=first.id, target="after"),),
        wait=10.0,
    )
    assert (found.status, found.output) == ("succeeded", 1)


async def test_who_waits_says_why_and_goes_on_when_a_worker_comes(room: Room) -> None:
    standing = await room.start(task(resources=Resources(gpu=1)))
    await room.reason(standing.execution_id, "no_worker")
    blocked, waits = await room.start(task(resources=WHOLE)), await room.start(task(resources=WHOLE))
    await room.running(1)
    await room.reason(waits.execution_id, "resources")
    capacity = Capacity(cpu=1, memory=100, gpus=(Gpu(number=2, memory=8_000),))
    room.placing.set_worker("gpu-1", capacity, address="10.1.1.1")
    await room.running(2)
    assert room.gate.attempts[1].placement == Placement(worker="gpu-1", address="10.1.1.1", gpus=(2,))
    # Its worker is lost: so is the attempt, and the task waits for another one.
    assert room.placing.lose_worker("gpu-1") == 1
    await room.reason(standing.execution_id, "no_worker")
    room.placing.set_worker("gpu-2", capacity)
    await room.running(3)
    again = await started(room.house, standing.execution_id)
    assert [(found.get("attempt", 1), found.get("replaces", "")) for found in again] == [(1, ""), (2, "lost")]
    room.gate.opened.set()
    for one in (standing, blocked, waits):
        await room.ended(one)
    await room.all_free()


async def test_too_much_is_cut_down_or_refused_as_its_author_and_the_server_say(room: Room) -> None:
    room.gate.opened.set()
    large = Resources(cpu=10, memory=123, gpu=0.8, gpu_memory=324)
    with pytest.raises(InterlockError, match="asks for more than any worker has: cpu 10 \\(there is 4\\)") as refused:
        await room.start(task(resources=large), over_ask="reject")
    assert refused.value.kind is ErrorKind.RULE
    stricter = await room.start(task(resources=large), over_ask="clamp")  # the server's own policy is stricter
    await room.reason(stricter.execution_id, "no_worker")
    lenient = placing(policy="clamp")
    room.engine = await room.house.engine("lenient", nodes=(room.gate, room.flaky), placing=lenient)
    found = await room.ended(await room.start(task(resources=large)))
    (event,) = await started(room.house, found.execution_id)
    assert event["placement"]["clamped"] == {"cpu": [10.0, 4.0], "gpu": [0.8, 0.0], "gpu_memory": [324.0, 0.0]}
    assert room.gate.attempts[-1].resources == Resources(cpu=4, memory=123)


async def test_while_the_servers_own_machine_takes_nothing_nobody_is_told_that_it_lacks_something(room: Room) -> None:
    room.placing.set_local(is_open=False)
    with pytest.raises(InterlockError, match="Executor not ready") as refused:
        await room.start(task(), over_ask="reject")
    assert refused.value.kind is ErrorKind.UNAVAILABLE
    waits = await room.start(task())
    await room.reason(waits.execution_id, "no_worker")
    room.gate.opened.set()
    room.placing.set_local(is_open=True)
    await room.ended(waits)
    await room.all_free()


async def test_what_an_earlier_attempt_reports_takes_nothing_from_the_one_that_runs(room: Room) -> None:
    node = task(resources=WHOLE)
    standing = await room.start(node)
    await room.running(1)
    late = TaskSucceeded(task_id=room.gate.attempts[0].task_id, attempt=0, output="late")
    room.engine.runner.report(standing.execution_id, late)
    waits = await room.start(task(resources=WHOLE))
    await room.reason(waits.execution_id, "resources")
    assert room.free().cpu == 0
    cancel = signal(room.house, standing.execution_id, "cancel", kind=SignalKind.CANCEL)
    await room.engine.signal(cancel)
    await room.running(2)
    assert room.gate.cancelled == 1, "it is still known to the executor"
    room.gate.opened.set()
    await room.ended(waits)
    await room.all_free()


async def test_a_retry_seeks_a_place_again_and_so_does_what_was_lost(room: Room) -> None:
    retry = RetryPolicy(max_attempts=2, backoff=0.01, jitter=False)
    standing = await room.start(task("flaky", WHOLE, retry=retry), task("gate", Resources(cpu=1)))
    await room.running(1)
    await room.house.until(lambda: len(room.flaky.attempts) <= 1)
    await room.house.kill(room.engine)
    other = await room.house.engine("other", nodes=(room.gate, room.flaky), placing=placing())
    room.gate.opened.set()
    room.engine = other
    await room.ended(standing)
    events = await started(room.house, standing.execution_id)
    assert all(event["placement"] == {"worker": LOCAL_WORKER} for event in events)
    assert "lost" in [event.get("replaces") for event in events]
    assert room.flaky.attempts[-1].attempt >= 2


async def test_a_cancelled_one_waits_no_more_and_gives_back_what_it_had(room: Room) -> None:
    runs = await room.start(task(resources=WHOLE))
    await room.running(1)
    waits = await room.start(*(task(resources=WHOLE) for _ in range(3)))
    await room.reason(waits.execution_id, "resources")
    assert await room.engine.cancel(waits.execution_id, room.house.tenant.tenant_id, "me", "", "0" * 32)
    after = await room.start(task("flaky", WHOLE, retry=RetryPolicy(max_attempts=2, backoff=0.01)))
    assert await room.engine.cancel(runs.execution_id, room.house.tenant.tenant_id, "me", "", "0" * 32)
    assert (await room.ended(after)).output == {"attempt": 2}
    await room.all_free()
    assert room.gate.cancelled == 1 and len(room.gate.attempts) == 1


async def test_a_paused_one_asks_for_nothing(room: Room) -> None:
    blocked = await room.start(task(resources=WHOLE))
    await room.running(1)
    waits = await room.start(task(resources=WHOLE))
    await room.engine.signal(signal(room.house, waits.execution_id, "", kind=SignalKind.PAUSE))
    room.gate.opened.set()
    await room.ended(blocked)
    await room.all_free()
    assert len(room.gate.attempts) == 1
    await room.engine.signal(signal(room.house, waits.execution_id, "", kind=SignalKind.RESUME))
    await room.ended(waits)


async def test_a_loop_runs_as_many_iterations_as_there_is_room_for(room: Room) -> None:
    items = list(range(9))
    loop = NodeDefinition(id="each", type="map", parameters={"items": items, "concurrency": 6})
    body = task()
    standing = await room.start(
        loop, body, connections=(ConnectionDefinition(source="each", target=body.id, port="iteration"),)
    )
    await room.running(4)
    room.gate.opened.set()
    assert (await room.ended(standing)).output == [{"by": 1}] * 9
    await room.all_free()


async def test_starts_that_come_together_do_not_pass_the_bound_together(room: Room) -> None:
    room.placing.waiting_cap = 4
    held = await room.start(task(resources=WHOLE))
    await room.running(1)
    asked = (room.start(*(task(resources=WHOLE) for _ in range(2))) for _ in range(6))
    ends = await asyncio.gather(*asked, return_exceptions=True)
    begun = [end for end in ends if not isinstance(end, BaseException)]
    assert len(begun) == 2
    assert {end.code for end in ends if isinstance(end, InterlockError)} == {"QUEUE_FULL"}
    room.gate.opened.set()
    for standing in (held, *begun):
        await room.ended(standing)
    await room.all_free()


async def test_the_bound_of_what_waits_is_divided_among_all_processes(room: Room) -> None:
    both = room.placing, placing()
    await room.house.engine(nodes=(room.gate, room.flaky), placing=both[1])
    await room.house.until(lambda: [each.runners for each in both] == [2, 2], "two processes that know of each other")
    room.placing.waiting_cap = 4
    held = await room.start(task(resources=WHOLE))
    await room.running(1)
    waiting = await room.start(*(task(resources=WHOLE) for _ in range(2)))
    with pytest.raises(InterlockError, match="Task queue is full"):
        await room.start(task())
    room.gate.opened.set()
    for standing in (held, waiting):
        await room.ended(standing)


async def test_what_waits_is_bounded_by_tenant(room: Room) -> None:
    room.placing.waiting_cap = 3
    held = await room.start(task(resources=WHOLE))
    await room.running(1)
    waiting = await room.start(*(task(resources=WHOLE) for _ in range(3)), max_parallel=1)
    await room.reason(waiting.execution_id, "resources")
    before = await room.house.rows("select count(*) from interlock.executions")
    with pytest.raises(InterlockError) as refused:
        await room.start(task())
    assert (refused.value.kind, refused.value.code, refused.value.retry_after) == (ErrorKind.LIMITED, "QUEUE_FULL", 1.0)
    assert refused.value.details == {
        "message": "Task queue is full",
        "queue_name": "tasks",
        "current_size": 3,
        "capacity": 3,
        "retry_after": 1,
    }
    assert await room.house.rows("select count(*) from interlock.executions") == before
    unplaced = await room.start(NodeDefinition(id="t", type="transform", parameters={"mapping": 1}), wait=10.0)
    assert unplaced.status == "succeeded"
    room.gate.opened.set()
    await room.ended(held)
    await room.ended(waiting)
    await room.ended(await room.start(task()))
