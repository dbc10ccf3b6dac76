"""Each sandbox is a user of the machine of its own, where the server is root: a second wall between tenants (I8)."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from structlog.testing import capture_logs

from conformance.executor_trial import KeptBlobs, Trial
from conformance.sandbox_house import Cellblock, KeptCode, good_walls
from figures import Note
from interlock.backends.executor.pool import guard
from interlock.backends.executor.sandbox import walls
from interlock.backends.executor.sandbox.executor import SandboxExecutor
from interlock.nodes.testing import ScriptedEgress
from serving import descendants

SLEEPS = """
import time
def f(p):
    print("left", flush=True)
    time.sleep(60)
"""

INTRUDER = r"""
import ctypes, json, os, resource, runpy, sys
libc = ctypes.CDLL(None, use_errno=True)
guard, user, own, others = sys.argv[1], int(sys.argv[2]), *map(json.loads, sys.argv[3:])
change = runpy.run_path(guard)
change["change_user"](user - change["_USERS"], [])

def trace(process):
    if libc.ptrace(0x4206, process, None, None) != 0:  # PTRACE_SEIZE: to attach would leave it stopped for good
        raise OSError(ctypes.get_errno(), "ptrace")

LOOKS = {
    "signal": lambda process: os.kill(process, 0),
    "limits": lambda process: resource.prlimit(process, resource.RLIMIT_NOFILE),
    "environ": lambda process: open(f"/proc/{process}/environ", "rb").read(),
    "memory": lambda process: open(f"/proc/{process}/mem", "rb"),
    "descriptors": lambda process: os.listdir(f"/proc/{process}/fd"),
    "folder": lambda process: os.listdir(f"/proc/{process}/cwd"),
    "files": lambda process: os.listdir(f"/proc/{process}/root/tmp"),
    "namespaces": lambda process: os.open(f"/proc/{process}/ns/mnt", os.O_RDONLY),
    "trace": trace,
}

def reached(processes):
    found = []
    for process in processes:
        for name, look in LOOKS.items():
            try:
                look(process)
            except (PermissionError, ProcessLookupError, FileNotFoundError):  # the last two: it has ended
                continue
            found.append(name)
    return found

print(json.dumps({"own": reached(own), "others": reached(others), "tries": len(LOOKS) * len(others)}))
"""


@pytest_asyncio.fixture
async def block(tmp_path: Path) -> AsyncIterator[Cellblock]:
    if not good_walls().has_users:
        pytest.skip(good_walls().reason)
    shelf, egress, blobs = KeptCode(), ScriptedEgress([]), KeptBlobs()
    executor = SandboxExecutor(good_walls(), shelf, egress, blobs, scratch=tmp_path, size=3, memory=256, spares=1)
    await executor.start()
    yield Cellblock(Trial(executor, egress, blobs), shelf)
    await executor.stop(5)


async def test_without_any_walls_the_user_of_a_sandbox_reaches_nothing_of_another(
    block: Cellblock, note_figures: Note
) -> None:
    with capture_logs() as logs:
        for who in ("one", "two"):
            await block.submit(SLEEPS, tenant_id=who)
        async with asyncio.timeout(20):
            while sum(line.get("text") == "left\n" for line in logs) < 2:
                await asyncio.sleep(0.005)  # what it prints is no event here
    users = _processes_by_user()
    assert len(users) >= 2
    assert 0 not in users
    tries = 0
    for user, own in users.items():
        others = [os.getpid(), *(each for other, theirs in users.items() if other != user for each in theirs)]
        seen = _intrude(user, own, others)
        assert set(seen["own"]) >= {"signal", "limits", "environ", "folder"}, "else it would prove nothing"
        assert seen["others"] == []
        tries += seen["tries"]
    note_figures(user_tries=tries, user_hits=0)


def _processes_by_user() -> dict[int, list[int]]:
    """The living processes of sandboxes. Guards, and sandboxes that are about to change, have the server's user."""
    found: dict[int, list[int]] = {}
    for process in descendants(os.getpid()):
        try:
            lines = Path(f"/proc/{process}/status").read_text().splitlines()
        except FileNotFoundError:  # what listed them
            continue
        status = {name: value.split() for name, _, value in (line.partition(":\t") for line in lines)}
        if set(status["Uid"]) != {str(os.getuid())}:
            user = int(status["Uid"][0])
            assert (status["Uid"], status["Gid"], status["Groups"]) == ([str(user)] * 4, [str(user)] * 4, [])
            found.setdefault(user, []).append(process)
    return found


def _intrude(user: int, own: list[int], others: list[int]) -> dict[str, object]:
    command = [sys.executable, "-I", "-S", "-c", INTRUDER, guard.__file__, str(user), json.dumps(own)]
    done = subprocess.run([*command, json.dumps(others)], capture_output=True, text=True, check=False, timeout=20)
    assert done.returncode == 0, done.stderr
    seen: dict[str, object] = json.loads(done.stdout)
    return seen


def test_a_user_reaches_its_folders_through_closed_ones_and_nothing_else_in_them(tmp_path: Path) -> None:
    """Python may lie in the home of root."""
    if os.geteuid() != 0:
        pytest.skip("only root can give others a user")
    closed = tmp_path / "closed"
    for name in ("python/bin", "secrets"):
        (closed / name).mkdir(parents=True)
        (closed / name / "file").write_text(name)
    closed.chmod(0o700)
    look = "import os, runpy, sys; runpy.run_path(sys.argv[1])['change_user'](os.getpid(), sys.argv[3:])\n"
    look += "print([(folder, names) for folder, _, names in os.walk(sys.argv[2])], open(sys.argv[3] + '/file').read())"
    command = [sys.executable, "-I", "-S", "-c", look, guard.__file__, str(closed), str(closed / "python" / "bin")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=20)
    folders = [(str(closed), []), (f"{closed}/python", []), (f"{closed}/python/bin", ["file"])]
    assert done.stdout == f"{folders} python/bin\n", done.stderr
    assert (closed / "secrets" / "file").read_text() == "secrets", "nobody else's view has changed"


def test_where_there_are_no_users_to_give_the_reason_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    good_walls()
    with monkeypatch.context() as patch:
        patch.setattr(walls, "_CHANGE", "raise SystemExit('no room')")
        patch.setattr("os.geteuid", lambda: 0)
        found = walls.find_walls("bwrap", is_local=True)
    assert found.reason.endswith("sandboxes run as the server's user: bubblewrap fails here: no room")
    assert (found.mode, found.reached(("/x",))) == ("bwrap", ())
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    found = walls.find_walls("bwrap", is_local=True)
    assert found.reason.endswith("sandboxes run as the server's user: only root can give them others")
    assert (found.mode, found.has_users) == ("bwrap", False)
