"""The program in a sandbox.

    python -m interlock.backends.executor.sandbox.child GUARD CHANNEL REGISTRY WORK LIMITS

The pool's child, and around each attempt what users' code is promised: a folder of its own, the names of its task in
the environment, what it prints as log lines, the files it leaves as artifacts. None of this is a wall; those are
outside, or are limits that this program sets before it has read anything of the user's.
"""

from __future__ import annotations

import os
import resource
import shutil
import signal
import socket
import stat
import sys
from hashlib import sha256
from pathlib import Path

import msgspec

from interlock.backends.executor.pool.calls import ChildServices
from interlock.backends.executor.pool.child import DEVICES, Child, run_child
from interlock.backends.executor.pool.messages import Printed
from interlock.backends.executor.pool.surroundings import tell
from interlock.backends.executor.sandbox.limits import INIT, MIB, OPEN_FILES, PROCESSES, SCRATCH
from interlock.backends.executor.sandbox.output import Output
from interlock.backends.executor.services import MAX_ARTIFACT
from interlock.core.events import ArtifactRef
from interlock.ports.node import Attempt, Done, NodeFailed, Outcome, Registry

ARTIFACTS = "artifacts"
"""The folder whose files are kept."""
MAX_FILES = 100
"""Files that one attempt may leave."""
_MEMORY = 2048 * MIB
"""Bytes of one process without a cgroup, unless the task asks for more."""


class SandboxedChild(Child):
    """A child whose attempts are users' code. ``limits`` is where memory is held: none, group, each (process).

    ``is_alone``: in a namespace of processes in which there is nobody else but its init.
    """

    def __init__(self, channel: socket.socket, registry: Registry, work: Path, limits: str, *, is_alone: bool) -> None:
        super().__init__(channel, registry)
        self._work = work
        self._limits = limits
        self._is_alone = is_alone
        self._is_limited = limits == "none"
        self._output = Output(lambda stream, text: self.say(Printed(stream=stream, text=text)))

    async def carry_out(self, attempt: Attempt, services: ChildServices) -> Outcome:
        """What the code says, and the files it left."""
        self._limit(attempt)
        folder = self._work / f"{attempt.execution_id}-{attempt.attempt}"
        (folder / ARTIFACTS).mkdir(parents=True)
        os.chdir(folder)
        tell(_told(attempt))
        self._output.begin()
        try:
            outcome = await super().carry_out(attempt, services)
            if isinstance(outcome, Done):
                kept = await _keep(folder / ARTIFACTS, services)
                outcome = msgspec.structs.replace(outcome, artifacts=(*outcome.artifacts, *kept))
            return outcome
        finally:
            if self._is_alone:
                _end_others()
            self._output.end()
            os.chdir(self._work)
            shutil.rmtree(folder, ignore_errors=True)

    def _limit(self, attempt: Attempt) -> None:
        if self._is_limited:
            return
        self._is_limited = True
        asked = attempt.resources.memory if attempt.resources is not None else 0
        limits = {
            resource.RLIMIT_CORE: 0,
            resource.RLIMIT_FSIZE: SCRATCH,
            resource.RLIMIT_NOFILE: OPEN_FILES,
            resource.RLIMIT_NPROC: PROCESSES if self._is_alone else PROCESSES * 16,
        }
        if self._limits == "each":
            limits[resource.RLIMIT_AS] = int(asked) * MIB or _MEMORY
        for which, value in limits.items():
            hard = resource.getrlimit(which)[1]
            least = value if hard == resource.RLIM_INFINITY else min(value, hard)
            resource.setrlimit(which, (least, least))


def _told(attempt: Attempt) -> dict[str, str | None]:
    gpus = attempt.placement.gpus if attempt.placement is not None else ()
    span = sha256(f"{attempt.effect_key}/{attempt.attempt}".encode()).hexdigest()
    trace = attempt.trace_id if len(attempt.trace_id) == 32 else span[:32]
    return {
        "INTERLOCK_RUN_ID": str(attempt.execution_id),
        "INTERLOCK_TASK_ID": attempt.task_id,
        "INTERLOCK_ATTEMPT": str(attempt.attempt),
        "INTERLOCK_EFFECT_KEY": attempt.effect_key,
        "INTERLOCK_EFFECT_KEYS": " ".join(attempt.effect_keys),
        "TRACEPARENT": f"00-{trace}-{span[32:48]}-01",
        DEVICES: ",".join(map(str, gpus)),
    }


async def _keep(folder: Path, services: ChildServices) -> tuple[ArtifactRef, ...]:
    """Store the plain files of a folder. Raises NodeFailed ARTIFACTS_TOO_MANY and what storing raises."""
    names = sorted(os.listdir(folder)) if folder.is_dir() else []
    if len(names) > MAX_FILES:
        told = f"The code left {len(names)} files in ./{ARTIFACTS}; at most {MAX_FILES} are kept"
        raise NodeFailed("ARTIFACTS_TOO_MANY", told)
    if not names:
        return ()
    import mimetypes  # noqa: PLC0415 - a sandbox should start fast, and most leave no files

    kept = []
    for name in names:
        content = _read(folder / name)
        if content is not None:
            kind = mimetypes.guess_type(name)[0] or "application/octet-stream"
            kept.append(await services.write_artifact(name, content, kind))
    return tuple(kept)


def _read(path: Path) -> bytes | None:
    """The bytes of a plain file, one too many if there are too many; None for links, folders and pipes."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return None
    if not stat.S_ISREG(os.fstat(file).st_mode):
        os.close(file)
        return None
    with os.fdopen(file, "rb") as opened:
        return opened.read(MAX_ARTIFACT + 1)


def _end_others() -> None:
    """Kill what the code has left running; init and we are spared. Nobody waits for them any more but us."""
    try:
        os.kill(-1, signal.SIGKILL)
        while True:
            os.waitpid(-1, 0)
    except (ProcessLookupError, ChildProcessError):
        return


def main() -> None:
    """Serve one server until it is gone."""
    guard, channel, path, work, limits = sys.argv[1:]
    os.chdir(work)
    sys.path.append("")  # what the code writes it may import
    run_child(
        int(guard),
        socket.socket(fileno=int(channel)),
        path,
        lambda channel, registry: SandboxedChild(channel, registry, Path(work), limits, is_alone=guard == INIT),
    )


if __name__ == "__main__":
    main()
