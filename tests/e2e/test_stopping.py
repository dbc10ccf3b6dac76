"""A server that is told to stop finishes what it took on, and one whose starter is killed does not stay behind."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx2
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from served import environment
from serving import DEADLINE, Serving, descendants, stop_all

GRACE = 20.0
LOCAL = {"INTERLOCK_LOCAL": "true"}
STREAMS, SOCKETS = 50, 20
PER_PRINCIPAL = 20
WAITING = {"name": "Waiting", "nodes": [{"id": "w", "type": "wait", "parameters": {"seconds": 600}}]}
SHORT = {"name": "Short", "nodes": [{"id": "a", "type": "echo"}]}
FLOW = """
states: [even, odd, done]
terminal_states: [done]
user_input_states: [even, odd]
transitions:
  - {from: even, event: TURN, to: odd}
  - {from: odd, event: TURN, to: even}
  - {from: odd, event: END, to: done}
"""


@pytest.fixture
def pair(database: Any) -> Iterator[tuple[Serving, Serving]]:
    """Two servers over one database, with the same keys."""
    with tempfile.TemporaryDirectory(prefix="interlock-stop-") as folder:
        servers = [Serving(Path(folder), database.serve_url, **LOCAL) for _ in range(2)]
        try:
            yield servers[0].ready(), servers[1].ready()
        finally:
            stop_all(servers)


class Reader:
    """One event stream, read until it ends and then resumed elsewhere."""

    def __init__(self, token: str) -> None:
        self._token = token
        self.text = ""
        self.has_begun = asyncio.Event()

    async def read(self, server: Serving, client: httpx2.AsyncClient, execution: str) -> None:
        """Read on after the last whole event."""
        path = f"/api/app/executions/{execution}/stream"
        headers = {"authorization": f"Bearer {self._token}"}
        if self.numbers:
            headers["last-event-id"] = str(self.numbers[-1])
        async with client.stream("GET", path, headers=headers) as answer:
            assert answer.status_code == 200
            async for part in answer.aiter_text():
                self.text += part
                self.has_begun.set()

    @property
    def numbers(self) -> list[int]:
        return [int(line[4:]) for line in self.text.split("\n") if line.startswith("id: ")]


class SocketReader:
    """One WebSocket, read until the server says where to go on, and then resumed there."""

    def __init__(self, token: str) -> None:
        self._headers = {"authorization": f"Bearer {token}"}
        self.numbers: list[int] = []
        self.has_begun = asyncio.Event()
        self.after = 0

    async def read(self, server: Serving, client: httpx2.AsyncClient, execution: str) -> None:
        """Read on after the number that the last close named."""
        url = f"{server.url.replace('http', 'ws', 1)}/ws/events/{execution}?after={self.after}"
        async with connect(url, additional_headers=self._headers) as connection:
            with suppress(ConnectionClosed):
                while True:
                    self.numbers.append(json.loads(await connection.recv())["tick"])
                    self.has_begun.set()
        assert connection.close_code == 1012
        assert connection.close_reason is not None
        self.after = int(connection.close_reason.removeprefix("resume after="))


async def test_a_stopping_server_fails_nobody_and_its_streams_go_on_elsewhere(pair: Any) -> None:
    """A5: load on two servers, one is stopped; streams and sockets of it resume at the other without a gap."""
    one, other = pair
    tenant = f"tenant-{uuid4()}"
    token = one.mint("somebody", tenant)
    tokens = [one.mint(f"reader-{number}", tenant) for number in range(1 + (STREAMS + SOCKETS) // PER_PRINCIPAL)]
    seen: Counter[str] = Counter()
    is_over = asyncio.Event()
    async with one.client(token) as here, other.client(token) as there:
        flow = {"flow_id": "turning", "name": "Turning", "yaml_content": FLOW}
        assert (await here.post("/api/registry/flows", json=flow)).status_code == 200
        short = (await here.post("/api/app/workflows", json=SHORT)).json()["workflow_id"]
        execution = (await here.post("/api/workflow/start", json={"flow_id": "turning"})).json()["session_id"]

        async def load() -> None:
            while not is_over.is_set():
                try:
                    answer = await here.post(f"/api/app/workflows/{short}/execute", json={"wait_ms": 200})
                except httpx2.TransportError as error:
                    seen[type(error).__name__] += 1
                    return  # the port is closed: a real client goes to the other one now
                seen[str(answer.status_code)] += 1
                if answer.status_code == 503:
                    assert "retry-after" in answer.headers, answer.text

        async def turn() -> None:
            while not is_over.is_set():
                answer = await there.post(f"/api/app/executions/{execution}/signal", json={"name": "TURN"})
                assert answer.status_code in (200, 202), answer.text
                await asyncio.sleep(0.05)

        readers: list[Reader | SocketReader] = [
            (Reader if number < STREAMS else SocketReader)(tokens[number // PER_PRINCIPAL])
            for number in range(STREAMS + SOCKETS)
        ]
        reading = [asyncio.create_task(reader.read(one, here, execution)) for reader in readers]
        working = [asyncio.create_task(load()) for _ in range(8)]
        turning = asyncio.create_task(turn())
        async with asyncio.timeout(DEADLINE):
            await asyncio.gather(*(reader.has_begun.wait() for reader in readers))
            while seen["200"] < 30:
                await asyncio.sleep(0.05)
            began = time.monotonic()
            one.process.send_signal(signal.SIGTERM)
            await asyncio.gather(*reading)
            code = await asyncio.to_thread(one.process.wait, GRACE + 5)
            lasted = time.monotonic() - began
            await asyncio.gather(*working)
            for reader in readers[:STREAMS]:
                assert reader.text.endswith("\n\n"), "it ended in the middle of a frame"
            for reader in readers[STREAMS:]:
                assert reader.after == reader.numbers[-1], "the hint is not where it ended"
            reached = max(reader.numbers[-1] for reader in readers)
            again = [asyncio.create_task(reader.read(other, there, execution)) for reader in readers]
            while any(reader.numbers[-1] < reached + 5 for reader in readers):
                await asyncio.sleep(0.05)
            is_over.set()
            await turning
            for task in again:
                task.cancel()
            await asyncio.gather(*again, return_exceptions=True)
    assert code == 0
    assert lasted < GRACE
    assert {status for status in seen if status.isdigit()} <= {"200", "202", "503"}, seen
    for reader in readers:
        assert reader.numbers == list(range(1, len(reader.numbers) + 1)), "a gap, a repeat or another order"


async def test_a_request_that_outlasts_the_grace_time_is_told_to_come_again(database: Any) -> None:
    with tempfile.TemporaryDirectory(prefix="interlock-stop-") as folder:
        server = Serving(Path(folder), database.serve_url, **LOCAL, INTERLOCK_SHUTDOWN_GRACE_SECONDS="2").ready()
        try:
            async with server.client() as client:
                waiting = (await client.post("/api/app/workflows", json=WAITING)).json()["workflow_id"]
                path = f"/api/app/workflows/{waiting}/execute"
                asked = asyncio.create_task(client.post(path, json={"wait_ms": 20_000}))
                async with asyncio.timeout(20):
                    while not (await client.get("/api/app/executions")).json()["executions"]:
                        await asyncio.sleep(0.05)
                began = time.monotonic()
                server.process.send_signal(signal.SIGTERM)
                answer = await asked
                assert answer.status_code in (200, 202, 503), answer.text
                assert answer.status_code != 503 or "retry-after" in answer.headers
                assert await asyncio.to_thread(server.process.wait, 20) == 0
                assert time.monotonic() - began < 8
        finally:
            server.stop()


def until(holds: Callable[[], Any]) -> Any:
    """What ``holds`` answers once that is something."""
    deadline = time.monotonic() + DEADLINE
    while not (found := holds()):
        assert time.monotonic() < deadline, "it never came to be"
        time.sleep(0.05)
    return found


def lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_workers_end_with_the_process_that_started_them(tmp_path: Path, own_database: Any) -> None:
    server = Serving(tmp_path, own_database.serve_url, "--workers", "2", INTERLOCK_PROCESS_WORKERS="1").ready()
    below = descendants(server.process.pid)
    assert len(below) >= 2
    os.kill(server.process.pid, signal.SIGKILL)
    server.process.wait(DEADLINE)
    assert server.process.stdout is not None
    server.process.stdout.close()
    until(lambda: not any(map(lives, below)))
    with pytest.raises(httpx2.TransportError):
        httpx2.get(f"{server.url}/live")


@pytest.mark.parametrize(
    ("plan", "said"),
    [
        ("nonsense", "is no failpoint"),
        ("starting.before_commit=explode", "is no failpoint"),
        ("starting.before_commit=exit@0", "is no failpoint"),
        ("no.such_place=exit", "There is no failpoint 'no.such_place'"),
    ],
)
def test_a_failpoint_that_is_none_stops_the_start(tmp_path: Path, plan: str, said: str) -> None:
    command = [sys.executable, "-m", "interlock", "up", "--local", "--port", "0", "--data", str(tmp_path)]
    told = environment(INTERLOCK_FAILPOINTS=plan)
    ended = subprocess.run(command, capture_output=True, text=True, env=told, timeout=DEADLINE, check=False)
    assert ended.returncode == 2
    assert said in ended.stderr
    assert "INTERLOCK_FAILPOINTS" in ended.stderr
    assert "Traceback" not in ended.stderr
