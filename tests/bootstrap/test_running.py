"""``interlock stop`` ends what a data directory has started, and never anything else."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import msgspec
from typer.testing import CliRunner

from interlock.bootstrap.main import Programs
from interlock.bootstrap.running import FOLDER, WORKER, Note, began_at, listed, stop_all
from interlock.doors.cli.app import build
from interlock.doors.cli.programs import Stopped

DEAF = "import signal, sys; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); sys.stdin.read()"
MEEK = "import sys; print('up', flush=True); sys.stdin.read()"


def running(program: str) -> subprocess.Popen[str]:
    """A process that has begun."""
    process = subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "up\n"
    return process


def note(folder: Path, pid: int, began: str, command: str = "up", grace: float = 20.0) -> Path:
    file = folder / FOLDER / f"{pid}.json"
    file.parent.mkdir(exist_ok=True)
    file.write_bytes(msgspec.json.encode(Note(pid=pid, began=began, command=command, grace=grace)))
    return file


def test_what_was_noted_is_told_to_end_and_waited_for(tmp_path: Path) -> None:
    with running(MEEK) as server, running(MEEK) as worker:
        files = [
            note(tmp_path, server.pid, began_at(server.pid), "serve"),
            note(tmp_path, worker.pid, began_at(worker.pid), WORKER),
        ]
        assert stop_all(tmp_path) == [
            Stopped(WORKER, worker.pid, "stopped"),
            Stopped("serve", server.pid, "stopped"),
        ]
        assert (server.wait(10), worker.wait(10)) == (-signal.SIGTERM, -signal.SIGTERM)
    assert not any(file.exists() for file in files)
    assert stop_all(tmp_path) == []


def test_a_later_process_of_the_same_number_is_left_alone(tmp_path: Path) -> None:
    with running(MEEK) as other:
        file = note(tmp_path, other.pid, "1" + began_at(other.pid))
        assert stop_all(tmp_path) == [Stopped("up", other.pid, "gone")]
        assert (other.poll(), file.exists()) == (None, False)
        other.kill()


def test_what_will_not_end_is_killed_and_said(tmp_path: Path) -> None:
    with running(DEAF) as server:
        note(tmp_path, server.pid, began_at(server.pid), grace=-4.9)
        assert stop_all(tmp_path) == [Stopped("up", server.pid, "killed")]
        assert server.wait(10) == -signal.SIGKILL


def test_a_program_is_noted_while_it_works(tmp_path: Path) -> None:
    file = tmp_path / FOLDER / f"{os.getpid()}.json"
    with listed(tmp_path, "serve", 7.0):
        told = msgspec.json.decode(file.read_bytes(), type=Note)
        assert told == Note(pid=os.getpid(), began=began_at(os.getpid()), command="serve", grace=7.0)
    assert not file.exists()


def test_a_folder_that_cannot_be_written_stops_no_server(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with listed(tmp_path / "file", "serve", 7.0):
        assert stop_all(tmp_path) == []


def test_nothing_to_stop_is_said(tmp_path: Path) -> None:
    ended = CliRunner().invoke(build(Programs()), ["stop", "--data", str(tmp_path)])
    assert (ended.exit_code, ended.stdout) == (0, "Nothing of this data directory runs.\n")
    ended = CliRunner().invoke(build(Programs()), ["stop", "--data", str(tmp_path), "--json"])
    assert (ended.exit_code, json.loads(ended.stdout)) == (0, {"stopped": []})
