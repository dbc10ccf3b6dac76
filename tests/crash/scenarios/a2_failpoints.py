"""A2: every failpoint of the engine, in a server with work in flight, as a crash, a long pause and an error.

And a family, with parents and children, whose server dies at every commit.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import interlock.runtime.engine  # noqa: F401  (importing the runtime declares its failpoints)
from crash.cell import Cell, Stimulus, plan_of
from crash.commits import POINTS, die_at_every_commit
from crash.families import check_families
from crash.judge import check_common, check_promises
from crash.server import Server
from crash.stage import Stage
from crash.together import all_of
from interlock.kit import failpoints

TITLE = "every failpoint as a crash, a pause and an error"
ACTIONS = ("exit", "sleep", "raise")
AT_ONCE = 2
SLOTS = "2"
"""So few that starts queue up and the victim has something to claim."""
ALONE = ("claiming.",)
"""Points that are only reached for certain while nobody else is there to do the work."""


async def run(stage: Stage) -> None:
    """Most cells in batches beside one healthy server; what needs stages of its own meanwhile."""
    cells = [Cell(name, action, stage.scale.a2_sleep) for name in sorted(failpoints.KNOWN) for action in ACTIONS]
    alone = [cell for cell in cells if cell.name.startswith(ALONE)]
    others = [cell for cell in cells if cell not in alone]
    await all_of(_run_batches(stage, others), _run_apart(stage, alone))
    verdict = stage.verdict
    for action in ACTIONS:
        verdict.injections[f"{action}_cells_hit"] = sum(cell.was_hit for cell in cells if cell.action == action)
    verdict.counts |= {"failpoints": len(failpoints.KNOWN), "cells": len(cells)}
    missed = [f"{cell}: {cell.note}" for cell in cells if not cell.was_hit]
    verdict.figures["coverage_percent"] = round(100 * (1 - len(missed) / len(cells)), 1)
    verdict.expect_none("every server goes on after a pause or an error", (f"{c}: {c.sick}" for c in cells if c.sick))
    verdict.prove("every cell was hit", not missed, missed or len(cells))


async def _run_apart(stage: Stage, alone: list[Cell]) -> None:
    """Families whose server dies at every commit, then the cells of claiming and reaping."""
    await all_of(*(die_at_every_commit(stage, point) for point in POINTS))
    for first in range(0, len(alone), AT_ONCE):
        await all_of(*(_run_alone(stage, cell) for cell in alone[first : first + AT_ONCE]))


async def _run_batches(above: Stage, cells: list[Cell]) -> None:
    async with above.beside("batches") as stage:
        rescuer = await stage.add_server("rescuer")
        await _carry_out(stage, cells)
        stage.servers[:] = [rescuer]
        await _judge(stage, cells)


async def _carry_out(stage: Stage, cells: list[Cell]) -> None:
    stimulus = Stimulus(stage)
    await stimulus.prepare()
    victims = [stage.new_server(f"victim-{number}", slots=SLOTS) for number in range(1, AT_ONCE + 1)]
    units = list(_units(cells, stage.scale.a2_together))
    for first in range(0, len(units), AT_ONCE):
        batch = list(zip(units[first : first + AT_ONCE], victims, strict=False))
        await asyncio.gather(*(victim.launch(plan_of(unit)) for unit, victim in batch))
        await asyncio.gather(*(_hurt(stimulus, unit, victim) for unit, victim in batch))
        await stage.drain(90)
        await asyncio.gather(*(_leave(stimulus, unit[0], victim) for unit, victim in batch))


def _units(cells: list[Cell], together: int) -> Iterator[list[Cell]]:
    """What one victim gets: a crash alone, of what can be survived several, one after the other."""
    for action in ACTIONS:
        chosen = [cell for cell in cells if cell.action == action]
        size = together if action == "raise" else 1
        yield from (chosen[first : first + size] for first in range(0, len(chosen), size))


async def _hurt(stimulus: Stimulus, unit: list[Cell], victim: Server) -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(stimulus.apply(unit[0], victim))
        for cell in unit:
            group.create_task(cell.watch(victim))


async def _leave(stimulus: Stimulus, cell: Cell, victim: Server) -> None:
    """A victim that survived must still work; then it is stopped."""
    if victim.process.is_running:
        await stimulus.prove_alive(cell, victim)
        await victim.process.stop()


async def _run_alone(above: Stage, cell: Cell) -> None:
    """The victim is the only server until it was hit; one that was killed before leaves it something to reap."""
    async with above.beside(str(cell).replace(".", "-").replace("=", "-")) as stage:
        stimulus = Stimulus(stage)
        if cell.name.endswith("_reap"):
            seeder = await stage.add_server("seeder")
            await stimulus.prepare()
            await stimulus.seed(cell, seeder)
            victim = stage.new_server("victim", slots=SLOTS)
            await asyncio.gather(victim.launch(plan_of([cell])), seeder.kill())
        else:
            victim = stage.new_server("victim", slots=SLOTS)
            await victim.launch(plan_of([cell]))
            stage.client.token = victim.token
            await stimulus.prepare()
        async with asyncio.TaskGroup() as both:
            both.create_task(stimulus.apply(cell, victim))
            await cell.watch(victim)
            rescuer = stage.new_server("rescuer")
            await rescuer.launch()
        await stage.drain(90)
        await _leave(stimulus, cell, victim)
        stage.servers[:] = [rescuer]
        await _judge(stage, [cell])


async def _judge(stage: Stage, cells: list[Cell]) -> None:
    families = [promise for cell in cells for promise in cell.families]
    await check_promises(stage, [promise for cell in cells for promise in cell.promises] + families)
    await check_families(stage, families)
    await check_promises(stage, [promise for cell in cells for promise in cell.cancelled], "cancelled")
    stage.verdict.expect_none("all attempts of a step carry one effect key", stage.effects().with_several_keys())
    await check_common(stage, errors_were_injected=True)
