"""Nodes that call functions: what they are given, and that they run only if everything before them has a result."""

from __future__ import annotations

from interlock.core.events import ExecutionFailed, TaskFailed, TaskSkipped, TaskStarted
from interlock.core.workflow import NodeDefinition, Reference, RetryPolicy
from unit.engine_driver import Driver
from unit.test_engine_graph import edge, graph


def calling(node_id: str, arguments: dict[str, Reference] | None = None, **more: object) -> NodeDefinition:
    return NodeDefinition(
        id=node_id,
        type="transform",
        parameters={"mapping": {}},
        arguments=arguments or {},
        join="every",
        **more,  # type: ignore[arg-type]
    )


def test_arguments_are_data_of_the_author_of_the_start_and_of_others() -> None:
    read = {"z": Reference(node="a", key="y")}
    definition = graph(calling("a"), calling("b", read, input={"x": "{{ $json }}", "w": 1}), edge("a", "b"))
    driver = Driver(definition, {"b": {"w": 2, "z": "hidden"}})
    driver.succeed("a", {"y": "{{ 1 + 1 }}", "more": 1})
    first, second = driver.of(TaskStarted)
    assert first.input["arguments"] == {}
    assert second.input["arguments"] == {"x": "{{ $json }}", "w": 2, "z": "{{ 1 + 1 }}"}


def test_a_key_that_was_not_given_fails_who_reads_it() -> None:
    read = {"z": Reference(node="a", key="y")}
    definition = graph(calling("a", name="first"), calling("b", read), edge("a", "b"), on_failure="continue")
    driver = Driver(definition)
    driver.succeed("a", {"x": 1})
    (failed,) = driver.of(TaskFailed)
    assert (failed.task_id, failed.error.code) == ("b", "INPUT_MISSING")
    assert failed.error.message == "Input 'z' is missing: task 'first' gave no 'y'"
    driver.check_fold()


def test_every_one_before_it_must_have_a_result() -> None:
    nodes = [calling("a"), calling("b"), calling("c"), calling("d")]
    definition = graph(*nodes, edge("a", "c"), edge("b", "c"), edge("c", "d"), on_failure="continue")
    driver = Driver(definition)
    driver.succeed("a", {})
    driver.err("b")
    assert [event.task_id for event in driver.of(TaskSkipped)] == ["c", "d"]
    (ended,) = driver.of(ExecutionFailed)
    assert (ended.failed, ended.skipped) == (("b",), ("c", "d"))
    driver.check_fold()


def test_any_error_is_tried_again_where_the_policy_says_so() -> None:
    driver = Driver(graph(calling("a", retry=RetryPolicy(max_attempts=2, retry_on=("*",)))))
    driver.err("a", "WHATEVER")
    driver.pass_time(5.0)
    assert [event.attempt for event in driver.of(TaskStarted)] == [1, 2]
    driver.err("a", "WHATEVER")
    assert [event.will_retry for event in driver.of(TaskFailed)] == [True, False]
