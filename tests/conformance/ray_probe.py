"""A node type for tests of a cluster: it says that it began, and ends when the test lets it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from pathlib import Path

from conformance.executor_probe import load as load_probes
from interlock.backends.executor.inline import InlineExecutor
from interlock.backends.executor.ray.host import Tools
from interlock.core.node_type import NodeType
from interlock.nodes import NodeRegistry
from interlock.ports.code import CodeShelf
from interlock.ports.executor import Executor
from interlock.ports.node import Attempt, Done, Services


def load() -> NodeRegistry:
    """All types that hosts of these tests run."""
    registry = load_probes()
    registry.add(Held())
    registry.add(Reader())
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


def places(tools: Tools) -> Mapping[str, Executor]:
    """An executor for another place, on the node itself; its types read code."""
    registry = load_probes()
    registry.add(Reader(tools.code))
    return {"sandbox": InlineExecutor(registry, tools.egress, tools.blobs)}


class Reader:
    """Says how long a piece of code is."""

    type = NodeType(name="reader", title="Reader", description="Reads code.", place="sandbox")

    def __init__(self, code: CodeShelf | None = None) -> None:
        self._code = code

    async def run(self, attempt: Attempt, services: Services) -> Done:
        assert self._code is not None, "it runs in the place that was made for it"
        code = await self._code.get(attempt.tenant_id, attempt.parameters["code"])
        return Done(output=[code.form, len(code.content), code.author])
