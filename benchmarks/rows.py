"""What a run leaves behind: one JSON line about the run, then one per measurement."""

from __future__ import annotations

from pathlib import Path

import msgspec


class Run(msgspec.Struct, frozen=True, tag="run"):
    """About the whole run: when (ISO, UTC), on what machine, with which versions and Postgres settings per system."""

    started: str
    machine: dict[str, str]
    versions: dict[str, str] = {}
    postgres: dict[str, dict[str, str]] = {}
    rounds: int = 0
    quick: bool = False
    note: str = ""


class Row(msgspec.Struct, frozen=True, tag="row"):
    """One load on one system in one round.

    cpu_ms_per_step: user and system time of the server, its database and all their children, per durable step;
    client_cpu_ms_per_step: the load client's, None where the driver works inside the system. others_cores: cores that
    anything else on the machine used meanwhile; steal_cores: cores the host withheld.
    """

    round: int
    system: str
    variant: str
    workload: str
    drivers: int
    executions: int = 0
    failed: int = 0
    wall_s: float = 0
    steps_per_s: float = 0
    p50_ms: float = 0
    p99_ms: float = 0
    max_ms: float = 0
    cpu_ms_per_step: float = 0
    client_cpu_ms_per_step: float | None = None
    others_cores: float = 0
    steal_cores: float = 0
    error: str | None = None

    @property
    def key(self) -> str:
        """The load it belongs to, such as W1-c50."""
        return f"{self.workload}-c{self.drivers}"

    @property
    def valid(self) -> bool:
        """Whether every execution ended as it must."""
        return self.error is None and self.failed == 0 and self.executions > 0


def append(file: Path, line: Run | Row) -> None:
    """Add one line to the file."""
    with file.open("ab") as out:
        out.write(msgspec.json.encode(line) + b"\n")


def read(file: Path) -> tuple[Run, list[Row]]:
    """The run (its last line, which knows most) and the rows of a file."""
    lines = [msgspec.json.decode(line, type=Run | Row) for line in file.read_bytes().splitlines()]
    runs = [line for line in lines if isinstance(line, Run)]
    if not runs:
        raise ValueError(f"{file} holds no line about a run")
    return runs[-1], [line for line in lines if isinstance(line, Row)]
