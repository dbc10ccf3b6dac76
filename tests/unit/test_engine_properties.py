"""The golden properties: memory is the fold of the log, and any prefix of the log can be gone on from."""

from __future__ import annotations

import random
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from interlock.core.commands import SignalKind
from interlock.core.execution import Status, WaitingReason
from interlock.core.resources import Resources
from interlock.core.workflow import (
    ConnectionDefinition,
    FlowDefinition,
    GraphDefinition,
    GraphSettings,
    NodeDefinition,
    RetryPolicy,
    StateTimer,
    TransitionDefinition,
)
from unit.engine_driver import Driver, plain

PARAMETERS: dict[str, list[dict[str, Any]]] = {
    "transform": [{"mapping": "{{ $json }}"}, {"mapping": {"n": "{{ $trigger.n }}"}}, {"mapping": "{{ 1 / 0 }}"}],
    "condition": [{"condition_expression": "$trigger.n > 1"}, {"cases": [{"port": "true", "when": "$trigger.n == 0"}]}],
    "wait": [{"seconds": 3}, {"signal": "go"}, {"signal": "go", "timeout_seconds": 9, "on_timeout": "continue"}],
    "approval": [{"title": "?"}, {"title": "?", "timeout_seconds": 20}],
    "map": [{"items": [1, 2, 3], "concurrency": 2}, {"items": []}],
    "loop": [{"times": 2}, {"while": "$loop.index < 2"}],
}


@st.composite
def graphs(draw: st.DrawFn) -> GraphDefinition:
    """Random acyclic graphs; every loop node gets a body of one or two nodes of its own."""
    count = draw(st.integers(1, 7))
    nodes: list[NodeDefinition] = []
    connections: list[ConnectionDefinition] = []
    for index in range(count):
        kind = draw(st.sampled_from(sorted(PARAMETERS)))
        nodes.append(_node(draw, f"n{index}", kind))
        if kind in ("map", "loop"):
            _add_body(draw, f"n{index}", nodes, connections)
        for source in draw(st.lists(st.integers(0, index - 1), max_size=2, unique=True)) if index else []:
            connections.append(_connection(draw, nodes, f"n{source}", f"n{index}"))
    return GraphDefinition(
        nodes=tuple(nodes),
        connections=tuple(connections),
        settings=GraphSettings(
            max_parallel=draw(st.sampled_from([1, 2, 100])), on_failure=draw(st.sampled_from(["stop", "continue"]))
        ),
    )


def _node(draw: st.DrawFn, node_id: str, kind: str) -> NodeDefinition:
    return NodeDefinition(
        id=node_id,
        type=kind,
        parameters=draw(st.sampled_from(PARAMETERS[kind])),
        on_error=draw(st.sampled_from(["stop", "continue", "error_output"])),
        join=draw(st.sampled_from(["all", "any"])),
        retry=RetryPolicy(max_attempts=draw(st.integers(1, 2)), backoff=1),
        deadline=draw(st.sampled_from([None, 15.0])) if kind in ("transform", "map", "loop") else None,
        resources=draw(st.sampled_from([None, Resources()])) if kind == "transform" else None,
    )


def _add_body(draw: st.DrawFn, loop: str, nodes: list[NodeDefinition], connections: list[ConnectionDefinition]) -> None:
    nodes.append(_node(draw, f"{loop}b", "transform"))
    connections.append(ConnectionDefinition(source=loop, target=f"{loop}b", port="iteration"))
    if draw(st.booleans()):
        nodes.append(_node(draw, f"{loop}c", draw(st.sampled_from(["transform", "wait", "approval"]))))
        connections.append(ConnectionDefinition(source=f"{loop}b", target=f"{loop}c"))


def _connection(draw: st.DrawFn, nodes: list[NodeDefinition], source: str, target: str) -> ConnectionDefinition:
    kind = next(node.type for node in nodes if node.id == source)
    ports = {"condition": ["true", "false"], "approval": ["confirmed", "rejected"]}.get(kind, ["result", "error"])
    return ConnectionDefinition(
        source=source,
        target=target,
        port=draw(st.sampled_from(ports)),
        when=draw(st.sampled_from([None, None, "$trigger.n < 3", "false"])),
    )


@st.composite
def flows(draw: st.DrawFn) -> FlowDefinition:
    """Random state machines over a few states and events, with nodes, timers and input states."""
    states = tuple(f"s{index}" for index in range(draw(st.integers(2, 5))))
    events = ["STEP_DONE", "GO", "BACK", "ERROR", "TIMER"]
    pairs = draw(st.lists(st.tuples(st.sampled_from(states), st.sampled_from(events)), max_size=8, unique=True))
    return FlowDefinition(
        states=states,
        initial_state=states[0],
        nodes={name: draw(st.sampled_from(["echo", "wait", "approval"])) for name in states if draw(st.booleans())},
        parameters={name: {"seconds": 2} for name in states},
        user_input_states=tuple(name for name in states if draw(st.booleans())),
        timers={name: StateTimer(after=4, event="TIMER") for name in states if draw(st.booleans())},
        transitions=tuple(
            TransitionDefinition(source=(source,), event=event, target=(draw(st.sampled_from(states)),))
            for source, event in pairs
        ),
    )


def disturb(driver: Driver, choice: random.Random) -> None:
    """One random thing that can happen to an execution."""
    running = driver.running()
    approvals = [task.task_id for task in driver.execution.tasks.values() if task.waits_for == "approval"]
    seeking = driver.seeking()
    if seeking and choice.random() < 0.6:
        driver.place(choice.choice(seeking))
        return
    kind = choice.randrange(12)
    if running and kind < 5:
        driver.succeed(choice.choice(running), {"n": choice.randrange(4)})
    elif running and kind == 5:
        driver.err(choice.choice(running), retryable=choice.random() < 0.7)
    elif running and kind == 6:
        driver.lose(choice.choice(running), crashed=choice.random() < 0.3)
    elif approvals and kind < 9:
        driver.decide_approval(choice.choice(approvals), choice.choice(["approved", "denied"]))
    elif kind == 9:
        driver.signal(SignalKind.EVENT, choice.choice(["go", "GO", "BACK", "nonsense"]), {"n": 1})
    elif kind == 10:
        driver.signal(choice.choice([SignalKind.PAUSE, SignalKind.RESUME, SignalKind.RESUME]))
    else:
        driver.pass_time(choice.choice([0.5, 3, 10]))


def check_reason(driver: Driver) -> None:
    """Whatever does not move says why, and something can move it."""
    execution = driver.execution
    if execution.ended is None and not driver.running():
        assert execution.waiting_reason is not None
        if execution.waiting_reason is WaitingReason.RESOURCES:
            assert driver.seeking()
        else:
            assert not execution.ready or execution.is_paused
            assert execution.status in (Status.WAITING, Status.PAUSED), execution.status


def live(driver: Driver, seed: int, steps: int = 40) -> None:
    choice = random.Random(seed)
    for _ in range(steps):
        if driver.execution.ended is not None:
            break
        disturb(driver, choice)
        driver.check_fold()
        check_reason(driver)


SLOW = settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@SLOW
@given(graphs(), st.integers(0, 3), st.integers(0, 2**32))
def test_fold_of_a_graphs_log_is_the_execution_in_memory(definition: GraphDefinition, n: int, seed: int) -> None:
    live(Driver(definition, {"n": n}), seed)


@SLOW
@given(flows(), st.integers(0, 2**32))
def test_fold_of_a_flows_log_is_the_execution_in_memory(definition: FlowDefinition, seed: int) -> None:
    live(Driver(definition, {"n": 1}), seed)


@SLOW
@given(graphs(), st.integers(0, 3), st.integers(0, 2**32))
def test_any_prefix_of_the_log_goes_on_to_the_same_result(definition: GraphDefinition, n: int, seed: int) -> None:
    """A crash between two commits costs work, never a different result."""
    whole = Driver(definition, {"n": n})
    finish(whole)
    for cut in random.Random(seed).sample(whole.cuts, min(4, len(whole.cuts))):
        again = whole.replay(cut)
        if again.execution.ended is None:
            again.take_over()
            finish(again)
        assert again.execution.status is whole.execution.status
        if whole.execution.status is Status.SUCCEEDED:
            assert timeless(plain(again.execution.output)) == timeless(plain(whole.execution.output))


def timeless(value: Any) -> Any:
    """Without ids and instants, which a second life may choose anew."""
    if isinstance(value, dict):
        return {key: timeless(item) for key, item in value.items() if key not in ("interaction_id", "waited_until")}
    return [timeless(item) for item in value] if isinstance(value, list) else value


def finish(driver: Driver) -> None:
    """Run to the end: what waits for a signal gets it."""
    for _ in range(30):
        driver.run(lambda task_id, parameters: parameters)
        if driver.execution.ended is not None:
            return
        driver.signal(SignalKind.EVENT, "go", {"n": 0})
    raise AssertionError(f"stuck: {driver.execution.waiting_reason} {driver.execution.tasks}")
