"""The page about flows, followed to the letter: its file, its commands in a shell, and what they print."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx2
import pytest

from served import RunningServer, environment

PAGE = (Path(__file__).parents[2] / "docs" / "how-to" / "write-a-flow.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(\w*)\n(.*?)```", PAGE, re.DOTALL)
SHELL = [text for kind, text in BLOCKS if kind == "sh"]
OUTPUTS = [text for kind, text in BLOCKS if not kind]
ID = r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}"


class Shell:
    """A shell in which ``interlock`` is the program under test."""

    def __init__(self, server: RunningServer, folder: Path) -> None:
        self._folder = folder
        self._environment = environment(INTERLOCK_URL=server.url, INTERLOCK_DATA_DIR=str(server.data_dir))

    def run(self, text: str, **variables: str) -> str:
        """What the commands print."""
        script = f'set -eu\ninterlock() {{ "{sys.executable}" -m interlock "$@"; }}\n{text}'
        done = subprocess.run(
            ["bash", "--norc", "-c", script],
            cwd=self._folder,
            env=self._environment | variables,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stderr + done.stdout
        return done.stdout


def curl(text: str, server: RunningServer) -> Any:
    """The answer to a call written for curl."""
    words = shlex.split(text)
    given = list(zip(words, words[1:], strict=False))
    headers = dict(value.split(": ") for option, value in given if option == "-H")
    body = next((value for option, value in given if option == "-d"), None)
    url = next(word for word in words if word.startswith("http")).replace("http://127.0.0.1:8000", server.url)
    answer = httpx2.request("GET" if body is None else "POST", url, headers=headers, content=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


def _plain(text: str) -> str:
    return re.sub(ID, "ID", text)


@pytest.fixture
def shell(server: RunningServer, tmp_path: Path) -> Shell:
    text = next(text for kind, text in BLOCKS if kind == "yaml")
    (tmp_path / "order.yaml").write_text(text)
    return Shell(server, tmp_path)


def test_a_newcomer_follows_the_page(shell: Shell, server: RunningServer) -> None:
    register, start, look, program = SHELL
    assert shell.run("interlock validate order.yaml") == "order.yaml is valid.\n"
    shown = shell.run(register)
    assert "Flow order is registered, version 1." in shown
    assert OUTPUTS[0] in shown, "the picture is the one on the page"
    said = shell.run(start)
    assert _plain(said) == _plain(OUTPUTS[1])
    session = str(re.findall(ID, said)[0])
    looked = shell.run(look, SESSION=session)
    assert f"Session {session} is in confirm (waiting_user)." in looked
    assert f"Session {session} is in end (completed)." in looked
    assert "✓ success" in looked.lower()
    _, ended, state = [curl(call, server) for call in re.split(r"^(?=curl)", program, flags=re.MULTILINE)[1:]]
    assert (ended["new_state"], ended["event_id"]) == ("end", "order-7-confirmed")
    assert (state["session_id"], state["session_state"], state["flow_id"]) == ("order-7", "completed", "order")
    _assert_tried_out(server)


def _assert_tried_out(server: RunningServer) -> None:
    """The page to try calls out is there, and knows each path that this page names."""
    assert httpx2.get(f"{server.url}/docs").status_code == 200
    paths: dict[str, Any] = httpx2.get(f"{server.url}/openapi.json").json()["paths"]
    named = set(re.findall(r"`GET (/api/[^`]+)`", PAGE)) | {"/api/workflow/start", "/api/registry/flows"}
    assert named <= paths.keys()


def test_the_commands_print_json_for_programs(shell: Shell) -> None:
    registered = json.loads(shell.run("interlock flows register order.yaml --id json-order --json"))
    assert (registered["flow_id"], registered["version"]) == ("json-order", 1)
    assert "json-order" in {flow["flow_id"] for flow in json.loads(shell.run("interlock flows list --json"))}
    assert json.loads(shell.run("interlock flows show json-order --json"))["states"][0] == "check"
    assert json.loads(shell.run("interlock flows graph json-order --json"))["nodes"][0]["id"] == "check"
    node = json.loads(shell.run("interlock nodes register svc-json http://127.0.0.1:9/x --json"))
    assert node["callback_secret"].startswith("whsec_")
    assert "svc-json" in shell.run("interlock nodes list")
    assert json.loads(shell.run("interlock nodes delete svc-json --json")) == {"node_id": "svc-json", "deleted": True}
    started = json.loads(shell.run("interlock sessions start json-order --params '{\"amount\": 1}' --json"))
    assert started["valid_events"] == ["USER_CONFIRM"]
    stopped = json.loads(shell.run(f"interlock sessions stop {started['session_id']} --json"))
    assert stopped["session_state"] == "error"
