"""The judge must find what it is there for, and nothing in what is well."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from typing import Any
from uuid import UUID

import asyncpg
import msgspec
import pytest

from conftest import AT, Database
from crash.children import check_children
from crash.database import Observer
from crash.families import given_by
from crash.folding import contradictions
from crash.stuck import PATIENCE, STUCK, check_stuck
from crash.verdict import Verdict
from interlock.core.engine.graph.program import GraphProgram
from interlock.core.events import (
    Event,
    ExecutionStarted,
    ExecutionSucceeded,
    Parent,
    TaskCompleted,
    TaskStarted,
    encode_data,
)
from interlock.core.workflow import GraphDefinition, NodeDefinition
from interlock.kit.ids import RandomIds
from interlock.nodes import load as load_nodes

IDS = RandomIds()
PROGRAM = GraphProgram(
    GraphDefinition(nodes=(NodeDefinition(id="a", type="wait", parameters={"signal": "go"}),)), load_nodes().types
)
STARTED = ExecutionStarted(workflow_id=None, version_id=IDS.new(), kind="graph")
BEGUN = TaskStarted(task_id="a", node_id="a", input={"signal": "go"}, waits_for="signal")
DONE = TaskCompleted(task_id="a", node_id="a", output={"sum": 3})
ENDED = ExecutionSucceeded(output={"sum": 3})


def log_of(*events: Event) -> list[dict[str, Any]]:
    return [
        {
            "seq": seq,
            "type": event.type,
            "data": encode_data(event),
            "is_partial": False,
            "at": AT + timedelta(seconds=seq),
            "trace_id": "t",
        }
        for seq, event in enumerate(events, 1)
    ]


def row_of(status: str = "succeeded", **fields: Any) -> dict[str, Any]:
    row = {"execution_id": IDS.new(), "status": status, "waiting_reason": None, "output": None, "error": None}
    ended = {"ended_at": AT + timedelta(seconds=4), "output": '{"sum": 3}'} if status == "succeeded" else {}
    return row | {"ended_at": None} | ended | fields


def test_a_whole_execution_whose_row_says_what_its_log_says_is_well() -> None:
    assert not list(contradictions(row_of(), PROGRAM, log_of(STARTED, BEGUN, DONE, ENDED)))
    assert not list(contradictions(row_of("waiting", waiting_reason="signal"), PROGRAM, log_of(STARTED, BEGUN)))
    assert not list(contradictions(row_of("queued", waiting_reason="tenant_cap"), PROGRAM, log_of(STARTED)))


@pytest.mark.parametrize(
    ("row", "events", "reason"),
    [
        (row_of(), (STARTED, DONE, ENDED), "does not fold at 2 task.completed"),
        (row_of(), (STARTED, BEGUN, DONE, DONE, ENDED), "does not fold at 4 task.completed"),
        (row_of(), (STARTED, BEGUN, ENDED), "succeeded while a had not ended"),
        (row_of(), (), "has no log"),
        (row_of("running"), (STARTED, BEGUN, DONE, ENDED), "is status running in its row"),
        (row_of("waiting", waiting_reason="timer"), (STARTED, BEGUN), "is waiting_reason timer in its row"),
        (row_of(output='{"sum": 4}'), (STARTED, BEGUN, DONE, ENDED), "is output {'sum': 4} in its row"),
    ],
)
def test_a_log_that_makes_no_sense_or_tells_another_story_is_found(
    row: dict[str, Any], events: tuple[Event, ...], reason: str
) -> None:
    assert next(contradictions(row, PROGRAM, log_of(*events))).startswith(reason)


def test_events_of_a_log_are_counted() -> None:
    log = log_of(STARTED, BEGUN, DONE, ENDED)
    del log[1]
    assert "does not fold at 3" in next(contradictions(row_of(), PROGRAM, log))


EXECUTION = """
insert into interlock.executions (execution_id, tenant_id, user_id, visibility, version_id, workflow_number, kind,
  status, waiting_reason, output, mode, started_by, parent_id, root_id, trace_id, created_at, updated_at, ended_at)
values ($1, 't', 'u', 'tenant', $1, 1, 'graph',
  $2, $3, $4, 'manual', 'u', $5, $1, 'x', interlock.now(), interlock.now(),
  case when $2 in ('succeeded', 'cancelled') then interlock.now() - interval '1 hour' end)"""
EVENT = """
insert into interlock.events (execution_id, seq, tenant_id, type, data, at, trace_id, format)
values ($1, $2, 't', $3, $4, interlock.now(), 'x', 1)"""
LIVE = """
insert into interlock.live (execution_id, tenant_id, owner, wake_at, inbox_seq, format)
values ($1, 't', $2, interlock.now() + $3, 0, 1)"""
RUNNER = """
insert into interlock.runners (name, format, seen_at) values ('r', 1, interlock.now() - $1::interval)
returning runner_id"""
INBOX = """
insert into interlock.inbox (execution_id, inbox_seq, tenant_id, kind, payload, dedupe_key, trace_id, outcome)
values ($1, 1, 't', $2, $3, $4, 'x', $5)"""


class Ground:
    """A database in which executions are planted as they are."""

    def __init__(self, connection: asyncpg.Connection[Any]) -> None:
        self._connection = connection
        self.observer = Observer(connection)

    async def execution(self, status: str, reason: str | None = None, **fields: Any) -> UUID:
        execution_id = fields.get("execution_id") or IDS.new()
        output, parent = fields.get("output"), fields.get("parent")
        parent_id = parent.execution_id if parent is not None else None
        await self._connection.execute(EXECUTION, execution_id, status, reason, output, parent_id)
        started = msgspec.structs.replace(STARTED, parent=parent)
        for seq, event in enumerate((started, *fields.get("events", ())), 1):
            await self._connection.execute(EVENT, execution_id, seq, event.type, encode_data(event).decode())
        return execution_id

    async def live(self, execution_id: UUID, owner: int | None = None, wake_in: float | None = None) -> UUID:
        wake = timedelta(seconds=wake_in) if wake_in is not None else None
        await self._connection.execute(LIVE, execution_id, owner, wake)
        return execution_id

    async def runner(self, silent: float = 0.0) -> int:
        return int(await self._connection.fetchval(RUNNER, timedelta(seconds=silent)))

    async def inbox(
        self,
        execution_id: UUID,
        kind: str,
        payload: str | None = None,
        key: str | None = None,
        outcome: str | None = None,
    ) -> None:
        await self._connection.execute(INBOX, execution_id, kind, payload, key, outcome)


@pytest.fixture
async def ground(own_database: Database) -> AsyncIterator[Ground]:
    connection = await asyncpg.connect(own_database.superuser_url)
    yield Ground(connection)
    await connection.close()


def new_verdict() -> Verdict:
    return Verdict(scenario="X1", title="a test", seed=7, scale="short")


def found_in(verdict: Verdict) -> Iterator[tuple[str, str]]:
    return ((check.name, check.seen) for check in verdict.failures())


async def test_what_rests_or_is_looked_after_is_not_called_stuck(ground: Ground) -> None:
    runner = await ground.runner()
    await ground.live(await ground.execution("running"), runner)
    await ground.live(await ground.execution("waiting", "signal"))
    await ground.live(await ground.execution("waiting", "timer"), wake_in=60)
    await ground.live(await ground.execution("queued", "slot"), wake_in=-1)
    parent = await ground.live(await ground.execution("waiting", "child"))
    await ground.live(await ground.execution("running", parent=Parent(parent, "sub")), runner)
    await ground.execution("succeeded")
    verdict = new_verdict()
    await check_stuck(ground.observer, verdict)
    assert not list(found_in(verdict))


async def test_every_way_to_be_stuck_is_found(ground: Ground) -> None:
    silent = await ground.runner(silent=60)
    living = await ground.runner()
    wanted = {
        await ground.execution("running"): "it is in no queue",
        await ground.live(await ground.execution("running"), owner=999): "its owner is gone",
        await ground.live(await ground.execution("running"), silent): "its owner is silent",
        await ground.live(await ground.execution("queued", "slot"), wake_in=-60): "it is due and nobody claims it",
        await ground.live(await ground.execution("waiting", "timer")): "nobody owns it and nothing will wake it",
        await ground.live(await ground.execution("waiting", "approval")): "its approval is decided",
    }
    parent = await ground.live(await ground.execution("waiting", "child"))
    await ground.execution("succeeded", parent=Parent(parent, "sub"))
    told = await ground.live(await ground.execution("waiting", "signal"))
    await ground.inbox(told, "event")
    gone = await ground.execution("cancelled")
    forsaken = await ground.live(await ground.execution("running", parent=Parent(gone, "sub")), living)
    wanted |= {parent: "its children have ended", told: "nobody will read its inbox", forsaken: "its parent has ended"}
    left = IDS.new()
    hasty = await ground.live(await ground.execution("waiting", "signal", events=family(left)[:2]))
    await ground.live(await ground.execution("running", execution_id=left, parent=Parent(hasty, "sub")), living)
    await ground.observer.fetch("update interlock.events set at = at - interval '1 hour'")
    wanted[left] = "the task that waits for it is over"
    found = {row[0]: row["reason"] for row in await ground.observer.fetch(STUCK, PATIENCE)}
    assert found == wanted


def family(child_id: UUID, output: Any = None) -> tuple[Event, ...]:
    """What a parent's log says of a child that gave ``output``."""
    begun = TaskStarted(task_id="sub", node_id="sub", waits_for="child", child_id=child_id)
    return begun, TaskCompleted(task_id="sub", node_id="sub", output=output), ExecutionSucceeded()


async def tell(ground: Ground, parent: UUID, child: UUID) -> None:
    await ground.inbox(
        parent, "child_ended", '{"task_id": "sub", "status": "succeeded"}', f"child:{child}", '{"first_seq": 3}'
    )


async def test_a_family_that_is_well_is_left_alone(ground: Ground) -> None:
    child = IDS.new()
    parent = await ground.execution("succeeded", events=family(child, {"sum": 3}))
    await ground.execution("succeeded", execution_id=child, parent=Parent(parent, "sub"), output='{"sum": 3}')
    await tell(ground, parent, child)
    verdict = new_verdict()
    await check_children(ground.observer, verdict)
    assert not list(found_in(verdict))
    assert verdict.counts["children"] == 1


async def test_every_way_to_lose_a_child_is_found(ground: Ground) -> None:
    unborn, untold, changed, foundling = (IDS.new() for _ in range(4))
    careless = await ground.execution("succeeded", events=family(unborn))
    await tell(ground, careless, unborn)
    deaf = await ground.execution("succeeded", events=family(untold))
    await ground.execution("succeeded", execution_id=untold, parent=Parent(deaf, "sub"))
    liar = await ground.execution("succeeded", events=family(changed, {"sum": 4}))
    await ground.execution("succeeded", execution_id=changed, parent=Parent(liar, "sub"), output='{"sum": 3}')
    await tell(ground, liar, changed)
    await ground.execution("succeeded", execution_id=foundling, parent=Parent(liar, "sub"))
    verdict = new_verdict()
    await check_children(ground.observer, verdict)
    assert dict(found_in(verdict)).keys() == {
        "every child that a log names exists",
        "every child is named by the log of its parent",
        "the end of each child reached its parent once",
        "what a child gave is the result of its task",
    }
    assert all(seen.startswith("1: ") for _, seen in found_in(verdict))


async def test_a_task_that_began_two_children_is_found(ground: Ground) -> None:
    one, other = IDS.new(), IDS.new()
    begun = [TaskStarted(task_id="sub", node_id="sub", waits_for="child", child_id=child) for child in (one, other)]
    parent = await ground.live(await ground.execution("waiting", "child", events=begun))
    for child in (one, other):
        await ground.execution("running", execution_id=child, parent=Parent(parent, "sub"))
    verdict = new_verdict()
    await check_children(ground.observer, verdict)
    assert [name for name, _ in found_in(verdict)] == ["no task began two children"]


def test_what_a_parent_gives_follows_from_its_reference() -> None:
    given = given_by("r")
    assert given["before"] == "r:before:done"
    assert given["twin"] == {"c1": "r.twin:c1:done", "c2": "r.twin:c2:done"}
    assert given["right"]["inner"]["c2"] == "r.right.inner:c2:done"
