"""Every program of this folder in its short form, one after the other: one line of verdict each.

    python tests/load/run.py [NAME ...]

A name is that of a program, such as ``e2_overload``; without any, all run, which takes about twenty minutes.
The exit code is 1 if one of them fails or does not end in its time. docs/load.md says what each of them shows.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
GRACE_SECONDS = 20.0  # in which a program that is told to stop ends the servers and databases it has started
SHOWN = 3  # last lines of what a program that failed has said


@dataclass(frozen=True)
class Program:
    """One program in its short form, which must end within ``seconds``."""

    name: str
    arguments: str
    seconds: int

    @property
    def title(self) -> str:
        return f"{self.name} {self.arguments}".strip()

    def command(self) -> list[str]:
        return [sys.executable, str(HERE / f"{self.name}.py"), *self.arguments.split()]


PROGRAMS = (
    Program("c1_c7_races", "--sessions 40 --seconds 20 --kills 1 --writers 20", 180),
    Program("d1_copies", "--keys 40 --copies 50", 120),
    Program("e1_knees", "--seconds 2", 300),
    Program("e2_overload", "--seconds 10", 240),
    Program("e3_flood", "--seconds 30", 180),
    Program("e4_limits", "--limit 300 --clients 40", 180),
    Program("e5_failing_endpoint", "--sessions 60 --seconds 20", 180),
    Program("e6_slow_clients", "--each 100 --idle 500", 180),
    Program("e8_queue", "--starts 600 --queue 400", 240),
    Program("first_moments", "--rounds 60", 120),
    Program("bus_latency", "--events 200", 120),
    Program("watchers", "--sessions 20 --seconds 10", 120),
    Program("reconnecting", "--sessions 10 --seconds 30 --kill-every 10", 180),
    Program("lazy_readers", "idle --seconds 15 --scale 0.1", 180),
    Program("lazy_readers", "unread --seconds 20 --scale 0.1", 180),
    Program("lazy_readers", "replay --seconds 20 --scale 0.1", 240),
    Program("large_through_five", "--rounds 3", 120),
    Program("trusted_functions", "--executions 4 --rounds 2", 120),
    Program("sandbox_rates", "--cold 5 --calls 500 --rounds 2", 180),
    Program("budget_kills", "--seconds 20 --processes 2", 300),
)


def run(program: Program) -> bool:
    """Run one program and print its verdict. True if it held."""
    began = time.monotonic()
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src")}
    process = subprocess.Popen(
        program.command(),
        env=environment,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        said, _ = process.communicate(timeout=program.seconds)
        verdict = "PASS" if process.returncode == 0 else "FAIL"
    except subprocess.TimeoutExpired:
        said, verdict = _stop(process), "LATE"
    except BaseException:
        _stop(process)
        raise
    print(f"{verdict}  {time.monotonic() - began:5.0f} s  {program.title}", flush=True)
    if verdict != "PASS":
        for line in said.strip().splitlines()[-SHOWN:]:
            print(f"      {line[:2000]}", flush=True)
    return verdict == "PASS"


def _stop(process: subprocess.Popen[str]) -> str:
    """End a program as Ctrl-C would; whatever it leaves of itself is killed. What it has said."""
    process.send_signal(signal.SIGINT)
    try:
        return process.communicate(timeout=GRACE_SECONDS)[0]
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        return process.communicate()[0]


def main() -> int:
    """Run what was asked for; 1 if anything failed."""
    names = sorted({program.name for program in PROGRAMS})
    parser = argparse.ArgumentParser(description="The load programs in their short form, one after the other.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(names)}")
    wanted = parser.parse_args().names
    unknown = sorted(set(wanted) - set(names))
    if unknown:
        parser.error(f"there is no {', '.join(unknown)}; there are {', '.join(names)}")
    held = [run(program) for program in PROGRAMS if not wanted or program.name in wanted]
    print(f"{sum(held)} of {len(held)} hold")
    return 0 if all(held) else 1


if __name__ == "__main__":
    sys.exit(main())
