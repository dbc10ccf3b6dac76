"""What an execution may not grow beyond, with a clear error instead of a slow death."""

from __future__ import annotations

import pytest

from interlock.core.commands import SignalKind
from interlock.core.engine import decide as deciding
from interlock.core.engine.graph.program import MAX_KEPT_SIGNALS
from interlock.core.execution import Status
from interlock.core.workflow import ConnectionDefinition, GraphDefinition, GraphSettings, NodeDefinition
from unit.engine_driver import Driver


def test_an_execution_of_too_many_events_fails_with_a_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deciding, "MAX_EVENTS", 50)
    nodes = (
        NodeDefinition(id="again", type="loop", parameters={"times": 1000}),
        NodeDefinition(id="body", type="transform"),
    )
    edge = ConnectionDefinition(source="again", target="body", port="iteration")
    execution = Driver(GraphDefinition(nodes=nodes, connections=(edge,))).run()
    assert execution.status is Status.FAILED
    assert execution.error is not None
    assert execution.error.code == "EXECUTION_LIMIT"
    assert "50 events" in execution.error.message


def test_an_execution_of_too_many_live_tasks_fails_with_a_clear_error() -> None:
    count = deciding.MAX_LIVE + 1
    nodes = (
        NodeDefinition(id="each", type="map", parameters={"items": [0] * count, "concurrency": count}),
        NodeDefinition(id="body", type="transform"),
    )
    edge = ConnectionDefinition(source="each", target="body", port="iteration")
    settings = GraphSettings(max_parallel=count)
    execution = Driver(GraphDefinition(nodes=nodes, connections=(edge,), settings=settings)).execution
    assert execution.error is not None
    assert execution.error.code == "EXECUTION_LIMIT"


def test_signals_that_nobody_takes_are_bounded() -> None:
    driver = Driver(GraphDefinition(nodes=(NodeDefinition(id="a", type="transform"),)))
    for _ in range(MAX_KEPT_SIGNALS):
        assert driver.signal(SignalKind.EVENT, "never").refusal is None
    refused = driver.signal(SignalKind.EVENT, "never").refusal
    assert refused is not None
    assert refused.code == "MAILBOX_FULL"
