"""The command line as a test calls it: with the real programs, against the real server of this session."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from cli_house import Ended, Interlock, Started, Write
from interlock.bootstrap.main import Programs
from interlock.doors.cli.app import build
from interlock.kit.ids import RandomIds
from served import RunningServer


@pytest.fixture
def interlock(server: RunningServer, monkeypatch: pytest.MonkeyPatch) -> Interlock:
    """Calls a command in this process, where the settings lead to the server."""
    monkeypatch.setenv("INTERLOCK_URL", server.url)
    monkeypatch.setenv("INTERLOCK_DATA_DIR", str(server.data_dir))
    app = build(Programs())

    def call(*arguments: str, stdin: str | None = None) -> Ended:
        result = CliRunner().invoke(app, arguments, input=stdin, catch_exceptions=False)
        return Ended(result.exit_code, result.stdout, result.stderr)

    return call


@pytest.fixture
def definition(tmp_path: Path) -> Write:
    """Writes a definition under a name that nothing else has; its path."""

    def write(text: str) -> str:
        path = tmp_path / f"w{RandomIds().new().hex}.yaml"
        path.write_text(text)
        return str(path)

    return write


@pytest.fixture
def started(interlock: Interlock, definition: Write) -> Started:
    """Starts an execution of a definition; its id."""

    def start(text: str, given: Any = None) -> str:
        ended = interlock("run", definition(text), "--input", json.dumps(given or {}), "--json")
        assert ended.code == 0, ended.err
        return str(ended.json["execution_id"])

    return start
