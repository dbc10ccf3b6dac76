"""What code prints, and what a hijacked child says, is bounded: in the log, in the store, in the server's time (I9)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from structlog.testing import capture_logs

from conformance.executor_trial import KeptBlobs, Trial
from conformance.sandbox_house import Cellblock, KeptCode, good_walls
from figures import Note
from interlock.backends.executor.pool.bounds import MAX_CALLS, MAX_FILES, MAX_PIECES
from interlock.backends.executor.sandbox.executor import SandboxExecutor
from interlock.backends.executor.sandbox.output import MARK, MAX_PRINTED
from interlock.core.commands import AttemptLost
from interlock.nodes.testing import ScriptedEgress


@pytest_asyncio.fixture(scope="module")
async def block(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Cellblock]:
    shelf, egress, blobs = KeptCode(), ScriptedEgress([]), KeptBlobs()
    scratch = tmp_path_factory.mktemp("scratch")
    executor = SandboxExecutor(good_walls(), shelf, egress, blobs, scratch=scratch, size=2, memory=512)
    await executor.start()
    yield Cellblock(Trial(executor, egress, blobs), shelf)
    await executor.stop(5)


def printed(logs: Any) -> list[str]:
    return [line["text"] for line in logs if line["event"] == "task.output"]


ENDLESS = {
    "plain": "os.write(1, b'x' * 65536)",
    "colours": r"os.write(2, b'\x1b[2J\x1b]0;title\x07\x1b[31m' * 500)",
    "binary": "os.write(1, bytes(range(256)) * 100)",
    "short lines": "print('', flush=True)",
    "from many": "os.fork() == 0 and [os.write(1, b'y' * 4096) for _ in range(500)] and os._exit(0)",
}


@pytest.mark.parametrize("kind", ENDLESS)
async def test_output_without_an_end_is_cut_and_ends_with_the_deadline(block: Cellblock, kind: str) -> None:
    text = f"import os\ndef f(p):\n    while True:\n        try:\n            {ENDLESS[kind]}\n"
    text += "        except OSError:\n            pass"
    with capture_logs() as logs:
        ended = await (await block.submit(text, timeout=0.35)).end()
    assert ended.error.code == "TIMEOUT"
    told = "".join(printed(logs))
    assert len(told) <= MAX_PRINTED + len(MARK)
    assert len(told) < MAX_PRINTED or told.endswith(MARK)


HIJACKED = """
import gc, os, time
from interlock.backends.executor.pool.child import Child
from interlock.backends.executor.pool.messages import *
from interlock.core.commands import TaskReported, TaskSucceeded
from interlock.core.events import ArtifactRef

child = next(each for each in gc.get_objects() if isinstance(each, Child))

def report():
    return Reported(result=TaskReported(task_id="task", attempt=1, progress=0.5, message="m", data=None))

def ending(task):
    return Succeeded(result=TaskSucceeded(task_id=task, attempt=1, output={}, duration_ms=1))

KINDS = {
    "reports": report,
    "empty lines": lambda: Printed(stream="stdout", text=""),
    "short lines": lambda: Printed(stream="stdout", text="x"),
    "files": lambda: Store(call=1, name="a.txt", content=os.urandom(8), content_type="text/plain"),
    "calls": lambda: Call(call=1, method="GET", url="http://127.0.0.1/", headers={}, body=None, timeout=1.0,
                          max_bytes=1, follow_redirects=False),
    "ends of others": lambda: ending("other"),
    "readiness": Ready,
    "wear": Worn,
}

def f(p):
    make, until = KINDS[p["kind"]], time.monotonic() + p["seconds"]
    said = 0
    while time.monotonic() < until:
        child.say(make())
        said += 1
    return {"said": said}
"""


KINDS = ("reports", "empty lines", "files")
MORE_KINDS = ("short lines", "ends of others", "readiness", "wear")


async def test_a_child_that_talks_without_an_end_leaves_the_server_its_time(
    block: Cellblock, at_length: bool, note_figures: Note
) -> None:
    """It does so as fast as it can. Little is kept, and most of the time the server does not listen."""
    kinds = KINDS + MORE_KINDS if at_length else KINDS
    shares = [await share_of_a_flood(block, kind, 2.0 if at_length else 0.7) for kind in kinds]
    note_figures(flood_kinds=len(kinds), flood_share=max(shares) * 100)
    assert max(shares) < 0.7, dict(zip(kinds, shares, strict=True))


async def share_of_a_flood(block: Cellblock, kind: str, seconds: float) -> float:
    """Processor time of this process, which is the server, by the time that a flood lasted."""
    await block.run(HIJACKED, {"kind": kind, "seconds": 0.01})
    before = len(block.trial.blobs.contents)
    with capture_logs() as logs:
        begun, cpu = time.monotonic(), time.process_time()
        submitted = await block.submit(HIJACKED, {"kind": kind, "seconds": seconds}, timeout=20.0)
        assert (await submitted.end()).output["said"] > 100
        lasted = time.monotonic() - begun  # longer than it talked: it is listened to slowly
        share = (time.process_time() - cpu) / lasted
    assert len(submitted.progress) <= lasted + 2
    assert len(printed(logs)) <= MAX_PIECES
    assert len(block.trial.blobs.contents) - before <= MAX_FILES
    assert await block.run("def f(p): return 1") == {"result": 1}
    return share if kind != "short lines" else 0.0  # these are kept, up to their bound


async def test_a_child_that_asks_without_an_end_is_ended(block: Cellblock) -> None:
    ended = await (await block.submit(HIJACKED, {"kind": "calls", "seconds": 20.0})).end()
    assert isinstance(ended, AttemptLost)
    assert len(block.trial.egress.calls) <= MAX_CALLS


async def test_a_child_cannot_stop_its_clock(block: Cellblock) -> None:
    text = HIJACKED + "\ndef g(p):\n    child.say(Ready())\n    time.sleep(60)"
    assert (await block.run(text, timeout=0.5))[0] == "TIMEOUT"


async def test_a_message_that_would_fill_the_memory_is_not_read(block: Cellblock) -> None:
    text = """
    import gc
    from interlock.backends.executor.pool.child import Child
    child = next(each for each in gc.get_objects() if isinstance(each, Child))
    def f(p):
        body = b'{"say":"succeeded","result":' + b"[" + b"[]," * 12_000_000 + b"[]]}"
        child._channel.sendall(len(body).to_bytes(4, "big") + body)
        return {}
    """
    begun = time.process_time()
    assert isinstance(await (await block.submit(text)).end(), AttemptLost)
    assert time.process_time() - begun < 1.0
    assert await block.run("def f(p): return 1") == {"result": 1}


async def test_not_more_than_so_many_files_are_kept(block: Cellblock) -> None:
    text = """
    import os
    def f(p):
        for number in range(p["n"]):
            with open(f"artifacts/{number}.txt", "w") as file:
                file.write(str(number))
        return {}
    """
    kept = await (await block.submit(text, {"n": MAX_FILES})).end()
    assert len(kept.artifacts) == MAX_FILES
    assert (await block.run(text, {"n": MAX_FILES + 1}))[0] == "ARTIFACTS_TOO_MANY"


async def test_files_that_are_none_are_not_kept(block: Cellblock) -> None:
    """Links, folders, pipes and sparse giants, and a link that changes while it is read."""
    text = """
    import os, threading
    def f(p):
        os.symlink("/proc/self/environ", "artifacts/link")
        os.mkdir("artifacts/folder")
        os.mkfifo("artifacts/pipe")
        os.symlink("/etc", "artifacts/folder-link")
        open("artifacts/good.txt", "w").write("good")
        def race():
            while True:
                try:
                    os.symlink("/proc/self/environ", "artifacts/new")
                    os.replace("artifacts/new", "artifacts/racing.txt")
                    open("artifacts/new", "w").write("plain")
                    os.replace("artifacts/new", "artifacts/racing.txt")
                except OSError:
                    pass
        threading.Thread(target=race, daemon=True).start()
        return {}
    """
    ended = await (await block.submit(text)).end()
    kept = {each.name: block.trial.blobs.contents["tenant", each.sha256] for each in ended.artifacts}
    assert kept.pop("good.txt") == b"good"
    assert set(kept) <= {"racing.txt", "new"}
    assert set(kept.values()) <= {b"plain", b""}


async def test_attempts_beside_a_flood_go_on(block: Cellblock) -> None:
    flood = await block.submit(HIJACKED, {"kind": "empty lines", "seconds": 30.0}, timeout=3.0)
    await asyncio.wait_for(block.run("def f(p): return 1"), 5)
    begun = time.monotonic()
    for _ in range(20):
        assert await block.run("def f(p): return 1") == {"result": 1}
    assert time.monotonic() - begun < 5
    flood.cancel()
