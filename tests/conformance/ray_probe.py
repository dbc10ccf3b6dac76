"""A node type for tests of a cluster: it says that it began, and ends when the test lets it."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from conformance.executor_probe import load as load_probes
from interlock.core.node_type import NodeType
from interlock.nodes import NodeRegistry
from interlock.ports.node import Attempt, Done, Services


def load() -> NodeRegistry:
    """All types that hosts of these tests run."""
    registry = load_probes()
    registry.add(Held())
    return registry


class Held:
    """Writes a line to ``folder``/begun, and ends when ``folder``/go is there."""

    type = NodeType(name="held", title="Held", description="Waits for the test.", place="process")

    async def run(self, attempt: Attempt, services: Services) -> Done:
        folder = Path(attempt.parameters["folder"])
        with (folder / "begun").open("a") as file:
            file.write(f"{attempt.task_id} {attempt.attempt} {os.getpid()}\n")
        while not (folder / "go").exists():
            await asyncio.sleep(0.02)  # the test is in another process
        return Done(output={"attempt": attempt.attempt, "pid": os.getpid()})
