"""Starts one child and ends it, with all it started, as soon as the server lets go of it or dies.

    guard.py CHANNEL LIFELINE GROUPS REACHED COMMAND...

CHANNEL and LIFELINE are inherited file descriptors; GROUPS are the ``cgroup.procs`` files, joined by colons, that the
child enters before it runs COMMAND. REACHED are folders, joined by colons, that the child is to reach as a user of its
own; without any it keeps ours. In COMMAND ``{guard}`` stands for this process, and a word of ``{bytes}`` and hex
digits for the number of a descriptor from which the child reads these bytes. Run by path, without the package around
it: it lives as long as the child and should be small.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time

BYTES = "{bytes}"
_PR_SET_CHILD_SUBREAPER = 36
_USERS = 0x7000_0000
"""Users and groups from here on belong to nobody, by the ranges that systemd and containers keep to. With the number
of a living process added, each is one child's alone."""
_CLONE_NEWNS, _MS_BIND, _MS_REC, _MS_SLAVE = 0x0002_0000, 0x1000, 0x4000, 0x8_0000


def main() -> None:
    """Exit with the child's exit code, or 128 and the signal that ended it."""
    channel, lifeline = int(sys.argv[1]), int(sys.argv[2])
    groups, reached = ([path for path in word.split(":") if path] for word in sys.argv[3:5])
    _close_others(channel, lifeline)
    os.dup2(2, 1)  # what functions print belongs to the server's log and not into its output
    signal.signal(signal.SIGTERM, lambda *_: None)  # meant for the server, which will end us in its own time
    signal.signal(signal.SIGINT, lambda *_: None)
    _adopt()
    guard = os.getpid()
    command = [word.replace("{guard}", str(guard)) for word in sys.argv[5:]]
    child = os.fork()
    if child == 0:
        os.close(lifeline)
        os.setpgid(0, 0)
        for path in groups:
            _enter(path)
        if reached:
            change_user(guard, reached)
        command = [_descriptor(word) if word.startswith(BYTES) else word for word in command]
        os.execv(command[0], command)  # noqa: S606 - the server says what to run
    os.close(channel)
    os.read(lifeline, 1)
    _kill(child)
    _clear(groups)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    _bury(child)
    sys.exit(code if code >= 0 else 128 - code)


def readable(content: bytes) -> int:
    """A descriptor that children inherit and read ``content`` from, once; at most what a pipe holds, 64 KiB."""
    end, start = os.pipe()
    os.write(start, content)
    os.close(start)
    os.set_inheritable(end, True)
    return end


def change_user(process: int, reached: list[str]) -> None:
    """Become, for good, the user of this process number, to whom ``reached`` folders are open. Raises OSError."""
    user = _USERS + process
    os.umask(0o022)
    _open_ways([each for each in reached if _barrier(each)])
    os.setgroups([])
    os.setresgid(user, user, user)
    os.setresuid(user, user, user)


def _open_ways(folders: list[str]) -> None:
    """See the files as before, but for folders that let only their owner through: they lead to ``folders`` alone."""
    if not folders:
        return
    libc = ctypes.CDLL(None, use_errno=True)
    _check(libc.unshare(_CLONE_NEWNS))
    _check(libc.mount(None, b"/", None, _MS_REC | _MS_SLAVE, None))
    found = {folder: os.open(folder, os.O_PATH) for folder in sorted(folders)}
    for barrier in {_barrier(folder) for folder in folders}:
        _check(libc.mount(b"tmpfs", barrier.encode(), b"tmpfs", 0, b"mode=755"))
    for folder, descriptor in found.items():
        os.makedirs(folder, exist_ok=True)
        _check(libc.mount(f"/proc/self/fd/{descriptor}".encode(), folder.encode(), None, _MS_BIND | _MS_REC, None))
        os.close(descriptor)


def _barrier(folder: str) -> str:
    """The first folder above this one that lets only its owner through; empty if there is none."""
    end = folder.find("/", 1)
    while end != -1 and os.stat(folder[:end]).st_mode & 0o001:
        end = folder.find("/", end + 1)
    return folder[:end] if end != -1 else ""


def _check(result: int) -> None:
    if result != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def _descriptor(word: str) -> str:
    return str(readable(bytes.fromhex(word.removeprefix(BYTES))))


def _close_others(*kept: int) -> None:
    """Close what the server has let us inherit unawares: not every event loop does, and libraries open files too."""
    first = 3
    for descriptor in sorted(kept):
        os.closerange(first, descriptor)
        first = descriptor + 1
    os.closerange(first, os.sysconf("SC_OPEN_MAX"))


def _adopt() -> None:
    """What the child leaves behind becomes ours to wait for (Linux, prctl(2)); elsewhere init has it."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1)


def _bury(group: int) -> None:
    """Return when the whole group is dead: the kernel ends the killed one by one, the child maybe first."""
    while True:
        try:
            os.waitpid(-group, 0)
        except ChildProcessError:
            return


def _enter(path: str) -> None:
    with open(path, "w", encoding="ascii") as file:
        file.write("0")


def _clear(groups: list[str]) -> None:
    """Kill what is left in the child's cgroups, wherever it went, until nothing is."""
    for path in groups:
        while numbers := _members(path):
            for number in numbers:
                try:
                    os.kill(number, signal.SIGKILL)
                except ProcessLookupError:
                    continue
            time.sleep(0.001)


def _members(path: str) -> list[int]:
    """The living processes of a cgroup; the dead stand there until they are waited for."""
    try:
        with open(path, encoding="ascii") as file:
            return [number for number in map(int, file.read().split()) if number != 0 and _is_alive(number)]
    except OSError:
        return []


def _is_alive(number: int) -> bool:
    try:
        with open(f"/proc/{number}/stat", encoding="utf-8", errors="replace") as file:
            return file.read().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def _kill(child: int) -> None:
    """A child that is dead already keeps its number, and its group that number, until it is waited for."""
    for kill in (os.killpg, os.kill):
        try:
            kill(child, signal.SIGKILL)
        except ProcessLookupError:  # it had no time to become a group
            continue


if __name__ == "__main__":
    main()
