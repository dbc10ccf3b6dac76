"""What a host on a node of a Ray cluster is made of beside its processes: the sandbox of users' code."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path

from interlock.backends.executor.ray.host import Tools
from interlock.backends.executor.sandbox.executor import SandboxExecutor
from interlock.backends.executor.sandbox.walls import Walls, find_walls
from interlock.bootstrap.sandbox import SWITCHED_OFF
from interlock.ports.executor import Executor


def open_places(tools: Tools) -> Mapping[str, Executor]:
    """The executors of places other than ``process``, on a node. Its own walls are tried out here.

    They are never weaker than those of the server, which says of its own in its log and in ``/health`` what they are.
    """
    given = tools.given
    walls = (
        find_walls(given["sandbox"], is_local=given["may_be_weaker"])
        if given["runs_code"]
        else Walls(None, SWITCHED_OFF)
    )
    sandbox = SandboxExecutor(
        walls,
        tools.code,
        tools.egress,
        tools.blobs,
        scratch=Path(tempfile.gettempdir()),
        size=tools.children,
        memory=given["memory"],
        task_log=tools.task_log,
        hidden=given.get("hidden", ()),
        spares=given.get("spares", 0),
    )
    return {sandbox.name: sandbox}
