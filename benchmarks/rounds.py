"""The rounds: each system in turn is started, runs its loads while the rest is silent, and is ended; then again."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from benchmarks.drive import Figures, Shape
from benchmarks.machine import busy_seconds, cpu_seconds, wait_until_quiet
from benchmarks.postgres import settings_of
from benchmarks.program import Program, ProgramError, end_descendants
from benchmarks.rows import Row
from benchmarks.systems import ROOT, Driver, System
from benchmarks.workloads import Load, shape_of

_WARM_SECONDS = 60
_GRACE_SECONDS = 60  # for the executions that are on their way when a load's time is up


@dataclass
class Plan:
    """What to run. `place` is an empty folder every user may walk into; `quiet_s` bounds the wait before a load."""

    systems: Sequence[System]
    loads: Sequence[Load]
    rounds: int
    quick: bool
    budget_s: float
    quiet_s: float
    place: Path


@dataclass
class Progress:
    """What was done so far, for the report: rounds begun, Postgres settings seen, and why it ended early, if it did."""

    rounds: int = 0
    postgres: dict[str, dict[str, str]] = field(default_factory=dict)
    cut: str = ""


def run_rounds(plan: Plan, record: Callable[[Row], None]) -> Progress:
    """Run the plan's systems in turn, round after round, and record each measurement; rather stop than overrun."""
    progress, took = Progress(), dict[str, float]()
    start = time.monotonic()
    for number in range(1, plan.rounds + 1):
        for system in plan.systems:
            begun = time.monotonic()
            if begun - start + took.get(system.name, 0) > plan.budget_s:
                progress.cut = f"the time budget ended it in round {number} of {plan.rounds}, before {system.title}"
                return progress
            progress.rounds = number
            _run_system(system, number, plan, progress, record)
            took[system.name] = time.monotonic() - begun
    return progress


def _run_system(system: System, number: int, plan: Plan, progress: Progress, record: Callable[[Row], None]) -> None:
    place = plan.place / f"{number}-{system.name}"
    place.mkdir(mode=0o755)
    try:
        with system.serve(place) as server:
            progress.postgres[system.name] = settings_of(os.getpid())
            for load in plan.loads:
                shape = shape_of(system.name, load, plan.quick)
                for driver in server.drivers(load, shape):
                    row = Row(number, system.name, driver.variant, load.workload, load.drivers)
                    record(_measure(row, driver, load, shape, place / "client.log", plan.quiet_s))
    except ProgramError as error:
        record(Row(number, system.name, "", "start", 0, error=str(error)))
    finally:
        end_descendants()


def _measure(row: Row, driver: Driver, load: Load, shape: Shape, log: Path, quiet_s: float) -> Row:
    """`row` with what one run of the driver showed, or with the reason why it showed nothing."""
    try:
        with Program(driver.command, log=log, cwd=ROOT) as program:
            program.expect("warm", _WARM_SECONDS)
            wait_until_quiet(quiet_s)
            clients = [program.pid] if driver.separate else []
            before = _usage(clients)
            program.send("go")
            text = program.expect("figures ", shape.seconds + _GRACE_SECONDS)
            after = _usage(clients)
    except ProgramError as error:
        return msgspec.structs.replace(row, error=str(error))
    figures = msgspec.json.decode(text, type=Figures)
    wall, cpu, busy, steal = (late - early for late, early in zip(after, before, strict=True))
    client = figures.cpu_s if driver.separate else 0.0
    steps = figures.done * load.steps
    return msgspec.structs.replace(
        row,
        executions=figures.done,
        failed=figures.failed,
        wall_s=figures.wall_s,
        steps_per_s=round(steps / figures.wall_s, 1),
        p50_ms=round(figures.p50_ms, 3),
        p99_ms=round(figures.p99_ms, 3),
        max_ms=round(figures.max_ms, 3),
        cpu_ms_per_step=round(cpu / max(steps, 1) * 1e3, 5),
        client_cpu_ms_per_step=round(client / max(steps, 1) * 1e3, 5) if driver.separate else None,
        others_cores=round(max(busy - cpu - client, 0) / wall, 3),
        steal_cores=round(steal / wall, 3),
        error=figures.first_failure,
    )


def _usage(clients: list[int]) -> tuple[float, float, float, float]:
    """Now: the clock, CPU seconds of what is measured, of the whole machine, and stolen ones."""
    return time.perf_counter(), cpu_seconds(os.getpid(), clients), *busy_seconds()
