"""Several processes on one port: ready once, kept alive, stopped together; what prevents their start is said once."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2

from served import SECRETS, environment

DEADLINE = 60.0


@contextmanager
def serving(tmp_path: Path, url: str, *options: str, **settings: str) -> Iterator[subprocess.Popen[str]]:
    """``interlock serve`` over a database; what it says on stderr goes to a file."""
    command = [sys.executable, "-m", "interlock", "serve", "--port", "0", "--data", str(tmp_path / "keys"), *options]
    quiet = {"INTERLOCK_DATABASE_POOL_SIZE": "2", "INTERLOCK_LOG_LEVEL": "ERROR"}
    told = environment(INTERLOCK_DATABASE_URL=url, **SECRETS, **(quiet | settings))
    with (tmp_path / "errors").open("w") as errors:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True, env=told)
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(DEADLINE)
        assert process.stdout is not None
        process.stdout.close()


def until(holds: Callable[[], Any]) -> Any:
    """What ``holds`` answers once that is something."""
    deadline = time.monotonic() + DEADLINE
    while not (found := holds()):
        assert time.monotonic() < deadline, "it never came to be"
        time.sleep(0.05)
    return found


def children(pid: int) -> set[int]:
    """The living processes that a process has started."""
    listed = subprocess.run(["ps", "-eo", "pid=,ppid=,stat="], capture_output=True, text=True, check=True)
    rows = (line.split() for line in listed.stdout.splitlines())
    return {int(row[0]) for row in rows if int(row[1]) == pid and not row[2].startswith("Z")}


def test_two_processes_are_ready_once_and_a_dead_one_is_replaced(tmp_path: Path, own_database: Any) -> None:
    with serving(tmp_path, own_database.serve_url, "--workers", "2", "--json") as process:
        assert process.stdout is not None
        told = json.loads(process.stdout.readline())
        assert told["processes"] == 2
        first = children(process.pid)
        assert len(first) == 2
        assert "token" not in told, "outside local mode standard output is a log"
        token = printed_token(tmp_path)
        assert listed(told["ready"], token) == 200
        fresh = printed_token(tmp_path, "--rotate")
        assert listed(told["ready"], fresh) == 200
        until(lambda: listed(told["ready"], token) == 401)
        os.kill(min(first), signal.SIGKILL)
        until(lambda: len(children(process.pid) - first) == 1)
        process.send_signal(signal.SIGTERM)
        assert process.wait(DEADLINE) == 0
        assert process.stdout.read() == "", "ready is said once"
        assert not any(map(is_there, first))


def printed_token(tmp_path: Path, *options: str) -> str:
    """What ``interlock token`` prints on the server's machine."""
    command = [sys.executable, "-m", "interlock", "token", "--data", str(tmp_path / "keys"), *options]
    return subprocess.run(command, capture_output=True, text=True, env=environment(), check=True).stdout.strip()


def listed(url: str, token: str) -> int:
    return httpx2.get(f"{url}/api/app/workflows", headers={"authorization": f"Bearer {token}"}).status_code


def test_a_log_of_json_is_that_from_its_first_line_and_holds_no_token(tmp_path: Path, own_database: Any) -> None:
    settings = {"INTERLOCK_LOG_FORMAT": "json", "INTERLOCK_LOG_LEVEL": "INFO", "INTERLOCK_ACCESS_LOG": "true"}
    with serving(tmp_path, own_database.serve_url, "--workers", "2", **settings) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline()]
        while json.loads(lines[-1])["event"] != "server.ready":
            lines.append(process.stdout.readline())
        url = json.loads(lines[-1])["url"]
        assert listed(url, printed_token(tmp_path)) == 200
        process.send_signal(signal.SIGTERM)
        lines += process.stdout.read().splitlines()
    assert all(json.loads(line)["timestamp"] for line in lines)
    assert "request.completed" in {json.loads(line)["event"] for line in lines}
    assert "eyJ" not in "".join(lines)


def is_there(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_what_keeps_all_from_starting_is_said_once_and_ends_the_command(tmp_path: Path, empty_database: Any) -> None:
    with serving(tmp_path, empty_database.serve_url, "--workers", "3") as process:
        assert process.wait(DEADLINE) == 1
    said = (tmp_path / "errors").read_text()
    assert said.count("Error: ") == said.count("Next: ") == 1
    assert "interlock migrate up" in said


def test_a_port_that_another_group_of_processes_serves_is_taken(tmp_path: Path, own_database: Any) -> None:
    (tmp_path / "other").mkdir()
    with serving(tmp_path, own_database.serve_url, "--workers", "2", "--json") as process:
        assert process.stdout is not None
        port = json.loads(process.stdout.readline())["ready"].rpartition(":")[2]
        with serving(tmp_path / "other", own_database.serve_url, "--workers", "2", "--port", port) as second:
            assert second.wait(DEADLINE) == 1
    assert "Cannot listen on" in (tmp_path / "other" / "errors").read_text()


def test_any_process_tells_the_figures_of_all_also_of_one_that_was_killed(tmp_path: Path, own_database: Any) -> None:
    with serving(tmp_path, own_database.serve_url, "--workers", "2", "--json", INTERLOCK_LOCAL="true") as process:
        assert process.stdout is not None
        url = json.loads(process.stdout.readline())["ready"]
        for _ in range(20):
            assert httpx2.get(f"{url}/version").status_code == 200
        assert [asked(url) for _ in range(10)] == [20] * 10
        os.kill(min(children(process.pid)), signal.SIGKILL)
        for _ in range(10):
            assert until(lambda: answered(url)) == 20
        until(lambda: len(children(process.pid)) == 2)


def asked(url: str) -> int:
    """How often /version was asked for, as the metrics have it; every time over a connection of its own."""
    answer = httpx2.get(f"{url}/metrics")
    assert answer.status_code == 200, answer.text
    line = 'interlock_http_requests_total{method="GET",route="/version",status="200"} '
    found = [text.removeprefix(line) for text in answer.text.splitlines() if text.startswith(line)]
    return int(float(found[0]))


def answered(url: str) -> int | None:
    """The same, or nothing while a process is being replaced."""
    try:
        return asked(url)
    except httpx2.TransportError:
        return None
