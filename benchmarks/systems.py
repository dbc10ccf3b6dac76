"""What a measured system is to the harness: something that serves for a while, and programs that drive it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import msgspec

from benchmarks.drive import Shape
from benchmarks.load import Job
from benchmarks.workloads import Load

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Driver:
    """How to run one load: a command, run from ROOT, that speaks the lines of `drive.py`.

    `separate` says whether its CPU is the client's or, for a library that works in process, part of the system's.
    """

    variant: str
    command: list[str]
    separate: bool


class Server(Protocol):
    """A system that serves now."""

    def drivers(self, load: Load, shape: Shape) -> list[Driver]:
        """The ways to run this load on it; more than one where it has several natural ones."""
        ...


@dataclass(frozen=True)
class System:
    """A system to measure. `serve` starts it in a new folder and ends it when the context is left."""

    name: str
    title: str
    serve: Callable[[Path], AbstractContextManager[Server]]
    versions: Callable[[], dict[str, str]]


def http_client(job: Job, variant: str = "") -> Driver:
    """The HTTP load client with this job, as a process of its own."""
    return Driver(variant, [sys.executable, "-m", "benchmarks.load", msgspec.json.encode(job).decode()], separate=True)
