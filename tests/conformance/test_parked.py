"""An execution that was parked here goes on from memory, and from its log as soon as anybody else has had it."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import UUID

from engine_house import COIN, DEADLINE, CountingLedger, Gate, House, chain, node, signal
from interlock.core.commands import SignalKind
from interlock.core.engine.graph.program import GraphProgram
from interlock.core.execution import Execution, Ready, Status
from interlock.core.ids import ExecutionId
from interlock.kit.ids import RandomIds
from interlock.nodes import load
from interlock.ports.engine import SendSignal, SignalOutcome, Standing
from interlock.runtime.engine import LocalEngine
from interlock.runtime.owned import Owned
from interlock.runtime.parked import LARGEST, OLD_SECONDS, Parked


async def engine_of(house: House, name: str, **options: Any) -> tuple[LocalEngine, CountingLedger]:
    ledger = CountingLedger(house.database.serve_url)
    return await house.engine(name, ledger=ledger, **options), ledger


async def send(house: House, engine: LocalEngine, execution_id: UUID, name: str, payload: Any = None) -> SignalOutcome:
    return await engine.signal(
        SendSignal(
            execution_id=ExecutionId(execution_id),
            tenant_id=house.tenant.tenant_id,
            kind=SignalKind.EVENT,
            name=name,
            payload=payload,
            sent_by="user-1",
            trace_id="1" * 32,
        )
    )


async def transitions(house: House, execution_id: UUID) -> int:
    log = await house.log(execution_id)
    assert [seq for seq, _ in log] == list(range(1, len(log) + 1))
    return sum(kind == "flow.transitioned" for _, kind in log)


async def test_an_execution_parked_here_is_not_read_back(house: House) -> None:
    engine, ledger = await engine_of(house, "one")
    standing = await house.start(engine, COIN)
    for _ in range(5):
        await send(house, engine, standing.execution_id, "TURN")
    ended = await send(house, engine, standing.execution_id, "END")
    assert (ended.status, ledger.loads[standing.execution_id]) == ("succeeded", 0)
    assert await transitions(house, standing.execution_id) == 6


async def test_what_another_process_has_owned_meanwhile_is_read_back(house: House) -> None:
    one, ledger = await engine_of(house, "one")
    other, _ = await engine_of(house, "other")
    standing = await house.start(one, COIN)
    await send(house, other, standing.execution_id, "TURN")
    moved = await send(house, one, standing.execution_id, "TURN")
    assert moved.flow is not None
    assert (moved.flow.active, ledger.loads[standing.execution_id]) == (("heads",), 1)
    assert await transitions(house, standing.execution_id) == 2


async def test_events_of_two_processes_at_once_are_all_folded_once(house: House) -> None:
    engines = [(await engine_of(house, name))[0] for name in ("one", "other")]
    standing = await house.start(engines[0], COIN)
    sent = [send(house, engines[n % 2], standing.execution_id, "TURN", {"n": n}) for n in range(60)]
    outcomes = await asyncio.gather(*sent)
    assert sorted(found.inbox_seq for found in outcomes) == list(range(1, 61))
    assert len({found.first_seq for found in outcomes}) == 60
    assert await transitions(house, standing.execution_id) == 60


async def test_a_large_execution_is_not_kept(house: House) -> None:
    engine, ledger = await engine_of(house, "one")
    standing = await house.start(engine, COIN, input={"text": "x" * LARGEST})
    moved = await send(house, engine, standing.execution_id, "TURN")
    assert moved.flow is not None
    assert (moved.flow.active, ledger.loads[standing.execution_id]) == (("tails",), 1)


async def queued_behind(house: House, gate: Gate, count: int) -> tuple[LocalEngine, CountingLedger, list[Standing]]:
    """So many executions that wait for the one place of their tenant, which one at the gate holds."""
    engine, ledger = await engine_of(house, "one", nodes=(gate,), tenant_cap=1)
    workflow = await house.workflow(chain(node("g", "gate")))
    await engine.start(house.request(workflow, wait=0))
    await gate.entered.wait()
    queued = [await engine.start(house.request(workflow, wait=0)) for _ in range(count)]
    assert [standing.status for standing in queued] == ["queued"] * count
    return engine, ledger, queued


async def test_what_was_queued_here_is_not_read_back_when_its_turn_comes(house: House) -> None:
    gate = Gate()
    engine, ledger, queued = await queued_behind(house, gate, 5)
    gate.opened.set()
    for standing in queued:
        assert (await engine.standing(standing.execution_id, DEADLINE)).status == "succeeded"
        assert ledger.loads[standing.execution_id] == 0
        log = await house.log(standing.execution_id)
        assert [seq for seq, _ in log] == list(range(1, len(log) + 1))


async def test_what_was_told_to_one_that_is_queued_counts_when_its_turn_comes(house: House) -> None:
    gate = Gate()
    engine, _, (first, paused, last) = await queued_behind(house, gate, 3)
    await engine.signal(signal(house, paused.execution_id, "", kind=SignalKind.PAUSE, wait=0.0))
    gate.opened.set()
    for standing in (first, last):
        assert (await engine.standing(standing.execution_id, DEADLINE)).status == "succeeded"

    async def is_paused() -> bool:
        return (await engine.standing(paused.execution_id, 0)).status == "paused"

    await house.until(is_paused, "the pause")
    assert len(gate.attempts) == 3, "it does not begin"


def owned_as(status: Status) -> Owned:
    """An execution of one node that was let go with this status."""
    execution = Execution(ExecutionId(RandomIds().new()), GraphProgram(chain(node("n")), load().types))
    if status is Status.QUEUED:
        execution.ready["n"] = Ready("", "n", ())
    owned = Owned(
        execution,
        tenant_id="t",
        user_id="u",
        visibility="tenant",
        workflow_id=None,
        number=1,
        root_id=execution.execution_id,
        trace_id="1" * 32,
        priority=5,
    )
    owned.size = 100
    return owned


def test_one_that_is_queued_takes_only_free_room_and_one_that_is_parked_any() -> None:
    parked = Parked(most=2)
    first, second, third = (owned_as(Status.QUEUED) for _ in range(3))
    for owned in (first, second, third):
        parked.keep(owned, OLD_SECONDS)
    assert [parked.take(owned.execution.execution_id, 2) for owned in (first, third)] == [first, None]
    fourth, fifth = owned_as(Status.WAITING), owned_as(Status.WAITING)
    parked.keep(fourth, OLD_SECONDS)
    parked.keep(fifth, OLD_SECONDS)
    found = [parked.take(owned.execution.execution_id, 2) for owned in (second, fourth, fifth)]
    assert found == [None, fourth, fifth]


def test_what_was_queued_long_ago_and_never_came_back_gives_way() -> None:
    parked = Parked(most=2)
    first, second, third, fourth = (owned_as(Status.QUEUED) for _ in range(4))
    parked.keep(first, 0.0)
    parked.keep(second, 1.0)
    parked.keep(third, OLD_SECONDS + 0.5)
    parked.keep(fourth, OLD_SECONDS + 0.5)
    found = [parked.take(owned.execution.execution_id, 2) for owned in (first, second, third, fourth)]
    assert found == [None, second, third, None]
