"""Measures Interlock beside DBOS and Restate: `.venv/bin/python benchmarks/run.py`, or `make bench`.

Prints a Markdown report, keeps each measurement as a JSON line in benchmarks/results, and puts the report into
benchmarks/RESULTS.md if all three systems were measured in full. Nothing leaves this machine but package downloads.
"""

from __future__ import annotations

import argparse
import shutil
import signal
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

import msgspec

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.interlock_server import INTERLOCK
from benchmarks.machine import adopt_orphans, describe
from benchmarks.peers.dbos import DBOS
from benchmarks.peers.install import PeerMissing, install_peers
from benchmarks.peers.restate import RESTATE
from benchmarks.report import markdown, write_between_marks
from benchmarks.rounds import Plan, run_rounds
from benchmarks.rows import Row, Run, append, read
from benchmarks.systems import System
from benchmarks.workloads import LOADS

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "RESULTS.md"
CHOICES: dict[str, tuple[System, ...]] = {
    "all": (INTERLOCK, DBOS, RESTATE),
    "peers": (DBOS, RESTATE),
    **{system.name: (system,) for system in (INTERLOCK, DBOS, RESTATE)},
}


def main() -> int:
    """Run what the command line asks for; 1 if any measurement failed."""
    options = _options()
    if options.report:
        run, rows = read(options.report)
    else:
        signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
        systems = _installed(CHOICES[options.only])
        run, rows = _measure(options, systems)
    text = markdown(run, rows)
    print("\n" + text)
    complete = {row.system for row in rows if row.valid} == {system.name for system in CHOICES["all"]} and not run.quick
    if options.write or (complete and not options.loads and not options.report):
        write_between_marks(RESULTS, text)
        print(f"written into {RESULTS.relative_to(HERE.parent)}")
    return 0 if all(row.valid for row in rows) else 1


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=None, help="default 5, with --quick 2")
    parser.add_argument("--quick", action="store_true", help="a third of the executions; RESULTS.md stays as it is")
    parser.add_argument(
        "--budget", type=float, default=12, metavar="MINUTES", help="no system is started that would overrun it"
    )
    parser.add_argument("--only", choices=CHOICES, default="all")
    parser.add_argument("--loads", nargs="+", choices=[load.key for load in LOADS], default=[])
    parser.add_argument(
        "--quiet-wait", type=float, default=6, metavar="SECONDS", help="longest wait for a quiet machine before a load"
    )
    parser.add_argument(
        "--place",
        type=Path,
        help="folder for all data (a real disk, the same for all); default the system's temporary one",
    )
    parser.add_argument("--keep", action="store_true", help="keep data and logs of the servers")
    parser.add_argument("--write", action="store_true", help="put the report into RESULTS.md in any case")
    parser.add_argument("--report", type=Path, metavar="FILE", help="measure nothing; report an earlier results file")
    return parser.parse_args()


def _installed(systems: tuple[System, ...]) -> tuple[System, ...]:
    """The systems, with the peers installed; without them if they cannot be had, which is said aloud."""
    if systems == (INTERLOCK,):
        return systems
    try:
        install_peers()
    except PeerMissing as missing:
        print(f"the peers cannot be measured: {missing}", file=sys.stderr)
        return tuple(system for system in systems if system is INTERLOCK)
    return systems


def _measure(options: argparse.Namespace, systems: tuple[System, ...]) -> tuple[Run, list[Row]]:
    adopt_orphans()
    started = datetime.now(UTC)
    (HERE / "results").mkdir(exist_ok=True)
    file = HERE / "results" / f"{started:%Y-%m-%dT%H-%M-%S}.jsonl"
    place = Path(tempfile.mkdtemp(prefix="interlock-bench-", dir=options.place))
    place.chmod(0o755)  # a database that refuses to run as root must be able to walk in
    rows: list[Row] = []

    def record(row: Row) -> None:
        rows.append(row)
        append(file, row)
        print(_line(row), flush=True)

    plan = Plan(
        systems=systems,
        loads=[load for load in LOADS if load.key in options.loads or not options.loads],
        rounds=options.rounds or (2 if options.quick else 5),
        quick=options.quick,
        budget_s=options.budget * 60,
        quiet_s=options.quiet_wait,
        place=place,
    )
    versions = {name: value for system in systems for name, value in system.versions().items()}
    run = Run(started=f"{started:%Y-%m-%d %H:%M} UTC", machine=describe(place), versions=versions, quick=options.quick)
    try:
        progress = run_rounds(plan, record)
    finally:
        if not options.keep:
            shutil.rmtree(place, ignore_errors=True)
    run = msgspec.structs.replace(run, rounds=progress.rounds, postgres=progress.postgres, note=progress.cut)
    append(file, run)
    print(f"measurements: {file}")
    return run, rows


def _line(row: Row) -> str:
    name = f"{row.round} {row.system:<10} {row.key:<8} {row.variant:<10}"
    if row.error:
        return f"{name} FAILED {row.failed}: {row.error}"
    return (
        f"{name} {row.steps_per_s:>9,.0f} steps/s  p50 {row.p50_ms:>9,.1f} ms  p99 {row.p99_ms:>9,.1f} ms"
        f"  cpu {row.cpu_ms_per_step:.3f} ms/step  others {row.others_cores:.2f}"
    )


if __name__ == "__main__":
    sys.exit(main())
