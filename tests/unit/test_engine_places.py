"""Tasks with resources in the pure engine: ready until placed, and placed anew for each attempt."""

from __future__ import annotations

import pytest

from interlock.core.commands import SignalKind, TaskPlaced
from interlock.core.engine.graph.seek import WINDOW
from interlock.core.events import TaskStarted
from interlock.core.execution import Status, WaitingReason
from interlock.core.resources import Placement, Resources
from interlock.core.workflow import RetryPolicy
from unit.engine_driver import Driver
from unit.test_engine_graph import edge, graph, node

ONE = Resources()


def seeking(driver: Driver) -> list[str]:
    return [found.task_id for found in driver.seeking()]


def test_it_stays_ready_until_there_is_a_place() -> None:
    driver = Driver(graph(node("a", resources=ONE), node("b"), edge("a", "b")))
    assert driver.types() == ["execution.started"]
    assert (driver.execution.status, driver.execution.waiting_reason) == (Status.QUEUED, WaitingReason.RESOURCES)
    driver.place(driver.seeking()[0], "w1", gpus=(2,))
    assert driver.of(TaskStarted)[0].placement == Placement(worker="w1", gpus=(2,))
    assert driver.execution.waiting_reason is None
    driver.check_fold()
    driver.succeed("a", 1)
    assert driver.running() == ["b"]


def test_others_begin_meanwhile_and_nothing_is_at_rest() -> None:
    driver = Driver(graph(node("a", resources=ONE), node("b"), node("w", "wait", parameters={"seconds": 9})))
    assert driver.running() == ["b"]
    driver.succeed("b")
    assert (driver.execution.status, driver.execution.waiting_reason) == (Status.RUNNING, WaitingReason.RESOURCES)


def test_a_retry_is_placed_once_it_is_due() -> None:
    retry = RetryPolicy(max_attempts=2, backoff=5, jitter=False)
    driver = Driver(graph(node("a", resources=ONE, retry=retry)))
    driver.place(driver.seeking()[0])
    driver.err("a", retryable=True)
    early = TaskPlaced(task_id="a", attempt=2, placement=Placement(worker="w"))
    assert not driver.apply(early).events
    assert seeking(driver) == []
    driver.pass_time(5)
    assert driver.running() == []
    driver.place(driver.seeking()[0], "w2")
    assert [event.placement.worker for event in driver.of(TaskStarted)] == ["local-1", "w2"]
    driver.check_fold()


@pytest.mark.parametrize(("crashed", "word"), [(False, "lost"), (True, "crashed")])
def test_a_lost_attempt_is_replaced_where_there_is_a_place(crashed: bool, word: str) -> None:
    driver = Driver(graph(node("a", resources=ONE)))
    driver.place(driver.seeking()[0])
    assert not driver.lose("a", crashed=crashed).events
    driver.place(driver.seeking()[0], "w2")
    last = driver.of(TaskStarted)[-1]
    assert (last.attempt, last.replaces, last.placement.worker) == (2, word, "w2")
    assert seeking(driver) == []
    driver.check_fold()


def test_an_attempt_that_was_lost_to_what_is_away_seeks_a_place_once_its_wait_is_over() -> None:
    driver = Driver(graph(node("a", resources=ONE)))
    driver.place(driver.seeking()[0])
    driver.miss("a")
    assert (seeking(driver), driver.running()) == ([], [])
    driver.pass_time(1)
    driver.place(driver.seeking()[0], "w2")
    last = driver.of(TaskStarted)[-1]
    assert (last.attempt, last.replaces, last.placement.worker) == (2, "", "w2")
    driver.check_fold()


def test_its_third_death_quarantines_it() -> None:
    driver = Driver(graph(node("a", resources=ONE)))
    for _ in range(3):
        driver.place(driver.seeking()[0])
        driver.lose("a", crashed=True)
    assert driver.execution.error is not None
    assert driver.execution.error.code == "TASK_QUARANTINED"


def test_a_result_that_comes_while_it_seeks_another_place_counts() -> None:
    driver = Driver(graph(node("a", resources=ONE)))
    driver.place(driver.seeking()[0])
    driver.lose("a")
    driver.succeed("a", 7)
    assert (driver.execution.output, seeking(driver)) == (7, [])


def test_a_place_that_is_not_wanted_any_more_begins_nothing() -> None:
    driver = Driver(graph(node("a", resources=ONE), node("b", "wait", parameters={"signal": "x"})))
    found = driver.seeking()[0]
    driver.signal(SignalKind.PAUSE)
    assert seeking(driver) == []
    assert not driver.place(found).events
    driver.signal(SignalKind.RESUME)
    driver.place(found)
    assert not driver.place(found).events  # the same one again
    driver.signal(SignalKind.CANCEL)
    assert not driver.place(found).events


def test_no_more_are_sought_than_may_run() -> None:
    many = [node(f"n{number}", resources=ONE) for number in range(5)]
    driver = Driver(graph(*many, max_parallel=2))
    assert seeking(driver) == ["n0", "n1"]
    for found in driver.seeking():
        driver.place(found)
    assert seeking(driver) == []
    driver.succeed("n0")
    assert seeking(driver) == ["n2"]


def test_an_execution_asks_for_so_many_of_one_shape_at_a_time() -> None:
    many = [node(f"n{number}", resources=ONE) for number in range(WINDOW + 9)]
    driver = Driver(graph(*many, node("gpu", resources=Resources(gpu=1)), max_parallel=10_000))
    assert len(seeking(driver)) == WINDOW + 1
    assert seeking(driver)[-1] == "gpu"


def test_iterations_begin_where_there_is_a_place() -> None:
    each = node("each", "map", parameters={"items": [1, 2, 3], "concurrency": 2})
    driver = Driver(graph(each, node("b", resources=ONE), edge("each", "b", port="iteration")))
    assert (driver.execution.status, driver.execution.waiting_reason) == (Status.RUNNING, WaitingReason.RESOURCES)
    first, second = driver.seeking()
    assert not driver.place(second).events  # iterations begin in order
    driver.place(first)
    driver.place(second)
    assert driver.running() == ["each[0]/b", "each[1]/b"]
    assert seeking(driver) == []
    driver.succeed("each[0]/b", "x")
    assert seeking(driver) == ["each[2]/b"]
    driver.run()
    assert driver.execution.output == ["x", 2, 3]


def test_a_disabled_node_and_a_skipped_one_need_no_place() -> None:
    driver = Driver(
        graph(
            node("a", resources=ONE, disabled=True),
            node("b", resources=ONE),
            edge("a", "b", when="false"),
        )
    )
    assert driver.execution.status is Status.SUCCEEDED
