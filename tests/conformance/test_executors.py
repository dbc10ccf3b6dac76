"""What every executor promises, run for each of them; what only the pool or only inline promises is beside this."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import pytest_asyncio

from conformance.executor_probe import WAKE_AT, load
from conformance.executor_trial import KeptBlobs, Trial, is_held, wait_for_death
from conformance.sandbox_house import NoCode, good_walls
from interlock.backends.executor.inline import InlineExecutor
from interlock.backends.executor.pool.executor import PoolExecutor
from interlock.backends.executor.sandbox.executor import SandboxExecutor
from interlock.core.commands import AttemptLost, TaskErred, TaskSucceeded, TaskSuspended
from interlock.core.errors import ErrorKind, InterlockError
from interlock.nodes.testing import ScriptedEgress
from interlock.ports.egress import EgressResponse
from ray_house import RayHouse, ready

TESTS = str(Path(__file__).parents[1])


def _make(
    name: str, egress: ScriptedEgress, blobs: KeptBlobs, folder: Path, size: int = 2
) -> InlineExecutor | PoolExecutor | SandboxExecutor:
    """An executor that knows the probes, and whose children reach the folders of these tests."""
    if name == "inline":
        return InlineExecutor(load(), egress, blobs)
    path = "conformance.executor_probe:load"
    if name == "process":
        return PoolExecutor(path, egress, blobs, size=size, environment={"PYTHONPATH": TESTS})
    return SandboxExecutor(
        good_walls(),
        NoCode(),
        egress,
        blobs,
        scratch=folder,
        size=size,
        registry=path,
        writable=(str(folder),),
        paths=(TESTS,),
    )


RAY = pytest.param("ray", marks=[pytest.mark.xdist_group("ray"), pytest.mark.cluster])


async def make_trial(request: pytest.FixtureRequest, name: str, folder: Path) -> Trial:
    """An executor of that name with services of its own, not started."""
    if name == "ray":
        house: RayHouse = request.getfixturevalue("ray_house")
        await house.open()
        return house.trial()
    egress, blobs = ScriptedEgress([]), KeptBlobs()
    return Trial(_make(name, egress, blobs, folder), egress, blobs)


@pytest_asyncio.fixture(scope="module", params=["inline", "process", "sandbox", RAY])
async def trial(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Trial]:
    made = await make_trial(request, request.param, tmp_path_factory.getbasetemp())
    assert made.executor.name == request.param
    await made.executor.start()
    if request.param == "ray":
        await ready(made)
    yield made
    await made.executor.stop(5)


@pytest.fixture(autouse=True)
def open_folder(tmp_path: Path) -> None:
    """A sandbox may be a user of its own."""
    tmp_path.parent.chmod(0o711)
    tmp_path.chmod(0o777)


@pytest.mark.parametrize("node_type", ["probe", "probe_plain"])
async def test_an_answer_arrives_whole(trial: Trial, node_type: str) -> None:
    parameters = {"do": "answer", "value": {"ä": [1, 2.5, None, True, 2**70]}}
    submitted = trial.submit(node_type, parameters, blackboard={"b": 1}, attempt=3)
    result = await submitted.end()
    assert isinstance(result, TaskSucceeded)
    assert result.output == {"got": parameters["value"], "key": submitted.attempt.effect_key, "board": {"b": 1}}
    assert result.duration_ms >= 0
    told = (result.port, result.raised, result.needs_input, result.blackboard, result.ui_schema)
    if trial.executor.name == "sandbox":  # users' code gives an output and files, and decides nothing else
        assert told == ("result", (), False, {}, None)
    else:
        assert told == ("other", ("FIRST", "SECOND"), True, {"k": [1, None]}, {"components": []})


@pytest.mark.parametrize("node_type", ["probe", "probe_plain"])
@pytest.mark.parametrize(("do", "retryable"), [("fail", False), ("fail_for_now", True)])
async def test_a_failure_keeps_what_its_author_said(trial: Trial, node_type: str, do: str, retryable: bool) -> None:
    error = (await trial.submit(node_type, {"do": do}).end()).error
    assert (error.code, error.message, error.details) == ("NO_STOCK", "none left", {"sku": 7})
    assert error.retryable is retryable


async def test_a_refusal_of_the_house_keeps_its_code(trial: Trial) -> None:
    error = (await trial.probe("refuse").end()).error
    assert (error.code, error.message) == ("TILL_OFFLINE", "The till is offline")
    assert (error.retryable, error.details) == (True, {"till": 1})


@pytest.mark.parametrize("node_type", ["probe", "probe_plain"])
async def test_an_unforeseen_error_is_named_and_cut(trial: Trial, node_type: str) -> None:
    error = (await trial.submit(node_type, {"do": "raise"}).end()).error
    assert (error.code, error.retryable) == ("NODE_ERROR", False)
    assert error.message.startswith("ValueError: bbb")
    assert len(error.message) == 500


@pytest.mark.parametrize(
    ("do", "message"),
    [
        ("raise_key", "KeyError: 'probe'"),
        ("raise_nonsense", "ValueError: � and �"),
        ("exit", "SystemExit: 3"),
        ("cancel_itself", "CancelledError"),
        ("give_nothing", "The node returned NoneType instead of Done or Suspend."),
        ("suspend_without_zone", "The node wants to be woken at a time without a zone."),
        ("suspend_for_ever", "The node waits for a timer and does not say until when."),
    ],
)
async def test_whatever_a_node_does_wrong_is_an_error_of_that_attempt_only(trial: Trial, do: str, message: str) -> None:
    error = (await trial.probe(do).end()).error
    assert (error.code, error.message) == ("NODE_ERROR", message)


async def test_an_unknown_way_to_wait_is_an_error(trial: Trial) -> None:
    error = (await trial.probe("suspend_for_nothing").end()).error
    assert error.code == "NODE_ERROR"
    assert "godot" in error.message


async def test_details_that_are_no_json_do_not_hide_the_error(trial: Trial) -> None:
    error = (await trial.probe("bad_details").end()).error
    assert (error.code, error.message) == ("BAD", "bad")
    assert list(error.details) == ["details_lost"]


@pytest.mark.parametrize(
    ("do", "code"),
    [("give_a_set", "RESULT_NOT_JSON"), ("give_nul", "RESULT_NOT_JSON"), ("give_much", "RESULT_TOO_LARGE")],
)
async def test_nothing_but_json_gets_out(trial: Trial, do: str, code: str) -> None:
    assert (await trial.probe(do).end()).error.code == code


async def test_an_answer_is_reported_as_it_will_be_read_back(trial: Trial) -> None:
    assert (await trial.probe("give_a_time").end()).output == ["2027-01-01T00:00:00Z", [1, 2]]


async def test_an_answer_of_the_wrong_shape_is_an_error(trial: Trial) -> None:
    result = await trial.probe("give_bad_port").end()
    assert isinstance(result, TaskErred)
    assert result.error.code == "NODE_ERROR"
    assert "$.port" in result.error.message


async def test_a_type_without_code_is_an_error(trial: Trial) -> None:
    assert (await trial.submit("nowhere", {}).end()).error.code == "NODE_TYPE_UNKNOWN"
    assert (await trial.submit("wait", {}).end()).error.code == "NODE_TYPE_UNKNOWN"


async def test_a_node_gets_a_copy_of_its_attempt(trial: Trial) -> None:
    submitted = trial.probe("change")
    assert (await submitted.end()).output == "changed"
    assert submitted.attempt.parameters == {"do": "change"}
    assert submitted.attempt.blackboard == {}


async def test_an_intent_to_rest_is_reported(trial: Trial) -> None:
    result = await trial.probe("suspend").end()
    if trial.executor.name == "sandbox":
        assert (result.error.code, "cannot let its task wait" in result.error.message) == ("NODE_ERROR", True)
        return
    assert isinstance(result, TaskSuspended)
    assert (result.waits_for, result.wake_at) == ("timer", WAKE_AT)
    assert (await trial.probe("ask").end()).approval == {"title": "Sure?"}


async def test_an_attempt_that_takes_too_long_is_ended_and_may_be_tried_again(trial: Trial, tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    error = (await trial.submit("probe", {"do": "work", "lock": str(lock)}, timeout=1.5).end()).error
    assert (error.code, error.retryable) == ("TIMEOUT", True)
    assert error.message == "The attempt took longer than 1.5 seconds"
    await wait_for_death(lock)


async def test_cancel_ends_the_real_work_and_nothing_more_is_heard_of_it(trial: Trial, tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    submitted = trial.probe("work", lock=str(lock))
    assert (await submitted.begin()).message == "working"
    assert is_held(lock)
    submitted.cancel()
    await wait_for_death(lock)
    await trial.settle()
    assert submitted.results == []


async def test_cancel_of_what_does_not_run_here_does_nothing(trial: Trial) -> None:
    trial.executor.cancel(UUID(int=0), "task")
    submitted = trial.probe("answer", value=1)
    trial.executor.cancel(submitted.attempt.execution_id, "another task")
    assert isinstance(await submitted.end(), TaskSucceeded)


async def test_no_report_comes_after_its_cancel(trial: Trial) -> None:
    cancelled = []
    for number in range(100):
        submitted = trial.probe("count", steps=1)
        for _ in range(number % 7):
            await asyncio.sleep(0)
        submitted.cancel()
        cancelled.append((submitted, len(submitted.results), len(submitted.progress)))
    await trial.settle()
    for submitted, results, progress in cancelled:
        assert (len(submitted.results), len(submitted.progress)) == (results, progress)


async def test_a_new_attempt_of_a_task_ends_the_one_before(trial: Trial, tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    first = trial.probe("work", lock=str(lock))
    await first.begin()
    given = {"do": "answer", "value": 1}
    second = trial.submit("probe", given, execution_id=first.attempt.execution_id, attempt=2)
    assert (await second.end()).attempt == 2
    await wait_for_death(lock)
    assert first.results == []


async def test_progress_comes_before_the_result_and_at_most_once_a_second(trial: Trial) -> None:
    started = time.monotonic()
    submitted = trial.probe("count", steps=50)
    assert (await submitted.end()).output == 50
    assert len(submitted.progress) <= 1 + int(time.monotonic() - started)
    first = submitted.progress[0]
    assert (first.progress, first.message, first.data) == (0.0, "step 0", {"step": 0})


async def test_progress_stays_between_0_and_1(trial: Trial) -> None:
    submitted = trial.probe("count_too_far")
    await submitted.end()
    assert submitted.progress[0].progress == 1.0


async def test_progress_that_is_no_json_fails_the_attempt(trial: Trial) -> None:
    submitted = trial.probe("report_nonsense")
    assert (await submitted.end()).error.code == "RESULT_NOT_JSON"
    assert submitted.progress == []


async def test_progress_may_be_reported_from_a_thread(trial: Trial) -> None:
    submitted = trial.probe("report_in_a_thread")
    await submitted.end()
    assert [report.message for report in submitted.progress] == ["from a thread"]


async def test_an_artifact_is_stored_before_the_result_names_it(trial: Trial) -> None:
    result = await trial.probe("write", name="Ärger (1).txt", text="grün").end()
    ref = result.artifacts[0]
    assert (ref.name, ref.size, ref.content_type) == ("Ärger (1).txt", 5, "text/plain")
    assert trial.blobs.contents["tenant", ref.sha256] == "grün".encode()


async def test_an_attempt_that_fails_as_its_file_cannot_be_stored_now_is_lost_with_the_reason(trial: Trial) -> None:
    with trial.blobs.away():
        lost = await trial.probe("write", name="report.md", text="away").end()
    assert isinstance(lost, AttemptLost), lost
    assert (lost.crashed, lost.has_begun) == (False, True)
    assert lost.error is not None
    assert (lost.error.code, lost.error.message) == ("SERVICE_UNAVAILABLE", "The blobs are away")


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", "../a", "a/b", "a\\b", ".hidden", "-rf", "a\nb", "a\0b", "a ", "a.", "a" * 129, "漢" * 86, "a:b"],
)
async def test_an_artifact_needs_a_plain_file_name(trial: Trial, name: str) -> None:
    before = dict(trial.blobs.contents)
    assert (await trial.probe("write", name=name, text="x").end()).error.code == "ARTIFACT_NAME_INVALID"
    assert trial.blobs.contents == before


async def test_an_artifact_has_its_limit(trial: Trial) -> None:
    assert (await trial.probe("write_much", size=32 * 1_048_576 + 1).end()).error.code == "ARTIFACT_TOO_LARGE"


async def test_a_call_to_the_outside_goes_through_the_egress_it_was_given(trial: Trial) -> None:
    trial.egress.answers.append(EgressResponse(201, {"x": "y"}, b"\x00\xfe", True))
    result = await trial.probe("call", url="https://a.example/").end()
    assert result.output == [201, {"x": "y"}, [0, 254], True]
    sent = trial.egress.calls[-1]
    assert (sent["method"], sent["url"], sent["body"]) == ("POST", "https://a.example/", b"\x00\xff")
    assert (sent["headers"], sent["timeout"], sent["max_bytes"]) == ({"a": "b"}, 5, 10)


async def test_a_refused_call_to_the_outside_fails_as_the_egress_said(trial: Trial) -> None:
    refusal = InterlockError(ErrorKind.DENIED, "EGRESS_BLOCKED", "not allowed", details={"host": "a"})
    trial.egress.answers.append(refusal)
    error = (await trial.probe("call", url="https://a.example/").end()).error
    assert (error.code, error.message, error.retryable) == ("EGRESS_BLOCKED", "not allowed", False)
    assert error.details == {"host": "a"}


async def test_many_attempts_at_once_all_report_exactly_once(trial: Trial) -> None:
    submitted = [trial.probe("answer", value=number) for number in range(200)]
    results: list[Any] = [await each.end() for each in submitted]
    assert [result.output["got"] for result in results] == list(range(200))
    assert all(len(each.results) == 1 for each in submitted)


async def test_after_stop_nothing_runs_or_reports(trial: Trial, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """A second executor of the same kind, because this one's end is the test."""
    stopped = await make_trial(request, trial.executor.name, tmp_path.parent)
    await stopped.executor.start()
    if stopped.executor.name == "ray":
        await ready(stopped)
    lock = tmp_path / "lock"
    working = stopped.probe("work", lock=str(lock))
    await working.begin()
    waiting = None
    if trial.executor.name != "inline":
        for number in range(3):
            stopped.probe("work", lock=str(tmp_path / str(number)))
        waiting = stopped.probe("count", steps=1)
    before = time.monotonic()
    await stopped.executor.stop(5)
    assert time.monotonic() - before < 5
    await wait_for_death(lock, 0.5)
    late = stopped.submit("probe_plain", {"do": "answer", "value": 1})
    await trial.settle()
    assert working.results == late.results == []
    assert waiting is None or waiting.results == []
