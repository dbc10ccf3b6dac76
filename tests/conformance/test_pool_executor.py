"""What only the pool promises: real child processes that crash, hang and are killed without harm to anything else.

Functions come from a package that is installed for the children alone: a folder with its code and its metadata.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from structlog.testing import capture_logs

from conformance.executor_trial import LIMIT, KeptBlobs, Trial, is_held, wait_for_death
from interlock.backends.executor.pool.executor import PoolExecutor
from interlock.core.commands import AttemptLost, TaskSucceeded
from interlock.core.resources import Placement
from interlock.nodes.testing import ScriptedEgress

TESTS = str(Path(__file__).parents[1])
ENTRY_POINTS = """[interlock.functions]
double = conformance.shop_functions:double
double_later = conformance.shop_functions:double_later
hand_on = conformance.shop_functions:hand_on
who = conformance.shop_functions:who
fail = conformance.shop_functions:fail
not_json = conformance.shop_functions:not_json
leave = conformance.shop_functions:leave
crash = conformance.shop_functions:crash
environment = conformance.shop_functions:environment
talk = conformance.shop_functions:talk
survive = conformance.shop_functions:survive
work = conformance.shop_functions:work
devices = conformance.shop_functions:devices
work_deaf = conformance.shop_functions:work_deaf
work_below = conformance.shop_functions:work_below
leave_work_behind = conformance.shop_functions:leave_work_behind
missing = conformance.no_such_module:function
seven = conformance.shop_functions:not_a_function
twice = conformance.shop_functions:double
"""
ENTRY_POINTS_TOO = "[interlock.functions]\ntwice = conformance.shop_functions:who\n"
MakePool = Callable[..., Awaitable[Trial]]


def install(folder: Path, name: str, entry_points: str) -> None:
    """Install a package's metadata where a child looks for it."""
    metadata = folder / f"{name}-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n", encoding="utf-8")
    (metadata / "entry_points.txt").write_text(entry_points, encoding="utf-8")


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The whole environment of the children."""
    folder = tmp_path_factory.mktemp("installed")
    install(folder, "shop", ENTRY_POINTS)
    install(folder, "shop_too", ENTRY_POINTS_TOO)
    return {"PYTHONPATH": f"{TESTS}{os.pathsep}{folder}"}


@pytest_asyncio.fixture(scope="module")
async def make_pool(environment: dict[str, str]) -> AsyncIterator[MakePool]:
    """Make pools; all are stopped in the end."""
    made: list[PoolExecutor] = []

    async def make(registry: str = "conformance.executor_probe:load", **options: Any) -> Trial:
        egress, blobs = ScriptedEgress([]), KeptBlobs()
        made.append(PoolExecutor(registry, egress, blobs, environment=environment, **options))
        await made[-1].start()
        return Trial(made[-1], egress, blobs)

    yield make
    for pool in made:
        await pool.stop(5)


@pytest_asyncio.fixture(scope="module")
async def pool(make_pool: MakePool) -> Trial:
    """A pool that tests share, as attempts do."""
    return await make_pool(size=2)


def _state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


async def _pid(trial: Trial, **changes: Any) -> int:
    result = await trial.submit("probe_plain", {"do": "pid"}, **changes).end()
    assert isinstance(result, TaskSucceeded), result
    pid: int = result.output
    return pid


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


# Registered functions


async def test_a_function_sees_the_devices_that_were_set_aside_for_it(make_pool: MakePool) -> None:
    """In a child of its own for them: what has used one device does not change to another."""
    pool = await make_pool("interlock.nodes:load", size=1)

    async def seen(*gpus: int, is_placed: bool = True) -> Any:
        placement = Placement(worker="local-1", gpus=gpus) if is_placed else None
        return (await pool.function("devices", {}, placement=placement).end()).output

    first, again, other, bare = await seen(0, 2), await seen(0, 2), await seen(1), await seen()
    assert [first[1], other[1], bare[1]] == ["0,2", "1", ""]
    assert first == again
    assert len({first[0], other[0], bare[0]}) == 3
    assert await seen(is_placed=False) == [bare[0], None]


@pytest.mark.parametrize("function", ["double", "double_later"])
async def test_a_registered_function_is_called_by_its_name(pool: Trial, function: str) -> None:
    assert (await pool.function(function, {"n": 21}).end()).output == {"doubled": 42}


async def test_a_function_gets_its_context_if_it_takes_one(pool: Trial) -> None:
    submitted = pool.function("who", attempt=4)
    output = (await submitted.end()).output
    assert (output["key"], output["attempt"]) == (submitted.attempt.effect_key, 4)
    assert output["pid"] != os.getpid()
    assert [report.message for report in submitted.progress] == ["half"]


async def test_an_exception_is_a_failure_by_its_name(pool: Trial) -> None:
    error = (await pool.function("fail").end()).error
    assert (error.code, error.message, error.retryable) == ("TimeoutError", "the till does not answer", True)
    assert error.details["raised_at"].startswith("shop_functions.py:")


async def test_a_result_that_is_no_json_is_refused(pool: Trial) -> None:
    assert (await pool.function("not_json").end()).error.code == "RESULT_NOT_JSON"


@pytest.mark.parametrize("name", ["os:getpid", "conformance.shop_functions:double", "doubl", "Double"])
async def test_a_name_that_nobody_registered_is_refused_with_those_that_are(pool: Trial, name: str) -> None:
    error = (await pool.function(name).end()).error
    assert (error.code, error.retryable) == ("FUNCTION_UNKNOWN", False)
    assert name in error.message
    assert "double, double_later" in error.message
    assert "double" in error.details["known"]


@pytest.mark.parametrize(
    ("name", "code", "told"),
    [
        ("missing", "FUNCTION_BROKEN", "no_such_module"),
        ("seven", "FUNCTION_BROKEN", "not_a_function"),
        ("twice", "FUNCTION_AMBIGUOUS", "shop_functions:who"),
    ],
)
async def test_a_bad_registration_is_said_so(pool: Trial, name: str, code: str, told: str) -> None:
    error = (await pool.function(name).end()).error
    assert error.code == code
    assert told in error.message


async def test_what_a_function_prints_is_no_message(pool: Trial) -> None:
    assert (await pool.function("talk").end()).output == "talked"


async def test_a_child_sees_only_the_environment_it_was_given(pool: Trial) -> None:
    assert set((await pool.function("environment").end()).output) <= {"PYTHONPATH", "LC_CTYPE"}


# Crashes


@pytest.mark.parametrize(
    ("name", "exit_code"),
    [("leave", 7), ("crash", 128 + 11), ("leave_work_behind", 3)],
    ids=["exit", "segfault", "fork"],
)
async def test_a_dead_child_is_a_crashed_attempt_and_nobody_elses(
    pool: Trial, tmp_path: Path, name: str, exit_code: int
) -> None:
    lock = tmp_path / "lock"
    beside = pool.probe("work", lock=str(lock))
    await beside.begin()
    with capture_logs() as lines:
        lost = await pool.function(name, {"code": 7, "lock": str(tmp_path / "left")}).end()
    assert isinstance(lost, AttemptLost)
    assert lost.crashed
    assert [(line["event"], line["exit_code"]) for line in lines] == [("executor.child_died", exit_code)]
    assert is_held(lock)
    assert beside.results == []
    beside.cancel()
    assert (await pool.function("double", {"n": 1}).end()).output == {"doubled": 2}


async def test_what_a_dead_child_left_running_is_killed(pool: Trial, tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    assert isinstance(await pool.function("leave_work_behind", {"lock": str(lock)}).end(), AttemptLost)
    assert not is_held(lock)


async def test_an_idle_child_that_dies_costs_nobody_an_attempt(make_pool: MakePool) -> None:
    trial = await make_pool(size=1)
    assert isinstance(trial.executor, PoolExecutor)
    pid = await _pid(trial)
    os.kill(pid, signal.SIGKILL)
    async with asyncio.timeout(LIMIT):
        while trial.executor.children:
            await asyncio.sleep(0.01)
    assert await _pid(trial) != pid


async def test_an_attempt_that_its_child_has_not_read_when_it_dies_is_lost_but_did_not_crash_it(
    make_pool: MakePool,
) -> None:
    trial = await make_pool(size=1)
    pid = await _pid(trial)
    os.kill(pid, signal.SIGSTOP)
    async with asyncio.timeout(LIMIT):
        while _state(pid) != "T":
            await asyncio.sleep(0.001)
    submitted = trial.submit("probe_plain", {"do": "pid"})
    await asyncio.sleep(0)
    os.kill(pid, signal.SIGKILL)
    lost = await submitted.end()
    assert isinstance(lost, AttemptLost)
    assert (lost.crashed, lost.has_begun) == (False, False)
    assert lost.error is not None
    assert lost.error.code == "CHILD_DIED"


async def test_the_signal_for_a_graceful_stop_does_not_end_a_child(pool: Trial) -> None:
    assert (await pool.function("survive").end()).output == "alive"


# Killing


@pytest.mark.parametrize("name", ["work", "work_deaf", "work_below"])
async def test_cancel_kills_whatever_a_function_does(pool: Trial, tmp_path: Path, name: str) -> None:
    lock = tmp_path / "lock"
    submitted = pool.function(name, {"lock": str(lock)})
    await submitted.begin()
    assert is_held(lock)
    with capture_logs() as lines:
        submitted.cancel()
        await wait_for_death(lock)
        await pool.settle()
    assert submitted.results == lines == []


@pytest.mark.parametrize("name", ["work_deaf", "work_below"])
async def test_a_timeout_is_reported_when_the_work_is_dead(pool: Trial, tmp_path: Path, name: str) -> None:
    lock = tmp_path / "lock"
    with capture_logs() as lines:
        result = await pool.function(name, {"lock": str(lock)}, timeout=1.5).end()
    assert (result.error.code, result.error.retryable) == ("TIMEOUT", True)
    assert not is_held(lock)
    assert lines == []


@pytest.mark.parametrize("name", ["work", "work_deaf", "work_below"])
async def test_children_die_with_a_server_that_is_killed(
    environment: dict[str, str], tmp_path: Path, name: str
) -> None:
    lock = tmp_path / "lock"
    holder = Path(__file__).with_name("hold_pool.py")
    server = await asyncio.create_subprocess_exec(
        *(sys.executable, str(holder), name, str(lock)), stdout=asyncio.subprocess.PIPE, env=environment
    )
    assert server.stdout is not None
    async with asyncio.timeout(LIMIT):
        assert await server.stdout.readline() == b"TaskReported\n"
    assert is_held(lock)
    server.kill()
    await server.wait()
    await wait_for_death(lock)


if sys.platform == "linux":  # elsewhere nothing ends the child of a guard that somebody kills

    async def test_a_child_dies_with_its_guard(pool: Trial, tmp_path: Path) -> None:
        lock = tmp_path / "lock"
        submitted = pool.function("work", {"lock": str(lock)})
        os.kill((await submitted.begin()).data, signal.SIGKILL)
        assert isinstance(await submitted.end(), AttemptLost)
        await wait_for_death(lock)


async def test_stop_kills_all_children(make_pool: MakePool, tmp_path: Path) -> None:
    trial = await make_pool(size=2)
    lock = tmp_path / "lock"
    working = trial.function("work_deaf", {"lock": str(lock)})
    idle = await _pid(trial)
    await working.begin()
    await trial.executor.stop(5)
    assert not is_held(lock)
    assert not _is_alive(idle)
    assert working.results == []


# Who runs where


async def test_a_warm_child_is_used_again(make_pool: MakePool) -> None:
    trial = await make_pool(size=1)
    assert len({await _pid(trial) for _ in range(5)}) == 1


async def test_a_child_is_replaced_after_its_attempts(make_pool: MakePool) -> None:
    trial = await make_pool(size=1, recycle_after=3)
    pids = [await _pid(trial) for _ in range(7)]
    assert [pids.count(pid) for pid in dict.fromkeys(pids)] == [3, 3, 1]


async def test_a_child_whose_memory_grows_is_replaced(make_pool: MakePool) -> None:
    trial = await make_pool(size=1)
    steady = [await _pid(trial) for _ in range(2_000)]
    assert len(set(steady)) == 1
    leaking = [(await trial.submit("probe_plain", {"do": "leak", "bytes": 100_000}).end()).output for _ in range(1_001)]
    assert len({found["pid"] for found in leaking}) == 2


async def test_an_isolated_attempt_has_a_fresh_child_to_itself(make_pool: MakePool) -> None:
    trial = await make_pool(size=1)
    used = await _pid(trial)
    alone = await _pid(trial, isolated=True)
    after = await _pid(trial)
    assert len({used, alone, after}) == 3


async def test_shipped_nodes_run_isolated_as_well(make_pool: MakePool) -> None:
    trial = await make_pool("interlock.nodes:load", size=1)
    result = await trial.submit("transform", {"mapping": {"a": 1}}, isolated=True).end()
    assert result.output == {"a": 1}
    named = {"name": "a.txt", "content": "x"}
    assert (await trial.submit("write_artifact", named, isolated=True).end()).output["size"] == 1


async def test_there_are_never_more_children_than_the_size(make_pool: MakePool) -> None:
    trial = await make_pool(size=2)
    assert isinstance(trial.executor, PoolExecutor)
    submitted = [trial.submit("probe_plain", {"do": "pid"}, isolated=number % 3 == 0) for number in range(12)]
    assert trial.executor.waiting == 12
    most = 0
    for each in submitted:
        most = max(most, trial.executor.children)
        await each.end()
    assert most == 2
    assert (trial.executor.waiting, trial.executor.running) == (0, 0)


async def test_what_waits_for_a_child_can_be_cancelled(make_pool: MakePool, tmp_path: Path) -> None:
    trial = await make_pool(size=1)
    assert isinstance(trial.executor, PoolExecutor)
    first = trial.function("work", {"lock": str(tmp_path / "lock")})
    await first.begin()
    second, third = trial.probe("answer", value=2), trial.probe("answer", value=3)
    second.cancel()
    assert (trial.executor.waiting, trial.executor.running) == (1, 1)
    first.cancel()
    assert (await third.end()).output["got"] == 3
    assert second.results == []


async def test_a_registry_that_cannot_be_loaded_loses_each_attempt_with_the_reason(make_pool: MakePool) -> None:
    trial = await make_pool("conformance.no_such_module:load", size=1)
    submitted = [trial.probe("answer", value=number) for number in range(2)]
    for each in submitted:
        lost = await each.end()
        assert isinstance(lost, AttemptLost)
        assert (lost.crashed, lost.has_begun) == (False, False)
        assert lost.error is not None
        assert (lost.error.code, lost.error.retryable) == ("CHILD_CANNOT_START", True)
        assert "no_such_module" in lost.error.message


async def test_quick_attempts_are_many_a_second(pool: Trial, record_property: Callable[[str, object], None]) -> None:
    await pool.function("double", {"n": 1}).end()
    started = time.perf_counter()
    submitted = [pool.function("double", {"n": number}) for number in range(200)]
    results = [await each.end() for each in submitted]
    rate = 200 / (time.perf_counter() - started)
    record_property("attempts_per_second", round(rate))
    print(f"\n{rate:,.0f} attempts a second in {pool.executor.name}")
    assert [result.output for result in results] == [{"doubled": 2 * number} for number in range(200)]
    assert rate > 20
