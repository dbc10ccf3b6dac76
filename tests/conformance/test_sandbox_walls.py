"""What hostile code gets hold of in the sandbox: nothing (acceptance I2, I3, I5, I8, I9)."""

from __future__ import annotations

import asyncio
import os
import subprocess
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import cloudpickle
import pytest
import pytest_asyncio
from structlog.testing import capture_logs

from conformance.executor_trial import KeptBlobs, Trial
from conformance.hostile_code import CANARY, CORPUS, machine_to_attack, refused_all
from conformance.sandbox_house import Cellblock, KeptCode, good_walls
from figures import Note
from interlock.backends.executor.sandbox.bubblewrap import walled
from interlock.backends.executor.sandbox.executor import SandboxExecutor
from interlock.backends.executor.sandbox.output import MARK
from interlock.core.commands import AttemptLost, TaskErred
from interlock.core.resources import Resources
from interlock.nodes.testing import ScriptedEgress


@pytest_asyncio.fixture(scope="module")
async def block(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Cellblock]:
    shelf, egress, blobs = KeptCode(), ScriptedEgress([]), KeptBlobs()
    scratch = tmp_path_factory.mktemp("scratch")
    executor = SandboxExecutor(good_walls(), shelf, egress, blobs, scratch=scratch, size=2, memory=256, spares=1)
    await executor.start()
    yield Cellblock(Trial(executor, egress, blobs), shelf)
    await executor.stop(5)


async def test_nothing_of_the_machine_can_be_had(
    block: Cellblock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, note_figures: Note
) -> None:
    """I3: the corpus, in one call."""
    monkeypatch.setenv("INTERLOCK_ENCRYPTION_KEY", CANARY)
    with machine_to_attack(tmp_path) as given:
        seen = refused_all(await block.run(CORPUS, given))
    note_figures(sandbox_attacks=seen, sandbox_escapes=0)


@pytest.mark.parametrize("folder", ["/usr/share", os.path.dirname(os.__file__)])
def test_a_folder_that_is_to_be_hidden_is_empty_wherever_it_lies(folder: str) -> None:
    """A data directory may lie below what sandboxes are shown: below /usr, or beside Python."""
    command = [good_walls().program, *walled((), (folder,)), "/usr/bin/env", "ls", "-A", folder]
    seen = subprocess.run(command, capture_output=True, text=True, check=False, env={"PATH": "/usr/bin:/bin"}, cwd="/")
    assert (seen.returncode, seen.stdout) == (0, ""), seen.stderr


async def test_a_fork_bomb_is_held_and_gone_at_the_deadline(block: Cellblock) -> None:
    bomb = """
    import os
    def f(p):
        while True:
            try:
                if os.fork() == 0:
                    os.setsid()
            except OSError:
                pass
    """
    started = time.monotonic()
    error = (await (await block.submit(bomb, timeout=1.0, resources=Resources(memory=8192))).end()).error
    assert error.code == "TIMEOUT"
    assert time.monotonic() - started < 15
    assert await block.run("def f(p): return 1") == {"result": 1}


async def test_too_much_memory_ends_the_sandbox_and_not_the_server(block: Cellblock) -> None:
    result = await (await block.submit("def f(p): return len(bytearray(p['n']))", {"n": 2 << 30})).end()
    assert isinstance(result, AttemptLost) or (result.error.code == "MemoryError")


async def test_a_task_gets_the_memory_it_asks_for(block: Cellblock) -> None:
    text = "def f(p):\n    return len(b'x' * p['n'])"
    asked = Resources(memory=700)
    assert await block.run(text, {"n": 400 << 20}, resources=asked) == {"result": 400 << 20}


async def test_the_disk_cannot_be_filled(block: Cellblock) -> None:
    text = """
    import os
    def f(p):
        with open("big", "wb") as file:
            for _ in range(2048):
                file.write(b"x" * (1 << 20))
    """
    result = await (await block.submit(text, resources=Resources(memory=1024))).end()
    assert isinstance(result, TaskErred)
    assert result.error.code == "OSError"


async def test_what_the_code_leaves_running_is_dead_when_its_attempt_ends(block: Cellblock) -> None:
    text = """
    import os, subprocess
    def f(p):
        others = [x for x in os.listdir("/proc") if x.isdigit()]
        subprocess.Popen(["sleep", "1000"], start_new_session=True)
        return others
    """
    assert [await block.run(text) for _ in range(2)] == [{"result": ["1", "2"]}] * 2


async def test_tenants_and_pieces_of_code_share_no_child(block: Cellblock) -> None:
    """I8."""
    text = """
    import os, builtins
    def f(p):
        builtins.seen = getattr(builtins, "seen", []) + [p["who"]]
        open("/tmp/left", "a").write(p["who"])
        open("/dev/shm/left", "a").write(p["who"])
        return [builtins.seen, open("/tmp/left").read(), open("/dev/shm/left").read()]
    """
    told = [await block.run(text, {"who": who}, tenant_id=who) for who in ("a", "b", "a")]
    assert told[1] == {"result": [["b"], "b", "b"]}
    other = await block.run(text + "\n    # another piece", {"who": "c"}, tenant_id="a")
    assert other == {"result": [["c"], "c", "c"]}


class Bomb:
    """A pickle that does something as soon as it is read."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return (os.system, (f"touch {self.path}",))


async def test_a_pickle_goes_off_only_in_the_sandbox(block: Cellblock, tmp_path: Path) -> None:
    """I2."""
    canary = tmp_path / "canary"
    code, _ = await block.run(cloudpickle.dumps(Bomb(str(canary))))
    assert code == "FUNCTION_UNKNOWN"
    assert not canary.exists()


async def test_output_is_logged_and_cut_and_never_holds_the_code_up(block: Cellblock) -> None:
    """I9."""
    text = r"""
    import os, sys
    def f(p):
        os.write(1, b"\x1b[31m\xff\n")
        print("to stderr", file=sys.stderr)
        for _ in range(p["n"]):
            os.write(1, b"x" * 1_000_000)
        return p["n"]
    """
    with capture_logs() as logs:
        assert await block.run(text, {"n": 100}) == {"result": 100}
    told = {
        stream: "".join(line["text"] for line in logs if line["event"] == "task.output" and line["stream"] == stream)
        for stream in ("stdout", "stderr")
    }
    assert told["stderr"] == "to stderr\n"
    assert told["stdout"].startswith("\x1b[31m\ufffd\nxxx")
    assert told["stdout"].endswith(MARK)
    assert len(told["stdout"]) < 1_200_000


async def test_code_cannot_speak_for_the_engine(block: Cellblock) -> None:
    """What a hijacked child says counts only as far as users' code may say something."""
    text = """
    import gc
    from interlock.backends.executor.pool.child import Child
    from interlock.backends.executor.pool.messages import Succeeded
    from interlock.core.commands import TaskSucceeded
    from interlock.core.events import ArtifactRef
    def f(p):
        child = next(each for each in gc.get_objects() if isinstance(each, Child))
        stolen = ArtifactRef("stolen", 1, "0" * 64, "text/plain")
        for task in ("other", "task"):
            lie = TaskSucceeded(
                task_id=task, attempt=1, output={"bad": "a\\0b"} if p["nul"] else {}, port="other",
                blackboard={"x": 1}, artifacts=(stolen,), raised=("EVENT",), duration_ms=-5)
            child.say(Succeeded(result=lie))
        return {}
    """
    told = await (await block.submit(text, {"nul": False})).end()
    assert (told.port, told.blackboard, told.artifacts, told.raised, told.duration_ms) == ("result", {}, (), (), 0)
    other = text + "\n    # another piece"
    assert (await (await block.submit(other, {"nul": True})).end()).error.code == "RESULT_NOT_JSON"


async def test_code_whose_seal_is_broken_or_that_is_another_tenants_is_not_run(block: Cellblock) -> None:
    digest = await block.shelf.put("victim", "ann", "source", b"def f(p): return 1")
    result = await block.trial.submit("code", {"code": digest}, tenant_id="thief").end()
    assert result.error.code == "CODE_NOT_FOUND"


async def test_a_cancelled_call_is_dead_at_once_with_all_it_started(block: Cellblock) -> None:
    text = """
    import subprocess, time
    def f(p):
        subprocess.Popen(["sleep", "1000"], start_new_session=True)
        print("begun", flush=True)
        time.sleep(1000)
    """
    executor: Any = block.trial.executor
    with capture_logs() as logs:
        submitted = await block.submit(text)
        async with asyncio.timeout(20):
            while not any(line["event"] == "task.output" for line in logs):
                await asyncio.sleep(0.005)  # what it prints is no event here
        before = executor.children
        submitted.cancel()
        async with asyncio.timeout(5):
            while executor.children >= before:
                await asyncio.sleep(0.005)
    assert submitted.results == []
