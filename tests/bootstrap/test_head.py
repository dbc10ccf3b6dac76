"""``interlock start --head``: the same server as ``serve``, its options stronger than the settings, and its end."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
from typer.testing import CliRunner

from doors.lattice_house import Lattice
from interlock.bootstrap.main import Programs
from interlock.doors.cli.app import build
from served import RunningServer, environment, start_server

pytestmark = pytest.mark.xdist_group("head")
ADD = "def add(params):\n    return {'y': 1}"


@pytest.fixture(scope="module")
def head(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A head with the weakest walls; its settings say something else. The last test here stops it."""
    data_dir = tmp_path_factory.mktemp("head")
    options = (
        "--executor",
        "inline",
        "--sandbox",
        "subprocess",
        "--ray-head-port",
        "7123",
        "--no-metrics",
        "--log-level",
        "INFO",
    )
    process, url, token = start_server(
        data_dir, *options, command=("start", "--head"), INTERLOCK_SANDBOX="none", INTERLOCK_RAY_HEAD_PORT="7000"
    )
    try:
        yield RunningServer(url, token, data_dir, process.pid)
    finally:
        process.terminate()
        assert process.stdout is not None
        process.stdout.close()
        assert process.wait(30) == 0


async def test_weak_walls_are_said_wherever_somebody_looks(head: RunningServer) -> None:
    async with httpx2.AsyncClient(base_url=head.url, timeout=30.0) as client:
        lattice = Lattice(client, head.url)
        workflow_id = await lattice.workflow()
        await lattice.saved(workflow_id, "add", ADD)
        frames = await lattice.frames(workflow_id, await lattice.run(workflow_id))
        (started,) = [frame["data"] for frame in frames if frame["type"] == "start_task"]
        assert started["node_id"] == "local-1 (unsandboxed)"
        assert (await client.get("/health")).json()["sandbox"] == "subprocess"
    log = (head.data_dir / "server.log").read_text()
    assert re.search(r"WARNING - \S+ - sandbox\.weak .*mode=subprocess", log)


def test_options_go_before_settings(head: RunningServer) -> None:
    with httpx2.Client(base_url=head.url, timeout=30.0) as client:
        assert client.post("/get_head_ray_port").json() == {"status": "success", "port": 7123, "executor": "inline"}
        assert client.get("/metrics").status_code == 404


async def test_inline_code_runs_one_task_at_a_time(head: RunningServer, tmp_path: Path) -> None:
    place = str(tmp_path / "place")
    alone = f"""
import os, time

def alone(params):
    open({place!r}, "x").close()
    time.sleep(0.1)
    os.remove({place!r})
    return {{"y": 1}}
"""
    async with httpx2.AsyncClient(base_url=head.url, timeout=30.0) as client:
        lattice = Lattice(client, head.url)
        workflow_id = await lattice.workflow()
        for name in ("one", "two", "three"):
            await lattice.saved(workflow_id, name, alone)
        frames = await lattice.frames(workflow_id, await lattice.run(workflow_id))
    assert [frame["type"] for frame in frames].count("finish_task") == 3


def refused(*options: str) -> str:
    result = CliRunner().invoke(build(Programs()), list(options), env=environment())
    assert result.exit_code == 2, result.output
    return result.stderr


def test_what_cannot_be_is_refused_with_what_to_do(tmp_path: Path) -> None:
    here = ("--data", str(tmp_path), "--local")
    assert "docker is not available; use bwrap" in refused("start", "--head", *here, "--sandbox", "docker")
    assert "is for local mode only" in refused("start", "--head", "--no-local", "--sandbox", "none")
    assert "INTERLOCK_METRICS_EXPORTER" in refused("start", "--head", *here, "--metrics-exporter", "carrier-pigeon")
    assert "Say what this machine is to be." in refused("start", *here)


def test_stop_ends_it_cleanly(head: RunningServer) -> None:
    command = [sys.executable, "-m", "interlock", "stop", "--data", str(head.data_dir)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env=environment())
    assert ended.stdout == f"interlock start --head (process {head.pid}) was told to stop and has ended.\n"
    assert ended.returncode == 0
