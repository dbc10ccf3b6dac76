"""Interlock under measurement: one server process behind its real HTTP door, authentication and everything else on."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import msgspec

from benchmarks.drive import Shape
from benchmarks.load import Job
from benchmarks.program import Program, ProgramError, free_port
from benchmarks.systems import ROOT, Driver, System, http_client
from benchmarks.workloads import GRAPHS, Load

# What the benchmark tier changes against the defaults: limits may be raised, no check may be switched off.
SERVER_ENVIRONMENT = {
    "INTERLOCK_API_SECRET_KEY": "hY2nM8kQ4tW6zR1xB9vC3jL5pD7sF0gA",
    "INTERLOCK_ENCRYPTION_KEY": "qL4wE6rT8yU1iO3pA5sD7fG9hJ2kZ0xC",
    "INTERLOCK_JWT_SECRET_KEY": "vB7nM5qW3eR1tY9uI8oP6aS4dF2gH0jK",
    "INTERLOCK_LOG_FORMAT": "standard",
    "INTERLOCK_RATE_LIMITS": json.dumps(
        {"app:*": "99999999/hour", "app:POST /workflows/{id}/execute": "99999999/hour"}
    ),
}


@dataclass(frozen=True)
class InterlockServer:
    """Where it serves, with the local user's token and the stored workflow of each workload."""

    port: int
    headers: Mapping[str, str]
    workflows: Mapping[str, str]

    def drivers(self, load: Load, shape: Shape) -> list[Driver]:
        """One: POST execute, which answers with the result."""
        graph = GRAPHS[load.workload]
        job = Job(
            port=self.port,
            path=f"/api/app/workflows/{self.workflows[load.workload]}/execute",
            body=msgspec.Raw(msgspec.json.encode(graph.start)),
            expected=graph.expected,
            headers=dict(self.headers),
            shape=shape,
        )
        return [http_client(job)]


@contextmanager
def _serve(place: Path) -> Iterator[InterlockServer]:
    port = free_port()
    program_file, data = str(Path(sys.executable).parent / "interlock"), str(place / "data")
    command = [program_file, "up", "--port", str(port), "--data", data]
    with Program(command, log=place / "interlock.log", cwd=place, environment=SERVER_ENVIRONMENT) as program:
        program.expect("ready ", 60)
        made = subprocess.run([program_file, "token", "--data", data], capture_output=True, text=True, check=True)
        headers = {"Authorization": f"Bearer {made.stdout.strip()}"}
        workflows = {name: _store(port, headers, graph.definition) for name, graph in GRAPHS.items()}
        yield InterlockServer(port, headers, workflows)


def _store(port: int, headers: Mapping[str, str], definition: Mapping[str, object]) -> str:
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/api/app/workflows",
        data=json.dumps(definition).encode(),
        headers={**headers, "Content-Type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return str(json.load(answer)["workflow_id"])
    except urllib.error.HTTPError as refused:
        text = refused.read().decode(errors="replace")[:2000]
        raise ProgramError(f"Interlock refused {definition['name']} with {refused.code}: {text}") from refused
    except (OSError, ValueError, KeyError) as error:
        raise ProgramError(f"Interlock gave no workflow_id for {definition['name']}: {error!r}") from error


def _versions() -> dict[str, str]:
    asked = ["git", "describe", "--always", "--dirty"]
    commit = subprocess.run(asked, cwd=ROOT, capture_output=True, text=True, check=False).stdout.strip()
    libraries = {name: version(name) for name in ("asyncpg", "uvloop", "uvicorn")}
    return {"Interlock": f"{version('interlock')} ({commit or 'no commit'})", **libraries}


INTERLOCK = System("interlock", "Interlock", _serve, _versions)
