"""The page about flows, followed to the letter: its file, its commands and calls, and what they print."""

from __future__ import annotations

import itertools
import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2
import pytest
from typer.testing import CliRunner

from interlock.bootstrap.main import Programs
from interlock.doors.cli.app import build
from served import RunningServer

PAGE = (Path(__file__).parents[2] / "docs" / "how-to" / "write-a-flow.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(\w*)\n(.*?)```", PAGE, re.DOTALL)
SHELL = [text for kind, text in BLOCKS if kind == "sh"]
OUTPUTS = [text for kind, text in BLOCKS if not kind]
ID = r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}"
Type = Callable[[str], str]


@pytest.fixture
def typed(server: RunningServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Type:
    """Types lines of ``interlock`` where ``order.yaml`` is; what they print."""
    monkeypatch.setenv("INTERLOCK_URL", server.url)
    monkeypatch.setenv("INTERLOCK_DATA_DIR", str(server.data_dir))
    monkeypatch.chdir(tmp_path)
    Path("order.yaml").write_text(next(text for kind, text in BLOCKS if kind == "yaml"))
    app = build(Programs())

    def type_in(text: str) -> str:
        printed = ""
        for line in text.splitlines():
            program, *words = shlex.split(line)
            assert program == "interlock"
            done = CliRunner().invoke(app, words, catch_exceptions=False)
            assert done.exit_code == 0, done.output
            printed += done.stdout
        return printed

    return type_in


def curl(text: str, server: RunningServer) -> Any:
    """The answer to a call written for curl."""
    words = shlex.split(text)
    given = list(itertools.pairwise(words))
    headers = dict(value.split(": ") for option, value in given if option == "-H")
    body = next((value for option, value in given if option == "-d"), None)
    url = next(word for word in words if word.startswith("http")).replace("http://127.0.0.1:8000", server.url)
    answer = httpx2.request("GET" if body is None else "POST", url, headers=headers, content=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_a_newcomer_follows_the_page(typed: Type, server: RunningServer) -> None:
    register, start, look, program = SHELL
    assert typed("interlock validate order.yaml") == "order.yaml is valid.\n"
    shown = typed(register)
    assert "Flow order is registered, version 1." in shown
    assert OUTPUTS[0] in shown, "the picture is the one on the page"
    said = typed(start)
    assert re.sub(ID, "ID", said) == re.sub(ID, "ID", OUTPUTS[1])
    session = str(re.findall(ID, said)[0])
    looked = typed(look.replace("$SESSION", session))
    assert f"Session {session} is in confirm (waiting_user)." in looked
    assert f"Session {session} is in end (completed)." in looked
    assert "✓ success" in looked.lower()
    _, ended, state = [curl(call, server) for call in re.split(r"^(?=curl)", program, flags=re.MULTILINE)[1:]]
    assert (ended["new_state"], ended["event_id"]) == ("end", "order-7-confirmed")
    assert (state["session_id"], state["session_state"], state["flow_id"]) == ("order-7", "completed", "order")


def test_every_call_that_is_named_can_be_tried_out(server: RunningServer) -> None:
    assert httpx2.get(f"{server.url}/docs").status_code == 200
    paths: dict[str, Any] = httpx2.get(f"{server.url}/openapi.json").json()["paths"]
    named = set(re.findall(r"`(GET|POST) (/api/[^` ]+)`", PAGE))
    assert len(named) >= 4
    for method, path in named:
        assert method.lower() in paths[path], path
