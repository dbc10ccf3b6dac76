"""Steady load: starts at a given rate, each repeated with its key until a server promised it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from crash.client import GaveUp
from crash.clock import steady, wall
from crash.stage import Stage


@dataclass(frozen=True)
class Promise:
    """A start that a server acknowledged."""

    ref: str
    execution_id: str
    acknowledged_at: float


class Load:
    """``promises`` are the starts that were acknowledged, ``given_up`` those that never were.

    ``rate`` is starts a second; ``name`` tells the references of one load from those of another.
    """

    def __init__(self, stage: Stage, name: str, workflow_id: str, rate: float) -> None:
        self._stage = stage
        self._name = name
        self._workflow_id = workflow_id
        self._rate = rate
        self._starts: set[asyncio.Task[None]] = set()
        self._pacer: asyncio.Task[None] | None = None
        self._count = 0
        self.promises: list[Promise] = []
        self.given_up: list[str] = []

    def begin(self) -> None:
        """Start to start."""
        self._pacer = asyncio.create_task(self._pace())

    async def end(self) -> None:
        """Begin nothing new, and wait until every start was promised or given up."""
        if self._pacer is not None:
            self._pacer.cancel()
            await asyncio.gather(self._pacer, return_exceptions=True)
        await asyncio.gather(*self._starts)

    async def _pace(self) -> None:
        begun = steady()
        while True:
            self._count += 1
            task = asyncio.create_task(self._start(f"{self._name}-{self._stage.verdict.seed}-{self._count}"))
            self._starts.add(task)
            task.add_done_callback(self._starts.discard)
            await asyncio.sleep(max(0.0, begun + self._count / self._rate - steady()))

    async def _start(self, ref: str) -> None:
        try:
            execution_id = await self._stage.start(self._workflow_id, ref)
        except (GaveUp, RuntimeError) as error:
            self.given_up.append(f"{ref}: {error}")
        else:
            self.promises.append(Promise(ref, execution_id, wall()))
