"""What sandboxes need may be away for a while: the attempt is lost, with the reason, and its task goes on later."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import pytest_asyncio

from conformance.executor_trial import LIMIT, KeptBlobs, Trial
from conformance.sandbox_house import Cellblock, KeptCode, good_walls
from conformance.test_large_values_of_code import CHANGE, functions, output
from engine_house import House
from interlock.backends.blobs.folder import FolderBlobs
from interlock.backends.executor.sandbox.cgroups import Cgroups
from interlock.backends.executor.sandbox.executor import SandboxExecutor
from interlock.backends.executor.services import FOR_ATTEMPT
from interlock.core.code import Code
from interlock.core.commands import AttemptLost, TaskSucceeded
from interlock.core.errors import unavailable
from interlock.core.parcel import Parcel
from interlock.nodes.testing import ScriptedEgress

ROWS = "def f(p): return {'rows': list(range(20_000))}"
COUNT = "def f(p): return {'length': len(p['rows'])}"


@dataclass
class SlowCode(KeptCode):
    """A shelf that can be away, or not answer."""

    is_away: bool = False
    is_silent: bool = False
    asked_for: tuple[UUID, str] | None = None

    async def get(self, tenant_id: str, digest: str) -> Code:
        self.asked_for = FOR_ATTEMPT.get()
        if self.is_away:
            raise unavailable("The shelf is away")
        if self.is_silent:
            await asyncio.Event().wait()
        return await super().get(tenant_id, digest)


@pytest_asyncio.fixture
async def block(tmp_path: Path) -> AsyncIterator[Cellblock]:
    shelf, egress, blobs = SlowCode(), ScriptedEgress([]), KeptBlobs()
    executor = SandboxExecutor(good_walls(), shelf, egress, blobs, scratch=tmp_path, size=1, storing=0.3)
    await executor.start()
    yield Cellblock(Trial(executor, egress, blobs), shelf)
    await executor.stop(5)


def reason(ended: Any, *, has_begun: bool) -> str:
    """Why an attempt was lost that had nothing to do with that."""
    assert isinstance(ended, AttemptLost), ended
    assert (ended.crashed, ended.has_begun) == (False, has_begun)
    assert ended.error is not None
    assert ended.error.retryable
    return ended.error.code


async def test_code_that_cannot_be_fetched_now(block: Cellblock) -> None:
    shelf = block.shelf
    assert isinstance(shelf, SlowCode)
    shelf.is_away = True
    assert reason(await (await block.submit(COUNT, {"rows": []})).end(), has_begun=False) == "SERVICE_UNAVAILABLE"
    shelf.is_away = False
    again = await block.submit(COUNT, {"rows": []})
    assert (await again.end()).output == {"length": 0}
    assert shelf.asked_for == (again.attempt.execution_id, "task")


async def test_values_that_cannot_be_fetched_or_stored_now(block: Cellblock) -> None:
    blobs = block.trial.blobs
    with blobs.away():
        assert reason(await (await block.submit(ROWS, packs=True)).end(), has_begun=True) == "SERVICE_UNAVAILABLE"
        given = {"rows": Parcel("0" * 64)}
        ended = await (await block.submit(COUNT, given, packs=True)).end()
        assert reason(ended, has_begun=False) == "SERVICE_UNAVAILABLE"
    assert await block.run(COUNT, await block.run(ROWS, packs=True), packs=True) == {"length": 20_000}


async def test_a_result_is_kept_while_its_store_is_away_for_a_moment(tmp_path: Path) -> None:
    shelf, egress, blobs = SlowCode(), ScriptedEgress([]), KeptBlobs()
    executor = SandboxExecutor(good_walls(), shelf, egress, blobs, scratch=tmp_path, size=1)
    await executor.start()
    block = Cellblock(Trial(executor, egress, blobs), shelf)
    with blobs.away():
        submitted = await block.submit(ROWS, packs=True)
        async with asyncio.timeout(LIMIT):
            while blobs.refused < 2:
                await asyncio.sleep(0.01)
        assert submitted.results == []
    ended = await submitted.end()
    assert isinstance(ended, TaskSucceeded)
    await executor.stop(5)


async def test_time_runs_while_code_is_fetched(block: Cellblock) -> None:
    shelf = block.shelf
    assert isinstance(shelf, SlowCode)
    shelf.is_silent = True
    ended = await (await block.submit(COUNT, {"rows": []}, timeout=0.2)).end()
    assert ended.error.code == "TIMEOUT"
    assert "0.2 seconds" in ended.error.message


async def test_a_cgroup_that_cannot_be_made_now(block: Cellblock, monkeypatch: pytest.MonkeyPatch) -> None:
    walls = good_walls()
    if walls.cgroups is None:
        pytest.skip("no cgroups here")
    with monkeypatch.context() as patched:
        patched.setattr(walls.cgroups, "_parents", (Path("/sys/fs/cgroup/not/there"),))
        ended = await (await block.submit(COUNT, {"rows": []})).end()
    assert reason(ended, has_begun=False) == "CHILD_CANNOT_START"
    assert "No such file" in ended.error.message
    with monkeypatch.context() as patched:
        made = Cgroups.make
        patched.setattr(Cgroups, "make", lambda self: Vanishing(made(self)))
        ended = await (await block.submit(COUNT, {"rows": []})).end()
    assert reason(ended, has_begun=False) == "SANDBOX_UNAVAILABLE"
    assert await block.run(COUNT, {"rows": []}) == {"length": 0}


class Vanishing:
    """A cgroup that takes no limits."""

    def __init__(self, group: Any) -> None:
        self.entries = group.entries
        self.remove = group.remove

    def limit(self, memory: int, cores: float) -> None:
        raise OSError(19, "No such device")


async def test_a_task_goes_on_once_the_folder_of_blobs_is_back(house: House, tmp_path: Path) -> None:
    shelf, place, elsewhere = KeptCode(), tmp_path / "blobs", tmp_path / "elsewhere"
    blobs = FolderBlobs(place)
    sandbox = SandboxExecutor(good_walls(), shelf, ScriptedEgress([]), blobs, scratch=tmp_path, size=1, storing=0.3)
    engine = await house.engine(executors={"sandbox": sandbox})
    place.rename(elsewhere)
    begun = await house.start(engine, await functions(house, shelf, CHANGE, "make", "check"), wait=0)

    async def was_lost() -> bool:
        return any(kind == "task.failed" for _, kind, *_ in await house.log(begun.execution_id))

    await house.until(was_lost, "an attempt was lost")
    standing = await engine.standing(begun.execution_id, 0)
    assert standing.waiting_reason == "retry_at"
    elsewhere.rename(place)

    async def has_succeeded() -> bool:
        return (await engine.standing(begun.execution_id, 0)).status == "succeeded"

    await house.until(has_succeeded, "it went on")
    assert await output(house, "n1") == '{"keys": ["rows"], "first": 0.0, "is_right": true}'
    lost = await house.rows(
        "select data::jsonb->'lost', data::jsonb->'will_retry', data::jsonb->'error'->>'code' "
        "from interlock.events where type = 'task.failed'"
    )
    assert set(lost) == {("true", "true", "BLOB_NOT_STORED")}
