"""What batches promise, over the real pool: one call for all members, and each member's own result."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import UUID, uuid4

import pytest
import pytest_asyncio

import interlock
from conformance.executor_trial import KeptBlobs, Submitted, Trial, wait_for_death
from conformance.test_pool_executor import install
from interlock.backends.executor.batching import BatchingExecutor
from interlock.backends.executor.pool.executor import PoolExecutor
from interlock.core.commands import TaskErred, TaskSucceeded
from interlock.core.resources import Placement
from interlock.nodes.testing import ScriptedEgress

SOURCE = str(Path(interlock.__file__).parents[1])
TESTS = str(Path(__file__).parents[1])
FUNCTIONS = ("double_all", "one_too_few", "spoiled", "crash_on", "hold_all", "have_to_oneself", "tell_keys")
ENTRY_POINTS = "[interlock.functions]\n" + "\n".join(
    f"{name} = conformance.batch_functions:{name}" for name in FUNCTIONS
)


@pytest_asyncio.fixture(scope="module")
async def trial(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Trial]:
    folder = tmp_path_factory.mktemp("installed")
    install(folder, "batches", ENTRY_POINTS)
    environment = {"PYTHONPATH": os.pathsep.join((SOURCE, TESTS, str(folder)))}
    egress, blobs = ScriptedEgress([]), KeptBlobs()
    executor = BatchingExecutor(
        PoolExecutor("conformance.executor_probe:load", egress, blobs, environment=environment, size=2)
    )
    await executor.start()
    yield Trial(executor, egress, blobs)
    await executor.stop(5)


def submit(trial: Trial, name: str, arguments: list[dict[str, object]], size: int | None = None) -> list[Submitted]:
    """Submit the members of one batch of ``size``, by default all of them."""
    placement = Placement(worker="local-1", batch_id=str(uuid4()), batch_size=size or len(arguments))
    return [
        trial.function(name, given, task_id=f"task-{index}", placement=placement)
        for index, given in enumerate(arguments)
    ]


async def outputs(members: list[Submitted]) -> list[object]:
    ends = [await member.end() for member in members]
    assert all(isinstance(end, TaskSucceeded) for end in ends), ends
    return [end.output for end in ends]


@pytest.mark.asyncio(loop_scope="module")
async def test_the_function_is_called_once_and_the_results_find_their_members(trial: Trial) -> None:
    members = submit(trial, "double_all", [{"n": n} for n in range(5)])
    assert await outputs(members) == [{"doubled": n * 2, "of": 5} for n in range(5)]


@pytest.mark.asyncio(loop_scope="module")
async def test_one_member_comes_as_a_list_too(trial: Trial) -> None:
    assert await outputs(submit(trial, "double_all", [{"n": 4}])) == [{"doubled": 8, "of": 1}]


@pytest.mark.asyncio(loop_scope="module")
async def test_the_function_knows_the_effect_key_of_each_member(trial: Trial) -> None:
    members = submit(trial, "tell_keys", [{}, {}])
    assert await outputs(members) == [{"key": member.attempt.effect_key} for member in members]
    alone = trial.function("tell_keys", {})
    assert await outputs([alone]) == [[{"key": alone.attempt.effect_key}]]


@pytest.mark.asyncio(loop_scope="module")
async def test_a_list_of_another_length_fails_every_member(trial: Trial) -> None:
    for member in submit(trial, "one_too_few", [{"n": 1}, {"n": 2}]):
        end = await member.end()
        assert isinstance(end, TaskErred)
        assert end.error.code == "BATCH_RESULT_MISMATCH"
        assert "a list of 2" in end.error.message


@pytest.mark.asyncio(loop_scope="module")
async def test_of_a_call_that_raises_the_bad_member_fails_alone(trial: Trial) -> None:
    good, bad, last = submit(trial, "spoiled", [{"n": 1}, {"n": -1}, {"n": 3}])
    assert (await good.end()).output == {"alone": 1}
    assert (await last.end()).output == {"alone": 3}
    assert (await bad.end()).error.code == "ValueError"


@pytest.mark.asyncio(loop_scope="module")
async def test_of_a_call_that_dies_the_bad_member_dies_alone(trial: Trial) -> None:
    good, bad = submit(trial, "crash_on", [{"n": 1}, {"n": -1}])
    assert (await good.end()).output == {"alone": 1}
    assert (await bad.end()).crashed


@pytest.mark.asyncio(loop_scope="module")
async def test_members_of_a_call_that_failed_run_one_after_the_other(trial: Trial, tmp_path: Path) -> None:
    """They have one place among them: side by side they would use more than was set aside."""
    place = str(tmp_path / "place")
    members = submit(trial, "have_to_oneself", [{"place": place, "seconds": 0.1}] * 3)
    assert await outputs(members) == [{"alone": True}] * 3
    assert [len(member.results) for member in members] == [1, 1, 1]


@pytest.mark.asyncio(loop_scope="module")
async def test_a_member_that_is_cancelled_in_its_turn_makes_way_for_the_next(trial: Trial, tmp_path: Path) -> None:
    given = [
        {"place": str(tmp_path / f"{number}"), "seconds": seconds} for number, seconds in enumerate((0, 600, 0, 0))
    ]
    first, long, waiting, last = submit(trial, "have_to_oneself", given)
    assert await outputs([first]) == [{"alone": True}]
    waiting.cancel()
    long.cancel()
    assert await outputs([last]) == [{"alone": True}]
    assert long.results == waiting.results == []
    assert not (tmp_path / "2").exists()


@pytest.mark.asyncio(loop_scope="module")
async def test_a_member_that_never_comes_keeps_the_others_for_a_second(trial: Trial) -> None:
    members = submit(trial, "double_all", [{"n": 1}, {"n": 2}], size=3)
    assert await outputs(members) == [{"doubled": 2, "of": 2}, {"doubled": 4, "of": 2}]


@pytest.mark.asyncio(loop_scope="module")
async def test_a_member_that_is_cancelled_before_it_came_whole_lets_the_others_go(trial: Trial) -> None:
    first, second = submit(trial, "double_all", [{"n": 1}, {"n": 2}], size=3)
    first.cancel()
    third = trial.function("double_all", {"n": 3}, placement=second.attempt.placement)
    assert await outputs([second, third]) == [{"doubled": 4, "of": 2}, {"doubled": 6, "of": 2}]
    assert first.results == []


@pytest.mark.asyncio(loop_scope="module")
async def test_a_call_ends_with_the_last_of_its_members_and_not_before(trial: Trial, tmp_path: Path) -> None:
    lock, other, go = tmp_path / "lock", tmp_path / "other", tmp_path / "go"
    os.mkfifo(go)
    first, second = submit(trial, "hold_all", [{"lock": str(lock), "go": str(go)}] * 2)
    await first.begin()
    await second.begin()
    first.cancel()
    opened = await asyncio.to_thread(os.open, go, os.O_WRONLY)
    os.close(opened)
    assert (await second.end()).output == {"held": True}
    assert first.results == []

    first, second = submit(trial, "hold_all", [{"lock": str(other), "go": str(go)}] * 2)
    await second.begin()
    first.cancel()
    second.cancel()
    await wait_for_death(other)


@pytest.mark.asyncio(loop_scope="module")
async def test_one_that_comes_after_its_batch_is_a_batch_by_itself(trial: Trial) -> None:
    early = submit(trial, "double_all", [{"n": 1}, {"n": 2}])
    late = trial.function("double_all", {"n": 3}, execution_id=UUID(int=1 << 90), placement=early[0].attempt.placement)
    assert await outputs([*early, late]) == [{"doubled": 2, "of": 2}, {"doubled": 4, "of": 2}, {"doubled": 6, "of": 1}]
