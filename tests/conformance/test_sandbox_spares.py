"""Sandboxes that are kept ready: there when they are wanted, used by one piece of code, and never too many."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest
import pytest_asyncio

from conformance.executor_trial import LIMIT, KeptBlobs, Trial
from conformance.sandbox_house import Cellblock, KeptCode, good_walls
from interlock.backends.executor.pool.executor import PoolExecutor
from interlock.backends.executor.sandbox.executor import SandboxExecutor
from interlock.nodes.testing import ScriptedEgress

TEXT = """
import builtins
def f(p):
    builtins.seen = getattr(builtins, "seen", []) + [p["who"]]
    return builtins.seen
"""


@pytest_asyncio.fixture
async def block(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Cellblock]:
    shelf, egress, blobs = KeptCode(), ScriptedEgress([]), KeptBlobs()
    scratch = tmp_path_factory.mktemp("scratch")
    executor = SandboxExecutor(good_walls(), shelf, egress, blobs, scratch=scratch, size=1, memory=256, spares=1)
    await executor.start()
    yield Cellblock(Trial(executor, egress, blobs), shelf)
    await executor.stop(5)
    assert executor.children == 0


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(LIMIT):
        while not holds():
            await asyncio.sleep(0.005)  # children come and go on their own


async def test_a_server_that_nobody_brings_code_to_has_no_sandbox(block: Cellblock) -> None:
    executor = block.trial.executor
    assert isinstance(executor, SandboxExecutor)
    assert executor.children == 0
    executor.prepare()
    assert executor.children == 1
    executor.prepare()
    assert executor.children == 1


async def test_a_spare_serves_one_piece_of_code_and_is_replaced(block: Cellblock) -> None:
    executor = block.trial.executor
    assert isinstance(executor, SandboxExecutor)
    executor.prepare()
    most = 0
    for who in ("a", "b", "a"):
        assert await block.run(TEXT, {"who": who}, tenant_id=who) == {"result": [who]}
        most = max(most, executor.children)
    await until(lambda: executor.children == 2)  # the one that knows the code, and the one that is ready
    assert most <= 2
    assert await block.run(TEXT, {"who": "again"}, tenant_id="a") == {"result": ["a", "again"]}
    assert executor.children == 2


async def test_no_more_run_at_a_time_because_of_spares(block: Cellblock) -> None:
    executor = block.trial.executor
    assert isinstance(executor, SandboxExecutor)
    first = await block.submit("import time\ndef f(p): print('on'); time.sleep(60)")
    await until(lambda: executor.children == 2)
    second = await block.submit("def f(p): return 2")
    assert not second.results
    first.cancel()
    assert (await second.end()).output == {"result": 2}


async def test_spares_that_cannot_start_are_not_started_for_ever() -> None:
    pool = PoolExecutor("nowhere:load", ScriptedEgress([]), KeptBlobs(), size=1, spares=1)
    await pool.start()
    pool.prepare()
    assert pool.children == 1
    await until(lambda: pool.children == 0)
    pool.prepare()
    assert pool.children == 1
    await pool.stop(5)
    pool.prepare()
    assert pool.children == 0
