"""Starts one child and ends it, with all it started, as soon as the server lets go of it or dies.

    guard.py CHANNEL LIFELINE REGISTRY     (two inherited file descriptors, and a dotted path)

Run by path, without the package around it: it lives as long as the child and should be small.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

CHILD = "interlock.backends.executor.pool.child"
_PR_SET_CHILD_SUBREAPER = 36


def main() -> None:
    """Exit with the child's exit code, or 128 and the signal that ended it."""
    channel, lifeline, registry = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    os.dup2(2, 1)  # what functions print belongs to the server's log and not into its output
    signal.signal(signal.SIGTERM, lambda *_: None)  # meant for the server, which will end us in its own time
    signal.signal(signal.SIGINT, lambda *_: None)
    _adopt()
    guard = os.getpid()
    child = os.fork()
    if child == 0:
        os.close(lifeline)
        os.setpgid(0, 0)
        os.execv(sys.executable, [sys.executable, "-P", "-m", CHILD, str(guard), str(channel), registry])  # noqa: S606
    os.close(channel)
    os.read(lifeline, 1)
    _kill(child)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    _bury(child)
    sys.exit(code if code >= 0 else 128 - code)


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


def _kill(child: int) -> None:
    """A child that is dead already keeps its number, and its group that number, until it is waited for."""
    for kill in (os.killpg, os.kill):
        try:
            kill(child, signal.SIGKILL)
        except ProcessLookupError:  # it had no time to become a group
            continue


if __name__ == "__main__":
    main()
