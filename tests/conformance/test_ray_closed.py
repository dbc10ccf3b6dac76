"""A Ray that a server starts is nobody else's: not from outside, not without its token, not for users' code (I7)."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from conformance.hostile_code import CORPUS, machine_to_attack, refused_all
from conformance.sandbox_house import KeptCode, good_walls
from conformance.test_ray_executor import drivers, processes
from e2e.test_network import listening
from figures import Note
from ray_house import RayHouse, ray_environment, ready

pytestmark = [pytest.mark.xdist_group("ray"), pytest.mark.cluster]
LOOPBACK = {"0100007F", "0000000000000000FFFF00000100007F", "00000000000000000000000001000000"}
OUTSIDE, HERE, THERE = "interlock-out", "10.231.77.1", "10.231.77.2"


@pytest_asyncio.fixture(scope="module")
async def running(ray_house: RayHouse, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Any]:
    """An executor with a Ray of its own, which runs users' code in sandboxes."""
    shelf = KeptCode()
    given = {"runs_code": True, "sandbox": good_walls().mode, "may_be_weaker": False, "memory": 512}
    trial = ray_house.trial(
        "interlock.nodes:load",
        places="interlock.bootstrap.ray_host:open_places",
        given=given,
        code=shelf,
        address="",
        folder=tmp_path_factory.mktemp("ray") / "ray",
    )
    await trial.executor.start()
    digest = await shelf.put("tenant", "ann", "source", CORPUS.encode())
    trial.submit("code", {"code": digest, "form": "source", "function": "outcome", "arguments": {}})
    await ready(trial)
    yield trial, digest
    await trial.executor.stop(10)


def sockets() -> set[tuple[str, int]]:
    """Address and port of all that a driver and its Ray listen on."""
    pids = [int(line.split()[0]) for line in processes(drivers()[0])]
    return set().union(*(listening(pid) for pid in pids if Path(f"/proc/{pid}").exists()))


async def test_users_code_on_a_node_reaches_nothing_of_the_cluster(
    running: Any, tmp_path: Path, note_figures: Note
) -> None:
    trial, digest = running
    ports = {f"cluster {port}": port for _, port in sockets()}
    assert len(ports) > 3
    with machine_to_attack(tmp_path, **ports) as given:
        parameters = {"code": digest, "form": "source", "function": "attack", "arguments": given}
        ended = await trial.submit("code", parameters).end()
    note_figures(ray_sandbox_attacks=refused_all(getattr(ended, "output", ended)))


def test_nothing_listens_but_on_this_machines_own_address(running: Any, note_figures: Note) -> None:
    found = sockets()
    assert {address for address, _ in found} <= LOOPBACK
    assert 8265 not in {port for _, port in found}, "the dashboard is off"
    note_figures(ray_ports=len(found), ray_ports_open=0)


@contextmanager
def outside() -> Iterator[None]:
    """A network of its own beside this machine's, joined to it by a cable."""
    if os.geteuid() != 0:
        pytest.skip("only root makes networks")
    steps = (
        f"ip netns add {OUTSIDE}",
        f"ip link add {OUTSIDE[:9]}h type veth peer name {OUTSIDE[:9]}o netns {OUTSIDE}",
        f"ip addr add {HERE}/30 dev {OUTSIDE[:9]}h",
        f"ip link set {OUTSIDE[:9]}h up",
        f"ip -n {OUTSIDE} addr add {THERE}/30 dev {OUTSIDE[:9]}o",
        f"ip -n {OUTSIDE} link set {OUTSIDE[:9]}o up",
    )
    try:
        for step in steps:
            done = subprocess.run(step.split(), capture_output=True, text=True, check=False)
            if done.returncode:
                pytest.skip(f"no second network can be made here: {done.stderr.strip()}")
        yield
    finally:
        subprocess.run(["ip", "netns", "del", OUTSIDE], capture_output=True, check=False)


KNOCKS = """
import socket, sys
host, mine, *ports = sys.argv[1:]
opened = []
for port in ports:
    try:
        socket.create_connection((host, int(port)), 2).close()
        opened.append(port)
    except OSError:
        pass
print(" ".join(opened))
"""


def test_from_another_network_no_port_can_be_reached(running: Any, note_figures: Note) -> None:
    ports = sorted({port for _, port in sockets()} | {6379, 8265, 8076, 10001, 52365})
    with (
        outside(),
        subprocess.Popen(
            [sys.executable, "-c", "import socket, time\ns = socket.create_server(('0.0.0.0', 24711))\ns.accept()"]
        ) as control,
    ):
        knock = ["ip", "netns", "exec", OUTSIDE, sys.executable, "-c", KNOCKS, HERE, THERE]
        retries = "import socket, time\nfor _ in range(200):\n    try:\n        socket.create_connection"
        retries += f"(('{HERE}', 24711), 1); break\n    except OSError: time.sleep(0.05)\nelse: raise SystemExit(1)"
        joined = subprocess.run(["ip", "netns", "exec", OUTSIDE, sys.executable, "-c", retries], check=False)
        control.kill()
        assert joined.returncode == 0, "the other network reaches this machine, where it is let"
        told = subprocess.run([*knock, *map(str, ports)], capture_output=True, text=True, check=True)
    assert told.stdout.split() == []
    note_figures(ray_ports_knocked=len(ports))


JOINS = """
import sys, ray
try:
    ray.init(sys.argv[1], log_to_driver=False, logging_level="critical")
except BaseException as error:
    print("refused", type(error).__name__, str(error)[:300])
    raise SystemExit(0)
print("joined", ray.cluster_resources())
"""


TOKENS: tuple[dict[str, str], ...] = (
    {},
    {"RAY_AUTH_MODE": "disabled"},
    {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "f" * 64},
)


def test_nobody_joins_without_the_token(running: Any, tmp_path: Path, note_figures: Note) -> None:
    words = " ".join(processes(drivers()[0])).split()
    address = next(word.partition("=")[2] for word in words if word.startswith("--gcs-address="))
    plain = {name: value for name, value in ray_environment().items() if not name.startswith("RAY_AUTH")}
    joining = [
        subprocess.Popen(
            [sys.executable, "-c", JOINS, address],
            env={**plain, "HOME": str(tmp_path), "RAY_gcs_rpc_server_reconnect_timeout_s": "3", **token},
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        for token in TOKENS
    ]
    told = [process.communicate(timeout=100)[0] for process in joining]
    assert not [text for text in told if "joined" in text]
    assert all(process.returncode or "refused" in text for process, text in zip(joining, told, strict=True))
    note_figures(ray_wrong_tokens=len(TOKENS))
