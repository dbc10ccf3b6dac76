"""Code takes no more cores than its task asks for (I3)."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from conformance.executor_trial import KeptBlobs, Trial
from conformance.sandbox_house import Cellblock, KeptCode, good_walls
from interlock.backends.executor.sandbox import cell, cgroups, walls
from interlock.backends.executor.sandbox.cgroups import Cgroups
from interlock.backends.executor.sandbox.executor import SandboxExecutor
from interlock.core.commands import AttemptLost
from interlock.core.resources import Resources
from interlock.nodes.testing import ScriptedEgress

BUSY = """
import os, resource, time

def used():
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return children.ru_utime + children.ru_stime

def f(p):
    begun, before = time.monotonic(), used()  # a warm sandbox remembers the children of its last task
    children = []
    for _ in range(p["processes"]):
        child = os.fork()
        if child == 0:
            while time.monotonic() < begun + p["seconds"]:
                pass
            os._exit(0)
        children.append(child)
    for child in children:
        os.waitpid(child, 0)
    return (used() - before) / (time.monotonic() - begun)
"""


@pytest_asyncio.fixture(scope="module")
async def block(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Cellblock]:
    found = good_walls().cgroups
    if found is None or not found.holds_cores:
        pytest.skip(good_walls().reason)
    shelf, egress, blobs = KeptCode(), ScriptedEgress([]), KeptBlobs()
    scratch = tmp_path_factory.mktemp("scratch")
    executor = SandboxExecutor(good_walls(), shelf, egress, blobs, scratch=scratch, size=2, memory=256)
    await executor.start()
    yield Cellblock(Trial(executor, egress, blobs), shelf)
    await executor.stop(5)


@pytest.mark.parametrize(("asked", "cores"), [(Resources(cpu=0.5), 0.5), (Resources(cpu=0), 1.0), (None, 1.0)])
async def test_processes_of_a_task_share_its_cores(block: Cellblock, asked: Resources | None, cores: float) -> None:
    """Of the same code: a sandbox that was let have more is not used again for a task that asks for less."""
    if (os.cpu_count() or 1) < 2:
        pytest.skip("one core bounds everybody")
    told = await block.run(BUSY, {"processes": 2, "seconds": 1.0}, resources=asked)
    assert told["result"] < cores * 1.25  # a period may be cut at both ends


def test_a_group_above_that_may_use_fewer_cores_holds_for_sandboxes_too() -> None:
    """A container of half a core: a task that asks for four has that half."""
    found = good_walls().cgroups
    if found is None or not found.holds_cores:
        pytest.skip(good_walls().reason)
    above = found.make()
    quota = above.folders[-1] / "cpu.cfs_quota_us"
    try:
        if not quota.exists():
            pytest.skip("version 2 takes the smaller of both itself")
        above.limit(256 << 20, 0.5)
        below = Cgroups(above.folders).make()
        below.limit(128 << 20, 4.0)
        assert (below.folders[-1] / quota.name).read_text() == "-1\n"
        below.remove()
    finally:
        above.remove()


def test_where_cores_cannot_be_bounded_the_reason_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    good_walls()
    monkeypatch.setattr(walls, "find_cgroups", lambda: Cgroups((tmp_path,)))
    assert "cores not bounded" in walls.find_walls("bwrap", is_local=True).reason
    monkeypatch.setattr(cgroups, "_ROOT", tmp_path)
    monkeypatch.setattr(walls, "find_cgroups", cgroups.find_cgroups)
    assert "cores not bounded" in walls.find_walls("bwrap", is_local=True).reason


@pytest.mark.parametrize("memory", [1, 16, 63])
async def test_a_task_that_asks_for_less_memory_than_a_sandbox_takes_runs_all_the_same(
    block: Cellblock, memory: int
) -> None:
    """It was lost again and again: the kernel does not give less than what is in use."""
    asked = Resources(cpu=1, memory=memory)
    told = await block.run("def f(p): return len(bytearray(8 << 20))", {}, resources=asked)
    assert told == {"result": 8 << 20}


async def test_memory_that_cannot_be_given_fails_the_task_and_is_not_waited_for(
    block: Cellblock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cell, "LEAST_MEMORY", 1)
    code, message = await block.run("def f(p): return 1", {}, resources=Resources(cpu=1, memory=1))
    assert code == "MEMORY_TOO_SMALL"
    assert "ask for more" in message


async def test_a_task_whose_arguments_do_not_fit_into_its_memory_has_crashed(block: Cellblock) -> None:
    """It died while it read them, and so would every other attempt: not one that had not begun."""
    text = "def f(p): return len(p['text'])"
    submitted = await block.submit(text, {"text": "x" * (60 << 20)}, resources=Resources(cpu=1, memory=64))
    lost = await submitted.end()
    assert isinstance(lost, AttemptLost)
    assert lost.crashed
