"""Graphs: joins, branches, failures, retries, ends; each behaviour by its events."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest

from interlock.core.commands import AttemptLost, SignalKind
from interlock.core.engine.kernels import MAX_DEPTH
from interlock.core.engine.losing import MAX_CRASHES
from interlock.core.events import (
    ExecutionCancelled,
    ExecutionFailed,
    Parent,
    TaskCompleted,
    TaskFailed,
    TaskSkipped,
    TaskStarted,
)
from interlock.core.execution import Status, WaitingReason
from interlock.core.workflow import (
    ConnectionDefinition,
    GraphDefinition,
    GraphSettings,
    NodeDefinition,
    RetryPolicy,
)
from unit.engine_driver import Driver


def node(node_id: str, kind: str = "transform", **more: Any) -> NodeDefinition:
    parameters = more.pop("parameters", {"mapping": "{{ $json }}"} if kind == "transform" else {})
    return NodeDefinition(id=node_id, type=kind, parameters=parameters, **more)


def edge(source: str, target: str, **more: Any) -> ConnectionDefinition:
    return ConnectionDefinition(source=source, target=target, **more)


def graph(*parts: Any, **settings: Any) -> GraphDefinition:
    return GraphDefinition(
        nodes=tuple(part for part in parts if isinstance(part, NodeDefinition)),
        connections=tuple(part for part in parts if isinstance(part, ConnectionDefinition)),
        settings=GraphSettings(**settings),
    )


def test_chain_passes_each_output_to_the_next_node() -> None:
    add = {"mapping": {"v": "{{ $json.v + 1 }}"}}
    driver = Driver(graph(node("a", parameters=add), node("b", parameters=add), edge("a", "b")), {"v": 1})
    assert driver.run().output == {"v": 3}
    assert driver.types() == [
        "execution.started",
        "task.started",
        "task.completed",
        "task.started",
        "task.completed",
        "execution.succeeded",
    ]
    driver.check_fold()


def test_graph_without_nodes_succeeds_at_once() -> None:
    driver = Driver(graph())
    assert driver.execution.status is Status.SUCCEEDED


def test_independent_nodes_run_in_parallel_and_the_join_waits_for_all() -> None:
    driver = Driver(graph(node("a"), node("b"), node("c"), edge("a", "c"), edge("b", "c")), {"x": 1})
    assert driver.running() == ["a", "b"]
    driver.succeed("b", {"b": 2})
    assert driver.running() == ["a"]
    driver.succeed("a", {"a": 1})
    assert driver.execution.tasks["c"].input == {"mapping": {"a": 1, "b": 2}}
    assert driver.run().status is Status.SUCCEEDED


def test_join_any_runs_with_the_first_arrival_only_once() -> None:
    driver = Driver(graph(node("a"), node("b"), node("c", join="any"), edge("a", "c"), edge("b", "c")), 0)
    driver.succeed("b", "first")
    assert driver.execution.tasks["c"].input == {"mapping": "first"}
    driver.succeed("c", "done")
    driver.succeed("a", "late")
    assert driver.execution.status is Status.SUCCEEDED
    assert len([event for event in driver.of(TaskStarted) if event.node_id == "c"]) == 1


def test_max_parallel_bounds_running_tasks() -> None:
    driver = Driver(graph(*(node(f"n{i}") for i in range(5)), max_parallel=2))
    assert len(driver.running()) == 2
    driver.succeed("n0")
    assert driver.running() == ["n1", "n2"]


def test_condition_takes_one_branch_and_skips_the_other_up_to_the_join() -> None:
    driver = Driver(
        graph(
            node("if", "condition", parameters={"condition_expression": "data.n > 10"}),
            node("big"),
            node("small"),
            node("smaller"),
            node("end"),
            edge("if", "big", port="true"),
            edge("if", "small", port="false"),
            edge("small", "smaller"),
            edge("big", "end"),
            edge("smaller", "end"),
        ),
        {"n": 11},
    )
    assert driver.run().status is Status.SUCCEEDED
    assert [event.node_id for event in driver.of(TaskSkipped)] == ["small", "smaller"]
    assert driver.execution.output["condition_result"] is True


def test_connection_condition_and_mapping_are_evaluated_once_and_recorded() -> None:
    driver = Driver(
        graph(
            node("a"),
            node("yes"),
            node("no"),
            edge("a", "yes", when="$json.ok", mapping={"got": "{{ $json.v }}"}),
            edge("a", "no", when="!$json.ok"),
        ),
        {"ok": True, "v": 7},
    )
    driver.succeed("a", {"ok": True, "v": 7})
    assert driver.of(TaskCompleted)[0].dead == (1,)
    assert driver.execution.tasks["yes"].input == {"mapping": {"got": 7}}
    driver.check_fold()


def test_failure_stops_the_execution_and_names_the_node() -> None:
    driver = Driver(graph(node("a"), node("b"), node("c"), edge("a", "c")))
    driver.err("a")
    assert driver.execution.status is Status.FAILED
    failed = driver.of(ExecutionFailed)[0]
    assert (failed.error.code, failed.error.node_id, failed.failed) == ("BOOM", "a", ("a",))
    driver.check_fold()


def test_failure_lets_independent_nodes_finish_if_the_graph_says_so() -> None:
    driver = Driver(graph(node("a"), node("b"), node("c"), edge("a", "c"), on_failure="continue"))
    driver.err("a")
    assert driver.running() == ["b"]
    driver.succeed("b", 1)
    failed = driver.of(ExecutionFailed)[0]
    assert (failed.failed, failed.skipped) == (("a",), ("c",))


def test_on_error_continue_goes_on_with_null() -> None:
    driver = Driver(graph(node("a", on_error="continue"), node("b"), edge("a", "b")))
    driver.err("a")
    assert driver.execution.tasks["b"].input == {"mapping": None}
    assert driver.run().status is Status.SUCCEEDED


def test_on_error_error_output_takes_the_error_port() -> None:
    driver = Driver(
        graph(
            node("a", on_error="error_output"), node("ok"), node("bad"), edge("a", "ok"), edge("a", "bad", port="error")
        )
    )
    driver.err("a")
    assert driver.execution.tasks["bad"].input["mapping"]["error"]["code"] == "BOOM"
    assert [event.node_id for event in driver.of(TaskSkipped)] == ["ok"]


def test_retry_waits_and_uses_the_same_input() -> None:
    policy = RetryPolicy(max_attempts=3, backoff=1, jitter=False)
    driver = Driver(graph(node("a", retry=policy)), {"x": 1})
    driver.err("a", retryable=True)
    assert driver.execution.waiting_reason is WaitingReason.RETRY_AT
    driver.pass_time(0.5)
    assert driver.running() == []
    driver.pass_time(0.5)
    assert driver.running() == ["a"]
    assert driver.execution.tasks["a"].attempt == 2
    assert driver.execution.tasks["a"].input == {"mapping": {"x": 1}}
    driver.err("a", retryable=True)
    driver.pass_time(2)
    driver.err("a", retryable=True)
    assert driver.execution.status is Status.FAILED
    assert [event.will_retry for event in driver.of(TaskFailed)] == [True, True, False]
    driver.check_fold()


def test_error_that_is_not_retryable_is_not_retried() -> None:
    driver = Driver(graph(node("a", retry=RetryPolicy(max_attempts=5))))
    driver.err("a")
    assert driver.execution.status is Status.FAILED


def test_retry_on_lists_the_codes_that_are_retried() -> None:
    driver = Driver(graph(node("a", retry=RetryPolicy(max_attempts=2, retry_on=("FLAKY",)))))
    driver.err("a", "FLAKY")
    assert driver.execution.status is Status.WAITING


def test_lost_attempt_is_replaced_without_using_up_a_retry() -> None:
    driver = Driver(graph(node("a", retry=RetryPolicy(max_attempts=1))))
    driver.lose("a")
    assert driver.execution.tasks["a"].attempt == 2
    assert not driver.execution.tasks["a"].isolated
    driver.lose("a")
    assert driver.execution.tasks["a"].isolated, "lost twice inline: the third attempt runs alone"
    driver.succeed("a", 1)
    assert driver.execution.status is Status.SUCCEEDED


def test_an_attempt_waits_for_what_is_away_longer_each_time_and_uses_up_no_retry() -> None:
    driver = Driver(graph(node("a", retry=RetryPolicy(max_attempts=2, backoff=5, jitter=False))))
    waits = []
    for _ in range(1_100):
        driver.miss("a")
        failed = driver.of(TaskFailed)[-1]
        assert (failed.error.code, failed.will_retry, failed.lost) == ("AWAY", True, True)
        assert driver.execution.waiting_reason is WaitingReason.RETRY_AT
        assert failed.retry_at is not None
        waits.append((failed.retry_at - driver.now).total_seconds())
        driver.pass_time(waits[-1])
        assert driver.running() == ["a"]
    assert [0.5 <= wait / 2**number <= 1 for number, wait in enumerate(waits[:6])] == [True] * 6
    assert all(30 <= wait <= 60 for wait in waits[6:])
    assert not driver.execution.tasks["a"].isolated
    driver.err("a", retryable=True)
    assert driver.execution.tasks["a"].failures == 1
    driver.pass_time(5)
    driver.err("a", retryable=True)
    assert driver.execution.status is Status.FAILED
    driver.check_fold()


def test_what_is_away_for_longer_than_the_deadline_of_the_task_ends_it() -> None:
    driver = Driver(graph(node("a", deadline=5)))
    driver.miss("a")
    driver.pass_time(5)
    assert driver.execution.error is not None
    assert driver.execution.error.code == "TIMEOUT"


def test_task_whose_own_process_dies_three_times_is_quarantined() -> None:
    driver = Driver(graph(node("a")))
    for _ in range(MAX_CRASHES):
        driver.lose("a", crashed=True)
    assert driver.of(TaskFailed)[-1].quarantined
    assert driver.execution.error is not None
    assert driver.execution.error.code == "TASK_QUARANTINED"


def test_result_of_an_older_attempt_is_dropped() -> None:
    driver = Driver(graph(node("a")))
    driver.lose("a")
    before = len(driver.log)
    driver.apply(AttemptLost(task_id="a", attempt=1))
    assert len(driver.log) == before


def test_task_deadline_ends_all_attempts() -> None:
    policy = RetryPolicy(max_attempts=10, backoff=1, jitter=False)
    driver = Driver(graph(node("a", retry=policy, deadline=5)))
    driver.err("a", retryable=True)
    driver.pass_time(1)
    driver.pass_time(4)
    assert driver.execution.error is not None
    assert driver.execution.error.code == "TIMEOUT"


def test_the_timeout_of_a_kernel_node_is_one_for_its_task() -> None:
    driver = Driver(graph(node("w", "wait", parameters={"seconds": 60}, timeout=5)))
    driver.pass_time(5)
    assert driver.execution.error is not None
    assert driver.execution.error.code == "TIMEOUT"


def test_cancel_ends_at_once_and_nothing_starts_afterwards() -> None:
    driver = Driver(graph(node("a"), node("b"), edge("a", "b")))
    driver.signal(SignalKind.CANCEL, payload={"reason": "enough"})
    assert driver.of(ExecutionCancelled)[0].reason == "enough"
    before = len(driver.log)
    turn = driver.signal(SignalKind.CANCEL)
    assert turn.refusal is not None
    assert len(driver.log) == before


def test_pause_lets_running_work_finish_and_starts_nothing() -> None:
    driver = Driver(graph(node("a"), node("b"), edge("a", "b")))
    driver.signal(SignalKind.PAUSE)
    driver.succeed("a", 1)
    assert driver.running() == []
    assert driver.execution.status is Status.PAUSED
    driver.check_fold()
    driver.signal(SignalKind.RESUME)
    assert driver.running() == ["b"]


def test_execution_deadline_fails_it_as_timeout() -> None:
    driver = Driver(graph(node("a")))
    driver.execution.deadline_at = driver.now
    driver.pass_time(0)
    assert driver.execution.error is not None
    assert driver.execution.error.code == "TIMEOUT"


def test_bad_expression_fails_the_node_and_not_the_engine() -> None:
    driver = Driver(
        graph(node("a", parameters={"mapping": "{{ 1 / 0 }}"}, on_error="continue"), node("b"), edge("a", "b"))
    )
    assert driver.of(TaskFailed)[0].error.code == "EXPRESSION_ERROR"
    assert driver.run().status is Status.SUCCEEDED


def test_subworkflow_starts_a_child_with_its_event_and_takes_its_output() -> None:
    driver = Driver(graph(node("sub", "subworkflow", parameters={"workflow": "other"}), node("b"), edge("sub", "b")), 5)
    child_id = driver.execution.tasks["sub"].child_id
    assert child_id is not None
    ended = {"task_id": "sub", "status": "succeeded", "output": 9}
    driver.signal(SignalKind.CHILD_ENDED, payload=ended | {"child_id": str(UUID(int=1))})
    assert "sub" in driver.execution.tasks  # another child of that task is not the one that is waited for
    driver.signal(SignalKind.CHILD_ENDED, payload=ended | {"child_id": str(child_id)})
    assert driver.execution.tasks["b"].input == {"mapping": 9}


def test_failed_child_fails_its_parent_with_its_error() -> None:
    driver = Driver(graph(node("sub", "subworkflow", parameters={"workflow": "other"})))
    ended = {"task_id": "sub", "child_id": str(driver.execution.tasks["sub"].child_id), "status": "failed"}
    driver.signal(SignalKind.CHILD_ENDED, payload=ended | {"error": {"code": "DEEP", "message": "below"}})
    assert driver.execution.error is not None
    assert driver.execution.error.code == "DEEP"


def test_disabled_node_passes_its_data_on() -> None:
    driver = Driver(graph(node("a", disabled=True, parameters={"mapping": "changed"}), node("b"), edge("a", "b")), 7)
    assert driver.execution.tasks["b"].input == {"mapping": 7}


@pytest.mark.parametrize(
    ("kind", "parameters"),
    [
        ("map", {"items": [1], "batch_size": "{{ 'abc' }}"}),
        ("map", {"items": [1], "concurrency": "{{ 'x' }}"}),
        ("loop", {"times": "{{ 'abc' }}"}),
        ("loop", {"while": "true", "max_iterations": "{{ 'abc' }}"}),
        ("wait", {"signal": "go", "timeout_seconds": "{{ 1e300 }}"}),
        ("wait", {"seconds": "{{ -1 }}"}),
        ("wait", {"until": "{{ 'tomorrow' }}"}),
        ("approval", {"timeout_seconds": "{{ 1e15 }}"}),
        ("approval", {"fields": "{{ 5 }}"}),
        ("approval", {"options": "{{ 5 }}"}),
    ],
)
def test_rendered_parameter_without_a_usable_value_fails_the_node(kind: str, parameters: dict[str, Any]) -> None:
    body = (node("body"), edge("n", "body", port="iteration")) if kind in ("map", "loop") else ()
    driver = Driver(graph(node("n", kind, parameters=parameters), *body))
    assert driver.execution.error is not None
    assert driver.execution.error.code == "PARAMETER_INVALID"
    driver.check_fold()


def test_output_setting_shapes_the_result() -> None:
    driver = Driver(graph(node("a"), output={"answer": "{{ $node['a'].result.v }}"}), {"v": 42})
    assert driver.run().output == {"answer": 42}


def test_execution_may_begin_at_a_node_with_the_input_as_its_data() -> None:
    driver = Driver(graph(node("a"), node("b"), edge("a", "b")), 5, start_at="b")
    assert driver.execution.tasks["b"].input == {"mapping": 5}
    assert driver.run().output == 5


@pytest.mark.parametrize(
    ("answer", "status", "attempt"), [("approved", Status.RUNNING, 2), ("denied", Status.FAILED, None)]
)
def test_a_person_says_whether_a_lost_attempt_is_run_again(answer: str, status: Status, attempt: int | None) -> None:
    driver = Driver(graph(node("pay", "charge"), node("b"), edge("pay", "b")))
    driver.lose("pay")
    assert (driver.execution.status, driver.execution.waiting_reason) == (Status.WAITING, WaitingReason.APPROVAL)
    driver.decide_approval("pay", answer)
    assert driver.execution.status is status
    if attempt is None:
        assert driver.execution.error is not None
        assert driver.execution.error.code == "OUTCOME_UNKNOWN"
    else:
        assert driver.execution.tasks["pay"].attempt == attempt


def test_an_attempt_whose_effect_must_not_be_repeated_fails_when_it_is_lost() -> None:
    driver = Driver(graph(node("a", "shoot")))
    driver.miss("a", has_begun=False)
    assert driver.execution.status is Status.WAITING, "it cannot have had its effect"
    driver.pass_time(1)
    driver.miss("a")
    assert driver.execution.error is not None
    assert driver.execution.error.code == "OUTCOME_UNKNOWN"
    other = Driver(graph(node("a", "shoot")))
    other.lose("a")
    assert other.execution.error is not None
    assert other.execution.error.code == "OUTCOME_UNKNOWN"


def test_sub_workflows_that_start_themselves_end_at_a_depth() -> None:
    above = Parent(UUID(int=1), "sub", MAX_DEPTH)
    driver = Driver(graph(node("sub", "subworkflow", parameters={"workflow": "other"})), parent=above)
    assert driver.execution.error is not None
    assert driver.execution.error.code == "SUBWORKFLOW_TOO_DEEP"
