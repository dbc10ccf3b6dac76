"""Code of two tenants on one machine, at the same time: neither finds anything of the other (I8)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from structlog.testing import capture_logs

from conformance.executor_trial import KeptBlobs, Trial
from conformance.sandbox_house import Cellblock, KeptCode, good_walls
from figures import Note
from interlock.backends.executor.sandbox.executor import SandboxExecutor
from interlock.nodes.testing import ScriptedEgress

MARK = "secret-of-the-neighbour"


@pytest_asyncio.fixture(scope="module")
async def block(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Cellblock]:
    shelf, egress, blobs = KeptCode(), ScriptedEgress([]), KeptBlobs()
    scratch = tmp_path_factory.mktemp("scratch")
    executor = SandboxExecutor(good_walls(), shelf, egress, blobs, scratch=scratch, size=4, memory=256, spares=1)
    await executor.start()
    yield Cellblock(Trial(executor, egress, blobs), shelf)
    await executor.stop(5)


LEAVES = r"""
import ctypes, os, socket, subprocess, sys, time
from multiprocessing import shared_memory

def f(p):
    mark = p["mark"].encode()
    for folder in (".", "artifacts", "/tmp", "/dev/shm", "/tmp/work"):
        open(os.path.join(folder, p["mark"]), "wb").write(mark)
    held = shared_memory.SharedMemory(p["mark"] + "-shared", create=True, size=100)
    held.buf[:len(mark)] = mark
    libc = ctypes.CDLL(None)
    number = libc.shmget(4711, 4096, 0o1666)
    queue = libc.msgget(4711, 0o1666)
    assert number >= 0 and queue >= 0
    os.environ["SECRET"] = p["mark"]
    sleeper = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)", p["mark"]])
    loud = socket.create_server(("0.0.0.0", 4711))
    near = socket.socket(socket.AF_UNIX)
    near.bind("\0" + p["mark"])
    near.listen()
    print("left", flush=True)
    time.sleep(60)
"""

LOOKS = r"""
import ctypes, os, socket
from multiprocessing import shared_memory

def tried(look):
    try:
        return look()
    except (OSError, ValueError) as error:
        return type(error).__name__

def walked(mark):
    hits, seen = [], 0
    for top in ("/tmp", "/dev", "/run", "/var", "/home", "/root", "/srv", "/mnt", "/opt", "/sys/fs", "/proc"):
        for folder, folders, files in os.walk(top):
            if folder.startswith("/proc/") and folder.count("/") > 3:
                folders.clear()
            for name in (*folders, *files):
                seen += 1
                if mark in name:
                    hits.append(os.path.join(folder, name))
    return hits, seen

def processes(mark):
    hits = []
    for each in os.listdir("/proc"):
        for name in ("cmdline", "environ") if each.isdigit() else ():
            try:
                if mark.encode() in open(f"/proc/{each}/{name}", "rb").read() and each != str(os.getpid()):
                    hits.append(each)
            except OSError:
                pass
    return hits

def port(address):
    socket.create_connection((address, 4711), 1).close()
    return "reached"

def near(mark):
    socket.socket(socket.AF_UNIX).connect("\0" + mark)
    return "reached"

def f(p):
    mark, libc = p["mark"], ctypes.CDLL(None)
    hits, seen = walked(mark)
    return {
        "files": hits,
        "processes": processes(mark),
        "shared memory": tried(lambda: bytes(shared_memory.SharedMemory(mark + "-shared").buf[:9]).decode()),
        "shared memory of the system": libc.shmget(4711, 4096, 0),
        "queue of the system": libc.msgget(4711, 0),
        "what the system lists": [open(f"/proc/sysvipc/{x}").read().count("\n") for x in ("shm", "msg", "sem")],
        "port": [tried(lambda: port(address)) for address in ("127.0.0.1", "127.0.0.2", "::1")],
        "abstract socket": tried(lambda: near(mark)),
        "sockets": mark in open("/proc/net/unix").read(),
        "seen": seen,
    }
"""


async def test_a_neighbour_finds_nothing_of_what_another_tenant_has_at_the_same_time(
    block: Cellblock, note_figures: Note
) -> None:
    with capture_logs() as logs:
        victim = await block.submit(LEAVES, {"mark": MARK}, tenant_id="victim")
        async with asyncio.timeout(20):
            while not any(line.get("text") == "left\n" for line in logs):
                assert victim.results == []
                await asyncio.sleep(0.005)  # what it prints is no event here
    found = await block.run(LOOKS, {"mark": MARK}, tenant_id="thief")
    assert victim.results == []
    victim.cancel()
    assert found.pop("seen") > 100
    assert found == {
        "files": [],
        "processes": [],
        "shared memory": "FileNotFoundError",
        "shared memory of the system": -1,
        "queue of the system": -1,
        "what the system lists": [1, 1, 1],  # the line that names the columns
        "port": ["ConnectionRefusedError", "ConnectionRefusedError", found["port"][2]],
        "abstract socket": "ConnectionRefusedError",
        "sockets": False,
    }
    assert found["port"][2] != "reached"
    note_figures(neighbour_looks=len(found) + 2, neighbour_hits=0)


async def test_the_same_code_of_two_tenants_shares_nothing_and_its_files_are_each_ones_own(block: Cellblock) -> None:
    text = """
    import builtins, os
    def f(p):
        builtins.seen = [*getattr(builtins, "seen", []), p["who"]]
        open("artifacts/who.txt", "w").write(p["who"])
        return builtins.seen
    """
    told: list[Any] = []
    for who in ("a", "b", "a", "b"):
        told.append(await (await block.submit(text, {"who": who}, tenant_id=who)).end())
    assert [each.output["result"] for each in told] == [["a"], ["b"], ["a", "a"], ["b", "b"]]
    kept = block.trial.blobs.contents
    for who, each in zip("abab", told, strict=True):
        (file,) = each.artifacts
        assert kept[who, file.sha256] == who.encode()
    assert ("a", told[1].artifacts[0].sha256) not in kept
