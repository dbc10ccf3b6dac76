"""What the time does to executions that are real: deadlines, timeouts, silence."""

from __future__ import annotations

from engine_house import Gate, House, chain, node, signal
from interlock.core.commands import SignalKind
from interlock.core.workflow import GraphDefinition, GraphSettings, NodeDefinition


async def test_an_attempt_that_falls_silent_has_failed(house: House) -> None:
    gate = Gate()
    engine = await house.engine(nodes=(gate,))
    silent = NodeDefinition(id="g", type="gate", heartbeat=0.2)
    standing = await house.start(engine, chain(silent))
    assert (standing.status, standing.error["code"]) == ("failed", "HEARTBEAT_LOST")
    await house.until(lambda: gate.cancelled == 1, "the silent attempt was ended")


async def test_the_timeout_of_a_definition_ends_its_executions(house: House) -> None:
    engine = await house.engine()
    graph = GraphDefinition(nodes=(node("w", "wait", seconds=60),), settings=GraphSettings(timeout=0.3))
    standing = await house.start(engine, graph, wait=0)

    async def has_ended() -> bool:
        return (await engine.standing(standing.execution_id, 0)).status == "failed"

    await house.until(has_ended, "the execution timed out")
    assert (await engine.standing(standing.execution_id, 0)).error["code"] == "TIMEOUT"


async def test_a_deadline_holds_while_the_execution_is_paused(house: House) -> None:
    engine = await house.engine()
    graph = GraphDefinition(nodes=(node("w", "wait", seconds=60),), settings=GraphSettings(timeout=1.0))
    standing = await house.start(engine, graph, wait=0)
    await engine.signal(signal(house, standing.execution_id, "", kind=SignalKind.PAUSE))

    async def has_ended() -> bool:
        return (await engine.standing(standing.execution_id, 0)).status == "failed"

    await house.until(has_ended, "the execution timed out")


async def test_a_deadline_ends_kernel_nodes_too(house: House) -> None:
    engine = await house.engine()
    patient = NodeDefinition(id="w", type="wait", parameters={"signal": "never"}, deadline=0.3)
    standing = await house.start(engine, chain(patient), wait=0)

    async def has_ended() -> bool:
        return (await engine.standing(standing.execution_id, 0)).status == "failed"

    await house.until(has_ended, "the node timed out")
