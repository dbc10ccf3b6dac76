"""What only the inline executor promises: quick nodes report at once, slow ones are noticed."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from structlog.testing import capture_logs

from conformance.executor_probe import load
from conformance.executor_trial import KeptBlobs, Trial
from interlock.backends.executor.inline import STALL, InlineExecutor
from interlock.core.commands import TaskReported
from interlock.nodes.testing import ScriptedEgress
from interlock.ports.executor import Result


class Stalls(list[tuple[float, str]]):
    """The stalls an executor told of."""

    def add(self, seconds: float, node_type: str) -> None:
        self.append((seconds, node_type))


@pytest.fixture
def stalls() -> Stalls:
    return Stalls()


@pytest_asyncio.fixture
async def trial(stalls: Stalls) -> AsyncIterator[Trial]:
    registry, egress, blobs = load(), ScriptedEgress([]), KeptBlobs()
    executor = InlineExecutor(registry, egress, blobs, trusted=registry.shipped, on_stall=stalls.add)
    await executor.start()
    yield Trial(executor, egress, blobs)
    await executor.stop(5)


@pytest.mark.parametrize("node_type", ["transform", "echo"])
async def test_a_plain_node_has_reported_when_submit_returns(trial: Trial, node_type: str) -> None:
    submitted = trial.submit(node_type, {"mapping": {"a": 1}})
    assert len(submitted.results) == 1


async def test_a_node_that_keeps_the_loop_is_counted_and_logged_by_name(trial: Trial, stalls: Stalls) -> None:
    with capture_logs() as lines:
        await trial.submit("probe_plain", {"do": "stall"}).end()
    ((seconds, node_type),) = stalls
    assert node_type == "probe_plain"
    assert seconds > STALL
    (line,) = lines
    assert (line["event"], line["node_type"]) == ("executor.loop_stalled", "probe_plain")


async def test_an_unforeseen_error_is_logged_with_its_traceback(trial: Trial) -> None:
    with capture_logs() as lines:
        submitted = trial.probe("raise")
        await submitted.end()
    (line,) = lines
    assert (line["event"], line["node_type"], line["trace_id"]) == ("executor.node_error", "probe", "trace")
    assert line["execution_id"] == str(submitted.attempt.execution_id)
    assert "executor_probe.py" in line["traceback"]


async def test_a_failure_the_node_meant_is_not_logged_as_an_error(trial: Trial) -> None:
    with capture_logs() as lines:
        await trial.probe("fail").end()
    assert lines == []


async def test_progress_from_a_thread_arrives_on_the_loop(trial: Trial) -> None:
    threads: list[int] = []

    def report(execution_id: Any, result: Result) -> None:
        if isinstance(result, TaskReported):
            threads.append(threading.get_ident())

    submitted = trial.probe("report_in_a_thread")
    trial.executor.submit(submitted.attempt, report)  # the same attempt again, with another listener
    await trial.settle()
    async with asyncio.timeout(5):
        while not threads:
            await asyncio.sleep(0)
    assert threads == [threading.get_ident()]


async def test_a_node_that_refuses_to_stop_is_answered_for_in_time(trial: Trial) -> None:
    before = time.monotonic()
    result = await trial.submit("probe", {"do": "refuse_to_stop", "seconds": 1.0}, timeout=0.1).end()
    assert result.error.code == "TIMEOUT"
    assert time.monotonic() - before < 0.9


async def test_stop_does_not_wait_longer_than_its_grace() -> None:
    executor = InlineExecutor(load(), ScriptedEgress([]), KeptBlobs())
    await executor.start()
    trial = Trial(executor, ScriptedEgress([]), KeptBlobs())
    submitted = trial.probe("refuse_to_stop", seconds=1.0)
    await trial.settle()
    before = time.monotonic()
    await executor.stop(0.1)
    assert time.monotonic() - before < 0.9
    assert submitted.results == []


async def test_a_cancelled_attempt_that_had_no_first_step_leaves_nothing_behind(trial: Trial) -> None:
    submitted = trial.probe("count", steps=1)
    submitted.cancel()
    await trial.settle()
    assert submitted.results == []


async def test_an_executor_must_be_started() -> None:
    trial = Trial(InlineExecutor(load(), ScriptedEgress([]), KeptBlobs()), ScriptedEgress([]), KeptBlobs())
    with pytest.raises(RuntimeError, match="not started"):
        trial.probe("answer", value=1)
