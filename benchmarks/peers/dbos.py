"""DBOS under measurement: a library that works inside the driver's process, on a private Postgres."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.drive import Shape
from benchmarks.peers.install import PINS, python_of
from benchmarks.postgres import private_postgres
from benchmarks.systems import Driver, System
from benchmarks.workloads import Load


@dataclass(frozen=True)
class DbosServer:
    """The database that the driver processes work on."""

    url: str

    def drivers(self, load: Load, shape: Shape) -> list[Driver]:
        """One: a process that holds the workflow, the workers and the closed loop together."""
        sizes = [shape.drivers, shape.executions, shape.warm, shape.seconds, load.steps]
        command = [str(python_of("dbos")), "-m", "benchmarks.peers.dbos_driver", self.url, load.workload]
        return [Driver("", command + [str(size) for size in sizes], separate=False)]


@contextmanager
def _serve(place: Path) -> Iterator[DbosServer]:
    with private_postgres(place / "postgres", "bench") as url:
        yield DbosServer(url)


def _versions() -> dict[str, str]:
    return {"DBOS": PINS["dbos"][0].partition("==")[2]}


DBOS = System("dbos", "DBOS", _serve, _versions)
