"""What the harness counts: CPU of whole process trees, latencies of a closed loop, answers over HTTP."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import msgspec
import pytest
from benchmarks.drive import Shape, WrongAnswer, measure, percentile
from benchmarks.http1 import Connection, ConnectionGone
from benchmarks.load import Caller, Job, holds
from benchmarks.machine import cpu_seconds, describe
from benchmarks.postgres import private_postgres, settings_of
from benchmarks.program import Program, ProgramError

_BURN = "import time\nend = time.process_time() + 0.3\nwhile time.process_time() < end: pass\n"
_DETACH = "import subprocess, sys\nsubprocess.Popen([sys.executable, '-c', sys.argv[1]])\n"
_WATCH = """
import os, subprocess, sys, time
from benchmarks.machine import adopt_orphans, cpu_seconds
adopt_orphans()
subprocess.run([sys.executable, "-c", sys.argv[1], sys.argv[2]], check=True)
deadline = time.monotonic() + 20
while cpu_seconds(os.getpid()) < 0.25 and time.monotonic() < deadline: time.sleep(0.05)
print(cpu_seconds(os.getpid()))
"""


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder any user may walk into: as root the database runs as somebody else."""
    with tempfile.TemporaryDirectory(prefix="interlock-bench-test-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder


def test_cpu_of_a_tree_holds_children_that_were_already_reaped() -> None:
    parent = (
        f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {_BURN!r}])\nprint('done', flush=True)\ninput()"
    )
    with subprocess.Popen([sys.executable, "-c", parent], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stdout.readline() == b"done\n"
        with_it, without_it = cpu_seconds(os.getpid()), cpu_seconds(os.getpid(), without=[process.pid])
        process.communicate(b"\n")
    assert with_it - without_it >= 0.25


def test_cpu_of_a_detached_process_stays_counted() -> None:
    root = Path(__file__).resolve().parents[2]
    command = [sys.executable, "-c", _WATCH, _DETACH, _BURN]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=40, check=True)
    assert float(done.stdout) >= 0.25


def test_the_machine_is_described_without_any_path(tmp_path: Path) -> None:
    facts = describe(tmp_path)
    assert facts["cores"] == str(os.cpu_count())
    assert not any(value.startswith("/") for value in facts.values())


@pytest.mark.parametrize(("share", "value"), [(0.0, 1.0), (0.5, 6.0), (0.99, 10.0), (1.0, 10.0)])
def test_percentiles_are_taken_from_the_ordered_values(share: float, value: float) -> None:
    assert percentile([float(i) for i in range(1, 11)], share) == value


def test_a_closed_loop_runs_each_execution_once_and_never_more_than_its_drivers() -> None:
    at_once = most = 0

    async def run_one() -> None:
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        await asyncio.sleep(0)
        at_once -= 1

    figures = asyncio.run(measure(run_one, Shape(drivers=4, executions=50, warm=0, seconds=30)))
    assert (figures.done, figures.failed, most) == (50, 0, 4)


def test_a_closed_loop_gives_up_after_twenty_wrong_answers_and_says_why() -> None:
    async def run_one() -> None:
        raise WrongAnswer("status 500")

    figures = asyncio.run(measure(run_one, Shape(drivers=1, executions=1_000, warm=0, seconds=30)))
    assert (figures.done, figures.failed, figures.first_failure) == (0, 20, "status 500")


def test_an_answer_must_hold_the_expected_fields_and_may_hold_more() -> None:
    body = b'{"status":"SUCCESS","result":{"i":9,"v":11},"execution_id":"e"}'
    assert holds(body, {"status": "SUCCESS", "result": {"i": 9, "v": 11}})
    assert not holds(body, {"status": "SUCCESS", "result": {"i": 9, "v": 12}})
    assert not holds(body, {"missing": None})
    assert not holds(b"<html>", {"status": "SUCCESS"})
    assert holds(b"11", 11)


async def _serve_scripted(answers: list[bytes]) -> asyncio.Server:
    """An HTTP server that gives one scripted answer per request and hangs up after the last."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for answer in answers:
            head = await reader.readuntil(b"\r\n\r\n")
            length = next(int(line[15:]) for line in head.splitlines() if line.startswith(b"Content-Length:"))
            await reader.readexactly(length)
            writer.write(answer)
        with suppress(asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
        writer.close()

    return await asyncio.start_server(talk, "127.0.0.1", 0)


def test_the_client_keeps_its_connection_and_reads_both_body_forms() -> None:
    plain = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n11"
    chunked = b"HTTP/1.1 404 Not Found\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n2\r\nbc\r\n0\r\n\r\n"

    async def talk() -> None:
        async with await _serve_scripted([plain, chunked, plain]) as server:
            connection = await Connection.open(server.sockets[0].getsockname()[1], {})
            assert await connection.post("/", b"{}") == (200, b"11")
            assert await connection.post("/", b"") == (404, b"abc")
            assert await connection.post("/", b"[]") == (200, b"11")
            with pytest.raises(ConnectionGone):
                await connection.post("/", b"")

    asyncio.run(asyncio.wait_for(talk(), 20))


def test_a_refused_request_is_a_wrong_answer_that_shows_the_body() -> None:
    async def talk() -> None:
        async with await _serve_scripted([b"HTTP/1.1 429 Slow\r\nContent-Length: 4\r\n\r\nlate"]) as server:
            port = server.sockets[0].getsockname()[1]
            shape = Shape(1, 1, 0, 1)
            caller = Caller(Job(port=port, path="/", body=msgspec.Raw(b"1"), expected=11, headers={}, shape=shape))
            with pytest.raises(WrongAnswer, match=r"status 429.*late"):
                await caller.run_one()
            caller.close()

    asyncio.run(asyncio.wait_for(talk(), 20))


def test_a_program_that_ends_early_is_reported_with_the_end_of_its_log(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "import sys; sys.exit('no such port')"]
    with Program(command, log=tmp_path / "log") as program, pytest.raises(ProgramError, match="no such port"):
        program.expect("ready ", 20)


def test_a_program_may_say_the_awaited_lines_in_any_order(tmp_path: Path) -> None:
    command = [sys.executable, "-uc", "print('token abc'); print('ready http://x'); input()"]
    with Program(command, log=tmp_path / "log") as program:
        assert (program.expect("ready ", 20), program.expect("token ", 20)) == ("http://x", "abc")


def test_a_program_that_ignores_the_request_to_end_is_killed(tmp_path: Path) -> None:
    stubborn = (
        "import signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nprint('up', flush=True)\ntime.sleep(60)"
    )
    program = Program([sys.executable, "-c", stubborn], log=tmp_path / "log")
    program.expect("up", 20)
    program.stop(patience=0.2)
    with pytest.raises(ProcessLookupError):
        os.kill(program.pid, signal.SIG_DFL)


def test_the_private_postgres_is_durable_and_tells_its_settings(open_folder: Path) -> None:
    with private_postgres(open_folder / "postgres", "bench") as url:
        settings = settings_of(os.getpid())
    assert url.endswith("/bench")
    assert (settings["fsync"], settings["synchronous_commit"], settings["max_connections"]) == ("on", "on", "300")
