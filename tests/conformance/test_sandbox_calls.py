"""How users' functions are found, called and heard, behind all walls and with limits only."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import cloudpickle
import pytest
import pytest_asyncio

from conformance.executor_trial import KeptBlobs, Trial
from conformance.sandbox_house import Cellblock, KeptCode, good_walls
from interlock.backends.executor.pool import messages
from interlock.backends.executor.sandbox.executor import SandboxExecutor
from interlock.backends.executor.sandbox.walls import Walls, find_walls
from interlock.core.resources import Placement
from interlock.nodes.testing import ScriptedEgress


@pytest_asyncio.fixture(scope="module", params=["bwrap", "subprocess"])
async def block(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Cellblock]:
    walls = good_walls() if request.param == "bwrap" else find_walls("subprocess", is_local=True)
    assert walls.mode == request.param
    shelf, egress, blobs = KeptCode(), ScriptedEgress([]), KeptBlobs()
    executor = SandboxExecutor(walls, shelf, egress, blobs, scratch=tmp_path_factory.mktemp("scratch"), size=2)
    await executor.start()
    yield Cellblock(Trial(executor, egress, blobs), shelf)
    await executor.stop(5)


async def test_a_text_is_a_module_and_its_last_function_is_called(block: Cellblock) -> None:
    text = """
        import math
        FACTOR = 2

        def double(x):
            return x * FACTOR

        @task(cpu=1)
        async def main(params):
            return {"y": double(params["x"]) + math.floor(0.5), "big": 2**60, "none": None}
    """
    assert await block.run(text, {"x": 21}) == {"y": 42, "big": 2**60, "none": None}
    assert await block.run(text, 21, parameters={"function": "double"}) == {"result": 42}


async def test_results_become_json_or_fail(block: Cellblock) -> None:
    text = """
    import sys
    def f(p):
        return {"list": [1], "tuple": (1, 2), "set": {1}, "nan": float("nan"), "text": "a", "nothing": None}[p["kind"]]
    """
    assert await block.run(text, {"kind": "list"}) == {"result": [1]}
    assert await block.run(text, {"kind": "tuple"}) == {"result": [1, 2]}
    assert await block.run(text, {"kind": "nothing"}) == {"result": None}
    assert (await block.run(text, {"kind": "set"}))[0] == "RESULT_NOT_JSON"
    assert (await block.run(text, {"kind": "nan"}))[0] == "RESULT_NOT_JSON"
    assert await block.run(text, {"kind": "other"}) == ("KeyError", "'other'")


async def test_errors_have_the_name_of_their_type(block: Cellblock) -> None:
    assert await block.run("def f(p): return 1 / 0") == ("ZeroDivisionError", "division by zero")
    assert (await block.run("def f(p: return 1"))[0] == "SyntaxError"
    assert await block.run("x = 1") == ("FUNCTION_UNKNOWN", "The code has no function at its top level.")
    assert (await block.run("import nowhere\ndef f(p): ..."))[0] == "ModuleNotFoundError"


async def test_pickles_are_called_with_what_they_are_given(block: Cellblock) -> None:
    def join(*args: Any, **kwargs: Any) -> Any:
        return {"args": args, "kwargs": kwargs}

    assert await block.run(cloudpickle.dumps(lambda params: {"y": params["x"] + 1}), {"x": 1}) == {"y": 2}
    digests = {
        name: await block.shelf.put("tenant", "ann", "pickle", cloudpickle.dumps(value))
        for name, value in (("args", (1, [2])), ("kwargs", {"a": "ä"}))
    }
    told = await block.run(cloudpickle.dumps(join), parameters=digests)
    assert told == {"result": {"args": [1, [2]], "kwargs": {"a": "ä"}}}
    code, message = await block.run(b"no pickle")
    assert code == "UnpicklingError"
    assert "(worker runs Python 3." in message


async def test_code_knows_its_task_and_leaves_files(block: Cellblock) -> None:
    text = """
    import os
    def f(p):
        os.makedirs("artifacts/folder")
        open("artifacts/report.md", "w").write("grün")
        os.symlink("/etc/passwd", "artifacts/link")
        names = ("RUN_ID", "TASK_ID", "ATTEMPT", "EFFECT_KEY")
        told = [os.environ["INTERLOCK_" + name] for name in names]
        return {"told": told, "trace": os.environ["TRACEPARENT"], "gpus": os.environ["CUDA_VISIBLE_DEVICES"]}
    """
    placement = Placement(worker="local-1", gpus=(1, 3))
    submitted = await block.submit(text, attempt=2, trace_id="a" * 32, placement=placement)
    result, attempt = await submitted.end(), submitted.attempt
    assert result.output["told"] == [str(attempt.execution_id), "task", "2", attempt.effect_key]
    assert result.output["trace"].startswith(f"00-{'a' * 32}-")
    assert result.output["gpus"] == "1,3"
    assert [(each.name, each.content_type) for each in result.artifacts] == [("report.md", "text/markdown")]
    assert block.trial.blobs.contents["tenant", result.artifacts[0].sha256] == "grün".encode()


COUNTING = "calls = []\ndef f(p):\n    calls.append(1)\n    return len(calls)"


async def test_a_warm_child_serves_the_devices_it_began_with(block: Cellblock) -> None:
    """Libraries look at the devices once."""
    counts = [
        await block.run(COUNTING, placement=Placement(worker="local-1", gpus=gpus)) for gpus in ((0,), (0,), (1,))
    ]
    counts.append(await block.run(COUNTING))
    assert counts == [{"result": 1}, {"result": 2}, {"result": 1}, {"result": 1}]


async def test_what_cannot_be_sent_spoils_no_child_for_others(
    block: Cellblock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A child that did not get the code with its first attempt must not count as one that has it."""
    text = "def g(p):\n    return len(p['text'])"
    with monkeypatch.context() as patched:
        patched.setattr(messages, "MAX_FRAME", 100_000)
        assert (await block.run(text, {"text": "x" * 200_000}))[0] == "MESSAGE_TOO_LARGE"
    assert await block.run(text, {"text": "abc"}) == {"result": 3}


async def test_without_walls_nothing_runs(block: Cellblock) -> None:
    executor = SandboxExecutor(
        Walls(None, "none here"),
        block.shelf,
        block.trial.egress,
        block.trial.blobs,
        scratch=None,  # type: ignore[arg-type]
    )
    await executor.start()
    bare = Cellblock(Trial(executor, block.trial.egress, block.trial.blobs), block.shelf)
    assert (await bare.run("def f(p): return 1"))[0] == "SANDBOX_UNAVAILABLE"
    await executor.stop(1)


def test_only_local_mode_gets_weaker_walls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("interlock.backends.executor.sandbox.walls.find_program", lambda: None)
    fallen = find_walls(None, is_local=True)
    assert (fallen.mode, fallen.is_weaker) == ("subprocess", True)
    assert find_walls("bwrap", is_local=True).mode is None
    for asked in (None, "bwrap", "subprocess", "none"):
        assert find_walls(asked, is_local=False).mode is None  # type: ignore[arg-type]
    assert find_walls("none", is_local=True).mode == "none"
