"""Large values go from sandbox to sandbox as bytes that the server stores and does not read."""

from __future__ import annotations

from collections.abc import AsyncIterator
from itertools import count
from pathlib import Path
from typing import Any

import msgspec
import pytest
import pytest_asyncio

from conformance.executor_trial import KeptBlobs, Trial
from conformance.sandbox_house import Cellblock, KeptCode, good_walls
from interlock.backends.executor.sandbox.executor import SandboxExecutor
from interlock.core.parcel import Parcel
from interlock.core.resources import Placement
from interlock.nodes.testing import ScriptedEgress

ROWS = "def f(p): return {'rows': list(range(20_000)), 'text': 'ä' * 20_000, 'n': 1}"
TOTAL = "def f(p): return {'total': sum(p['rows']), 'kind': type(p['rows']).__name__, 'length': len(p['text'])}"


@pytest_asyncio.fixture(scope="module")
async def block(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Cellblock]:
    shelf, egress, blobs = KeptCode(), ScriptedEgress([]), KeptBlobs()
    scratch = tmp_path_factory.mktemp("scratch")
    executor = SandboxExecutor(good_walls(), shelf, egress, blobs, scratch=scratch, size=2)
    await executor.start()
    yield Cellblock(Trial(executor, egress, blobs), shelf)
    await executor.stop(5)


def stored(block: Cellblock, parcel: Parcel) -> Any:
    content = block.trial.blobs.contents["tenant", parcel.sha256]
    assert len(content) == parcel.size
    return msgspec.json.decode(content)


async def test_large_values_are_stored_and_handed_on(block: Cellblock) -> None:
    found = await block.run(ROWS, packs=True)
    assert found["n"] == 1
    assert stored(block, found["rows"]) == list(range(20_000))
    assert stored(block, found["text"]) == "ä" * 20_000
    told = {"total": sum(range(20_000)), "kind": "list", "length": 20_000}
    assert await block.run(TOTAL, found, packs=True) == told
    lost = await block.run(TOTAL, {"rows": Parcel("0" * 64), "text": ""}, packs=True)
    assert lost[0] == "BLOB_NOT_FOUND"


async def test_another_server_fetches_them(block: Cellblock, tmp_path: Path) -> None:
    found = await block.run(ROWS, packs=True)
    egress, blobs = ScriptedEgress([]), block.trial.blobs
    executor = SandboxExecutor(good_walls(), block.shelf, egress, blobs, scratch=tmp_path, size=1)
    await executor.start()
    told = await Cellblock(Trial(executor, egress, blobs), block.shelf).run(TOTAL, found, packs=True)
    await executor.stop(5)
    assert told == {"total": sum(range(20_000)), "kind": "list", "length": 20_000}


async def test_each_of_a_batch_has_its_own(block: Cellblock) -> None:
    placement = Placement(worker="local-1", batch_id="b", batch_size=2)
    text = "def f(p): return [{'rows': [each['n']] * 20_000} for each in p]"
    first, second = await block.run(text, [{"n": 1}, {"n": 2}], packs=True, placement=placement)
    assert stored(block, first["rows"])[:2] == [1, 1]
    assert stored(block, second["rows"])[:2] == [2, 2]
    text = "def f(p): return [{'sum': sum(each['rows'])} for each in p]"
    assert await block.run(text, [first, second], packs=True, placement=placement) == [{"sum": 20_000}, {"sum": 40_000}]


async def test_who_needs_the_values_themselves_gets_them(block: Cellblock) -> None:
    assert (await block.run(ROWS))["rows"] == list(range(20_000))


HIJACKED = """
import gc
from interlock.backends.executor.pool.messages import Succeeded
from interlock.core.commands import TaskSucceeded
from interlock.core.parcel import Packed
def f(p):
    child = next(o for o in gc.get_objects() if type(o).__name__ == "SandboxedChild")
    value = Packed(p["content"].encode("latin-1"), p["type"])
    child.say(Succeeded(result=TaskSucceeded(task_id=p["task"], attempt=1, output={"rows": value})))
"""


async def test_what_a_hijacked_child_packs_is_no_more_than_json_that_was_asked_for(block: Cellblock) -> None:
    numbers = count()  # what the child itself says then comes too late for the next one

    async def told(content: str, kind: str = "application/json", *, packs: bool = True) -> Any:
        task = f"task{next(numbers)}"
        return await block.run(HIJACKED, {"content": content, "type": kind, "task": task}, packs=packs, task_id=task)

    assert isinstance((await told("[1]"))["rows"], Parcel)
    for content in ('null}, "x": {', "[1", "", "\xff", "[1e999]", "[" * 100 + "]" * 100, '{"a":1,"a":2}', '"\\u0000"'):
        assert (await told(content))[0] == "RESULT_NOT_JSON", content
    assert (await told("[1]", "text/html"))[0] == "RESULT_NOT_JSON"
    assert (await told("[1]", packs=False))[0] == "RESULT_NOT_JSON"
