"""A2: every failpoint of the engine, in a server with work in flight, as a crash, a long pause and an error."""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass, field

import interlock.runtime.engine  # noqa: F401  (importing the runtime declares its failpoints)
from crash.client import APP, GaveUp
from crash.clock import wall
from crash.judge import check_common, check_promises
from crash.load import Promise
from crash.server import FAILPOINT_EXIT, Server
from crash.stage import Stage
from crash.workflows import chain, resting
from interlock.kit import failpoints

TITLE = "every failpoint as a crash, a pause and an error"
AT_ONCE = 3
SLOTS = "2"
"""So few that starts queue up and the victim has something to claim."""
CHAINS = 5
LATER_HIT = {"claiming.before_claim": 3}
"""Hits that happen before there is work are let pass."""
REAPS = frozenset({"claiming.before_reap", "claiming.after_reap"})
HIT_SECONDS = 25.0


@dataclass
class Cell:
    """A failpoint and what it does."""

    name: str
    action: str
    was_hit: bool = False
    note: str = ""
    promises: list[Promise] = field(default_factory=list)
    cancelled: list[Promise] = field(default_factory=list)

    def plan(self, sleep: float) -> str:
        """The plan of the server that meets it once."""
        action = f"sleep:{sleep:g}" if self.action == "sleep" else self.action
        return f"{self.name}={action}@{LATER_HIT.get(self.name, 1)}"

    def __str__(self) -> str:
        return f"{self.name}={self.action}"


async def run(stage: Stage) -> None:
    """All cells but those of reaping in batches beside one healthy server; those of reaping each on a stage of its own."""
    cells = [Cell(name, action) for name in sorted(failpoints.KNOWN) for action in ("exit", "sleep", "raise")]
    await asyncio.gather(*(_prepare_nothing() for _ in ()))
    await _run_batches(stage, [cell for cell in cells if cell.name not in REAPS])
    reaps = [cell for cell in cells if cell.name in REAPS]
    for first in range(0, len(reaps), AT_ONCE):
        await asyncio.gather(*(_run_reap(stage, cell) for cell in reaps[first : first + AT_ONCE]))
    verdict = stage.verdict
    for action in ("exit", "sleep", "raise"):
        verdict.injections[f"{action}_cells_hit"] = sum(cell.was_hit for cell in cells if cell.action == action)
    verdict.counts |= {"failpoints": len(failpoints.KNOWN), "cells": len(cells)}
    covered = sum(cell.was_hit for cell in cells)
    verdict.figures["coverage_percent"] = round(100 * covered / len(cells), 1)
    missed = [f"{cell} {cell.note}".strip() for cell in cells if not cell.was_hit]
    verdict.prove("every cell was hit", not missed, missed or covered)


async def _prepare_nothing() -> None:
    return
