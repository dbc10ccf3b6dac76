"""How sandboxes end: soon, whole, and without harm to the next one (I3). And how long they take to begin."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from statistics import median, quantiles

import pytest
import pytest_asyncio

from conformance.executor_trial import KeptBlobs, Trial, wait_for_death
from conformance.sandbox_house import Cellblock, KeptCode, good_walls
from figures import Note
from interlock.backends.executor.pool import guard
from interlock.backends.executor.sandbox.executor import SandboxExecutor
from interlock.backends.executor.sandbox.walls import find_walls
from interlock.nodes.testing import ScriptedEgress


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that the code sees: what it holds there tells from outside whether it lives."""
    folder = tmp_path_factory.mktemp("shared")
    folder.chmod(0o777)
    return folder


@pytest_asyncio.fixture(scope="module")
async def block(tmp_path_factory: pytest.TempPathFactory, shared: Path) -> AsyncIterator[Cellblock]:
    shelf, egress, blobs = KeptCode(), ScriptedEgress([]), KeptBlobs()
    scratch = tmp_path_factory.mktemp("scratch")
    executor = SandboxExecutor(
        good_walls(), shelf, egress, blobs, scratch=scratch, size=2, memory=512, writable=(str(shared),)
    )
    await executor.start()
    yield Cellblock(Trial(executor, egress, blobs), shelf)
    await executor.stop(5)


BEGIN = """
import fcntl, os, signal, subprocess, sys, threading, time

def begin(p):
    # All that are forked from here on hold the lock: it is free when the last one is dead.
    global lock
    lock = os.open(p["lock"], os.O_RDWR | os.O_CREAT, 0o666)
    fcntl.flock(lock, fcntl.LOCK_EX)
    os.set_inheritable(lock, True)
    open(p["lock"] + ".begun", "w").close()

"""

STUBBORN = {
    "loops": "while True: pass",
    "hears no signal": "for x in set(range(1, 65)) - {9, 19, 32, 33}:\n        signal.signal(x, signal.SIG_IGN)\n"
    "    while True: time.sleep(60)",
    "leaves its session": "for _ in range(20):\n        if os.fork() == 0:\n            os.setsid()\n"
    "            if os.fork(): os._exit(0)\n            while True: time.sleep(60)\n    while True: time.sleep(60)",
    "stops itself": "os.kill(os.getpid(), signal.SIGSTOP)\n    while True: pass",
    "has threads": "for _ in range(20): threading.Thread(target=lambda: time.sleep(60)).start()\n    time.sleep(60)",
    "begins others": "subprocess.Popen(['sleep', '60'], start_new_session=True, pass_fds=[lock])\n"
    "    os.closerange(3, lock)\n    time.sleep(60)",
    "never returns from C": "import re; re.match('(a+)+$', 'a' * 60 + 'b')",
}


async def killed_after(block: Cellblock, shared: Path, kind: str, number: int) -> float:
    """Seconds from a cancel to the death of the last process of a stubborn call."""
    lock = shared / f"{number}-{kind.replace(' ', '-')}"
    text = BEGIN + f"def f(p):\n    begin(p)\n    {STUBBORN[kind]}\n"
    submitted = await block.submit(text, {"lock": str(lock)}, timeout=30.0)
    async with asyncio.timeout(20):
        while not lock.with_name(lock.name + ".begun").exists():
            await asyncio.sleep(0.005)  # what the code does is no event here
    begun = time.monotonic()
    submitted.cancel()
    await wait_for_death(lock)
    return time.monotonic() - begun


async def test_whatever_the_code_does_it_is_dead_soon_after_its_cancel(
    block: Cellblock, shared: Path, at_length: bool, note_figures: Note
) -> None:
    times = []
    for number in range(8 if at_length else 1):
        for kind in STUBBORN:
            times.append(await killed_after(block, shared, kind, number))
            assert await block.run("def f(p): return p['x'] + 1", {"x": 1}) == {"result": 2}
    note_figures(sandbox_kills=len(times), sandbox_kill_p95_ms=quantiles(times, n=20)[-1] * 1000)
    assert max(times) < 5.0


async def test_a_deadline_ends_all_that_the_code_has_begun(block: Cellblock, shared: Path) -> None:
    lock = shared / "deadline"
    text = BEGIN + f"def f(p):\n    begin(p)\n    {STUBBORN['leaves its session']}\n"
    begun = time.monotonic()
    assert (await block.run(text, {"lock": str(lock)}, timeout=0.7))[0] == "TIMEOUT"
    await wait_for_death(lock)
    assert time.monotonic() - begun < 6.0


async def test_walls_cost_little_beside_the_start_of_a_process(
    block: Cellblock, tmp_path: Path, at_length: bool, note_figures: Note
) -> None:
    """First calls of pieces of code behind all walls and with limits only, in turn, and later ones behind all walls."""
    walls = find_walls("subprocess", is_local=True)
    plain = SandboxExecutor(walls, block.shelf, ScriptedEgress([]), KeptBlobs(), scratch=tmp_path, size=2, memory=512)
    await plain.start()
    limited = Cellblock(Trial(plain, ScriptedEgress([]), KeptBlobs()), block.shelf)
    walled, bare, later = [], [], []
    for number in range(20 if at_length else 3):
        text = f"def f(p): return {number}"
        for times, where in ((walled, block), (bare, limited), (later, block)):
            begun = time.monotonic()
            assert await where.run(text) == {"result": number}
            times.append(time.monotonic() - begun)
    await plain.stop(5)
    note_figures(sandbox_start_ratio=median(walled) / median(bare), sandbox_warm_ratio=median(walled) / median(later))
    assert median(later) < median(walled)


def test_a_guard_lets_its_child_inherit_nothing_but_the_channel(tmp_path: Path) -> None:
    """Whatever starts it: some event loops hand on all that libraries have opened."""
    secret = os.open(tmp_path / "secret", os.O_RDWR | os.O_CREAT)
    channel, other = socket.socketpair()
    with channel, other:
        lifeline, held = os.pipe()
        for each in (secret, channel.fileno(), other.fileno(), lifeline):
            os.set_inheritable(each, True)
        look = "import os, sys; print(sorted(map(int, os.listdir('/proc/self/fd'))), file=sys.stderr)"
        command = [sys.executable, "-I", "-S", guard.__file__, str(channel.fileno()), str(lifeline), "", ""]
        started = subprocess.Popen(
            [*command, sys.executable, "-c", look],
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            close_fds=False,
        )
        assert started.stderr is not None
        told = started.stderr.readline()
        os.close(held)
        os.close(lifeline)
        started.communicate(timeout=20)
        found = set(json.loads(told))
        assert {0, 1, 2, channel.fileno()} < found
        assert len(found) == 5, "one more reads the folder"
    os.close(secret)
