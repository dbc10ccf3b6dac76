"""Nodes of graphs that wait: for a time, a signal, a person."""

from __future__ import annotations

import pytest

from interlock.core.commands import SignalKind, TaskSuspended
from interlock.core.execution import Status, WaitingReason
from unit.engine_driver import Driver
from unit.test_engine_graph import edge, graph, node


def test_wait_rests_until_its_time() -> None:
    driver = Driver(graph(node("w", "wait", parameters={"seconds": 60}), node("b"), edge("w", "b")))
    assert (driver.execution.status, driver.execution.waiting_reason) == (Status.WAITING, WaitingReason.TIMER)
    driver.pass_time(59)
    assert driver.running() == []
    driver.pass_time(1)
    assert driver.running() == ["b"]


def test_signal_reaches_the_waiting_node() -> None:
    driver = Driver(graph(node("w", "wait", parameters={"signal": "go"})))
    assert driver.execution.waiting_reason is WaitingReason.SIGNAL
    driver.signal(SignalKind.EVENT, "go", {"x": 1})
    assert driver.execution.output == {"x": 1}


def test_early_signal_is_kept_until_somebody_waits_for_it() -> None:
    driver = Driver(graph(node("a"), node("w", "wait", parameters={"signal": "go"}), edge("a", "w")))
    driver.signal(SignalKind.EVENT, "go", "early")
    driver.check_fold()
    driver.succeed("a")
    assert driver.execution.output == "early"
    driver.check_fold()


def test_signal_that_does_not_come_in_time_fails_or_takes_the_timeout_port() -> None:
    driver = Driver(graph(node("w", "wait", parameters={"signal": "go", "timeout_seconds": 5})))
    driver.pass_time(5)
    assert driver.execution.error is not None
    patient = {"signal": "go", "timeout_seconds": 5, "on_timeout": "continue"}
    driver = Driver(graph(node("w", "wait", parameters=patient), node("late"), edge("w", "late", port="timeout")))
    driver.pass_time(5)
    assert driver.running() == ["late"]


@pytest.mark.parametrize(("status", "port"), [("approved", "confirmed"), ("denied", "rejected")])
def test_approval_chooses_the_port(status: str, port: str) -> None:
    driver = Driver(
        graph(
            node("ask", "approval", parameters={"title": "Pay?"}),
            node("confirmed"),
            node("rejected"),
            edge("ask", "confirmed", port="confirmed"),
            edge("ask", "rejected", port="rejected"),
        )
    )
    assert driver.execution.waiting_reason is WaitingReason.APPROVAL
    driver.decide_approval("ask", status, data={"edited": 1}, by="ann", decision="x")
    assert driver.running() == [port]
    assert driver.execution.tasks[port].input["mapping"]["data"] == {"edited": 1}
    driver.check_fold()


def test_expired_approval_fails_continues_or_answers_by_itself() -> None:
    for action, expected in (
        ("fail", Status.FAILED),
        ("continue", Status.SUCCEEDED),
        ("default_response", Status.SUCCEEDED),
    ):
        driver = Driver(graph(node("ask", "approval")))
        driver.decide_approval("ask", "expired", on_timeout=action, default_response={"approved": True})
        assert driver.execution.status is expected


def test_escalated_approval_keeps_waiting_with_a_new_deadline() -> None:
    driver = Driver(graph(node("ask", "approval", parameters={"timeout_seconds": 60})))
    driver.decide_approval("ask", "escalated", assignees=["boss"], expires_at="2026-01-01T02:00:00+00:00")
    assert driver.execution.status is Status.WAITING
    assert driver.execution.tasks["ask"].wake_at is not None
    driver.check_fold()


def test_task_may_answer_with_an_intent_to_ask() -> None:
    driver = Driver(graph(node("a"), node("b"), edge("a", "b", port="confirmed")))
    driver.apply(TaskSuspended(task_id="a", attempt=1, waits_for="approval", approval={"title": "Sure?"}))
    assert driver.approval().title == "Sure?"
    driver.check_fold()
    driver.decide_approval("a")
    assert driver.running() == ["b"]
