"""Forks whose branches do not all come to the fan-in: nobody waits in vain, and what can come back is waited for."""

from __future__ import annotations

import random
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from interlock.core.commands import SignalKind
from interlock.core.events import FlowTransitioned, TaskCompleted, TaskStarted
from interlock.core.execution import Status, WaitingReason
from interlock.core.workflow import FlowDefinition, TransitionDefinition
from unit.engine_driver import Driver
from unit.test_engine_flow import flow, to


def forked(*ways: TransitionDefinition, states: str = "", **more: Any) -> FlowDefinition:
    """``s`` leads to ``a`` and ``b``, both of them to ``merge``, that to ``end``; and what the test adds."""
    names = ("s", "a", "b", "merge", *states.split())
    return flow(
        f"{' '.join(names)} end",
        to("s", "STEP_DONE", ("a", "b")),
        to(("a", "b"), "ALL_DONE", "merge", fan_in=True),
        to("merge", "STEP_DONE", "end"),
        *ways,
        **{"nodes": dict.fromkeys(names, "echo"), **more},
    )


def begun(definition: FlowDefinition) -> Driver:
    driver = Driver(definition)
    driver.succeed("s")
    assert driver.running() == ["a", "b"]
    return driver


def ended_at(driver: Driver, state: str) -> bool:
    driver.check_fold()
    output = driver.execution.output
    return driver.execution.status is Status.SUCCEEDED and output["state"] == state


def test_a_branch_that_leaves_by_its_error_does_not_let_the_other_wait_for_ever() -> None:
    driver = begun(forked(to("a", "ERROR", "merge")))
    driver.err("a")
    driver.succeed("merge")
    assert (driver.running(), driver.execution.ended) == (["b"], None), "the other branch ends its work"
    driver.succeed("b", {"b": 1})
    assert ended_at(driver, "end")
    left = driver.of(FlowTransitioned)[-1]
    assert (left.source, left.target, left.event, left.active) == (("b",), (), "BRANCH_OVER", ("end",))
    assert [task.node_id for task in driver.of(TaskStarted)].count("merge") == 1


def test_nor_does_it_when_both_could_leave_by_an_error() -> None:
    driver = begun(forked(to(("a", "b"), "ERROR", "merge")))
    driver.succeed("b")
    driver.err("a")
    driver.succeed("merge")
    assert ended_at(driver, "end")


def test_a_branch_that_comes_back_finds_the_other_still_done() -> None:
    driver = begun(forked(to("a", "ERROR", "mend"), to("mend", "STEP_DONE", "a"), states="mend"))
    driver.succeed("b")
    driver.err("a")
    driver.succeed("mend")
    driver.check_fold()
    driver.succeed("a#2")
    assert driver.running() == ["merge"]


def test_a_branch_that_is_mended_by_a_person_and_retried_meets_the_other() -> None:
    driver = begun(
        forked(
            to("a", "ERROR", "ask"),
            states="ask",
            nodes=dict.fromkeys(("s", "a", "b", "merge"), "echo"),
            user_input_states=("ask",),
            terminal_states=("end",),
        )
    )
    driver.succeed("b")
    driver.err("a")
    assert driver.execution.waiting_reason is WaitingReason.INPUT
    driver.signal(SignalKind.EVENT, "RETRY")
    assert driver.execution.active == ["b", "a"]
    driver.check_fold()
    driver.succeed("a#2")
    assert driver.running() == ["merge"]


def test_another_fan_in_takes_the_branch_whose_first_one_is_gone() -> None:
    driver = begun(
        forked(to("a", "ERROR", "spare"), to(("spare", "b"), "ALL_DONE", "part", fan_in=True), states="spare part")
    )
    driver.succeed("b")
    driver.err("a")
    driver.succeed("spare")
    driver.succeed("part")
    assert ended_at(driver, "part")


def test_a_state_that_is_entered_again_is_not_done_before_its_new_task_is() -> None:
    driver = begun(forked(to("a", "ERROR", "s")))
    driver.err("a")
    driver.succeed("s#2")
    driver.succeed("b")
    driver.succeed("a#2")
    assert driver.running() == ["b#2"], "the fan-in waits for both of the second fork"
    driver.check_fold()
    driver.succeed("b#2")
    assert driver.running() == ["merge"]


def test_branches_that_nothing_joins_and_nothing_leaves_end_the_flow_together() -> None:
    driver = Driver(flow("s a b", to("s", "STEP_DONE", ("a", "b")), nodes=dict.fromkeys("sab", "echo")))
    driver.succeed("s")
    driver.succeed("a")
    assert driver.execution.ended is None
    driver.succeed("b")
    assert driver.execution.status is Status.SUCCEEDED


def test_a_flow_of_which_all_branches_wait_in_vain_has_failed() -> None:
    driver = Driver(forked(), start_at="b")
    driver.succeed("b")
    error = driver.execution.error
    assert error is not None
    assert (error.code, error.node_id) == ("FLOW_JOIN_UNREACHABLE", "b")
    assert error.message == "The fan-in that 'b' waits for cannot be taken any more: 'a' is not done"
    driver.check_fold()


def test_a_person_who_is_asked_in_a_branch_can_still_say_that_it_is_done() -> None:
    people = forked(to("a", "ERROR", "end"), nodes={"s": "echo", "a": "echo"}, user_input_states=("b",))
    driver = begun_with(people, ["a"])
    driver.err("a")
    assert driver.execution.waiting_reason is WaitingReason.INPUT
    assert driver.signal(SignalKind.EVENT, "ALL_DONE").refusal is None
    assert ended_at(driver, "end")


def begun_with(definition: FlowDefinition, running: list[str]) -> Driver:
    driver = Driver(definition)
    driver.succeed("s")
    assert driver.running() == running
    return driver


@st.composite
def machines(draw: st.DrawFn) -> FlowDefinition:
    """Flows of nodes that begin with a fork: results lead forwards, some into fan-ins, and errors anywhere."""
    branches = [f"b{index}" for index in range(draw(st.integers(2, 4)))]
    later = [f"m{index}" for index in range(draw(st.integers(1, 4)))]
    states = ["begin", *branches, *later]
    ways = [to("begin", "STEP_DONE", branches)]
    free = set(states[1:-1])
    for _ in range(draw(st.integers(1, 2))):
        sources = draw(st.sets(st.sampled_from([name for name in states if name in free]), min_size=2, max_size=3))
        free -= sources
        behind = states[max(map(states.index, sources)) + 1 :]
        ways.append(to(sorted(sources), "ALL_DONE", draw(st.sampled_from(behind)), fan_in=True))
        if len(free) < 2:
            break
    for name in (name for name in states[1:-1] if name in free):
        targets = draw(st.sets(st.sampled_from(states[states.index(name) + 1 :]), max_size=2))
        ways.extend([to(name, "STEP_DONE", sorted(targets))] if targets else [])
    for name in states[:-1]:
        if any(name in way.source for way in ways) and draw(st.integers(0, 3)):
            ways.append(to(name, "ERROR", draw(st.sampled_from(states))))
    return flow(" ".join(states), *ways, nodes=dict.fromkeys(states, "echo"))


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(machines(), st.integers(0, 2**32))
def test_a_flow_of_nodes_ends_when_its_nodes_have_ended(definition: FlowDefinition, seed: int) -> None:
    choice, driver, errors = random.Random(seed), Driver(definition), 6
    while running := driver.running():
        if errors and choice.random() < 0.2:
            errors -= 1
            driver.err(choice.choice(running))
        else:
            driver.succeed(choice.choice(running))
        driver.check_fold()
    assert driver.execution.ended is not None
    assert driver.execution.ended is Status.SUCCEEDED or driver.execution.error is not None
    check_fan_ins(driver)


def check_fan_ins(driver: Driver) -> None:
    """Whenever a fan-in was taken, the task begun last in each of its sources had succeeded."""
    begun_last: dict[str, str] = {}
    done: set[str] = set()
    for event in driver.events():
        if isinstance(event, TaskStarted):
            begun_last[event.node_id] = event.task_id
        elif isinstance(event, TaskCompleted):
            done.add(event.task_id)
        elif isinstance(event, FlowTransitioned) and event.event == "ALL_DONE":
            assert {begun_last[name] for name in event.source} <= done
