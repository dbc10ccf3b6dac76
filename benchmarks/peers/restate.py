"""Restate under measurement: its server with its own log (fsync on, as by default) and one Python service worker."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec

from benchmarks.drive import Shape
from benchmarks.load import Job
from benchmarks.peers.install import PINS, RESTATE_SERVER, python_of, restate_server
from benchmarks.program import Program, ProgramError, free_port
from benchmarks.systems import ROOT, Driver, System, http_client
from benchmarks.workloads import Load

_HANDLERS = {"W1": ("chain",), "W2": ("fan_calls", "fan_runs")}
_CONFIGURATION = """\
node-name = "bench"
base-dir = {folder}
disable-telemetry = true
bind-address = "127.0.0.1:{node}"
advertised-address = "http://127.0.0.1:{node}"
[ingress]
bind-address = "127.0.0.1:{ingress}"
[admin]
bind-address = "127.0.0.1:{admin}"
"""


@dataclass(frozen=True)
class RestateServer:
    """The port of its HTTP ingress."""

    ingress: int

    def drivers(self, load: Load, shape: Shape) -> list[Driver]:
        """One POST per handler: W2 both as steps of one invocation and as an invocation each."""
        return [self._driver(handler, load, shape) for handler in _HANDLERS[load.workload]]

    def _driver(self, handler: str, load: Load, shape: Shape) -> Driver:
        last = load.steps - 1
        value = load.steps + 1 if load.workload == "W1" else 2 * last + 1
        job = Job(
            port=self.ingress,
            path=f"/bench/{handler}",
            body=msgspec.Raw(str(load.steps).encode()),
            expected={"i": last, "v": value},
            headers={},
            shape=shape,
        )
        return http_client(job, handler)


@contextmanager
def _serve(place: Path) -> Iterator[RestateServer]:
    ports = {name: free_port() for name in ("node", "ingress", "admin")}
    service = free_port()
    configuration = place / "restate.toml"
    configuration.write_text(_CONFIGURATION.format(folder=json.dumps(str(place / "data")), **ports))
    server_command = [str(restate_server()), "--config-file", str(configuration), "--no-logo"]
    service_command = [str(python_of("restate")), "-m", "hypercorn", "benchmarks.peers.restate_service:app"]
    service_command += ["--bind", f"127.0.0.1:{service}", "--workers", "1"]
    with (
        Program(service_command, log=place / "service.log", cwd=ROOT),
        Program(server_command, log=place / "restate.log", cwd=place),
    ):
        _register(f"http://127.0.0.1:{ports['admin']}", f"http://127.0.0.1:{service}", 40)
        yield RestateServer(ports["ingress"])


def _register(admin: str, service: str, seconds: float) -> None:
    """Tell the server where the service is, trying again until both answer."""
    request = urllib.request.Request(
        f"{admin}/deployments",
        data=json.dumps({"uri": service, "force": True}).encode(),
        headers={"Content-Type": "application/json"},
    )
    deadline = time.monotonic() + seconds
    while True:
        try:
            with urllib.request.urlopen(request, timeout=5):
                return
        except (urllib.error.URLError, OSError) as error:
            if time.monotonic() > deadline:
                raise ProgramError(f"Restate did not take the service within {seconds:.0f} s: {error}") from error
            time.sleep(0.3)


def _versions() -> dict[str, str]:
    return {"Restate server": RESTATE_SERVER[1], "Restate SDK": PINS["restate"][0].partition("==")[2]}


RESTATE = System("restate", "Restate", _serve, _versions)
