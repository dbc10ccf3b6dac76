"""What is wrong is said before anything is sent, and what needs no server needs none."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cli_house import Interlock, Write
from served import RunningServer

ECHO = "nodes: [{id: a, name: say it, type: echo}]\n"


def test_a_definition_with_problems_is_not_run_and_every_problem_is_said(
    interlock: Interlock, definition: Write
) -> None:
    path = definition("nodes: [{id: a, type: ecko}, {id: a, type: echo}]\nconnections: [a -> zz]\n")
    ended = interlock("run", path)
    assert (ended.code, ended.out) == (1, "")
    checked = interlock("validate", path)
    assert checked.code == ended.code
    listed = checked.out.splitlines()[:-1]
    assert len(listed) > 3
    assert ended.err.splitlines()[: len(listed)] == listed
    assert "interlock validate FILE" in ended.err
    for_programs = interlock("run", path, "--json")
    assert (for_programs.code, for_programs.out) == (1, "")
    error = json.loads(for_programs.err)["error"]
    assert error["code"] == "WORKFLOW_INVALID"
    assert error["details"]["errors"] == interlock("validate", path, "--json").json["errors"]


@pytest.mark.parametrize(
    "text",
    [
        "nodes: [{id: a, type: echo, on_eror: continue}]\n",
        "nodes: [{id: a, type: echo}]\nsetings: {timeout: 3}\n",
        "nodes: [\n",
        "- a\n",
    ],
)
def test_what_validate_refuses_is_not_started(interlock: Interlock, definition: Write, text: str) -> None:
    path = definition(text)
    refused, checked = interlock("run", path), interlock("validate", path)
    assert (refused.code, refused.out, checked.code) == (1, "", 1)
    assert refused.err.startswith(checked.out.rpartition(f"{path} is not valid")[0])
    assert Path(path).stem not in interlock("list", "--limit", "100").out


def test_warnings_are_said_beside_and_do_not_stop_a_run(interlock: Interlock, definition: Write) -> None:
    path = definition(ECHO.replace("}]", "}]\nsettings: {output: '{{ $node[\"nobody\"] }}'}"))
    ended = interlock("run", path, "--json")
    assert (ended.code, ended.json["status"]) == (0, "NEW")
    assert "! warning" in ended.err
    assert "nobody" in ended.err


def test_the_server_can_be_asked_to_check_what_only_it_understands(interlock: Interlock, definition: Write) -> None:
    path = definition("nodes: [{id: t, name: the start, type: TRIGGER, subtype: MANUAL, on_eror: stop}]\n")
    assert interlock("run", path).code == 1
    ended = interlock("run", path, "--server")
    assert (ended.code, ended.out.startswith("Started execution ")) == (0, True)
    assert "nodes[0].on_eror" in ended.err
    checked = interlock("validate", path, "--server", "--json")
    assert (checked.code, checked.json["valid"], checked.json["errors"]) == (0, True, [])
    assert {warning["code"] for warning in checked.json["warnings"]} == {"KEY_UNKNOWN", "NAME_WITH_SPACES"}


@pytest.mark.parametrize("where", [[], ["--server"]])
def test_validate_shows_place_value_and_hint_with_and_without_the_server(
    interlock: Interlock, definition: Write, where: list[str]
) -> None:
    path = definition("nodes: [{id: a, type: ecko}, {id: a, type: echo}]\n")
    ended = interlock("validate", path, *where)
    assert ended.code == 1
    for part in ("nodes[0].type", '"ecko"', "echo", f"{path} is not valid: "):
        assert part in ended.out.replace("\n", "")
    told = interlock("validate", path, *where, "--json")
    assert (told.code, told.json["valid"]) == (1, False)
    assert {"NODE_TYPE_UNKNOWN", "ID_DUPLICATE"} <= {error["code"] for error in told.json["errors"]}


def test_a_valid_definition_is_said_to_be_valid(interlock: Interlock, definition: Write) -> None:
    path = definition(ECHO)
    assert (interlock("validate", path).code, interlock("validate", path).out) == (0, f"{path} is valid.\n")
    assert interlock("validate", path, "--json").json == {"valid": True, "errors": [], "warnings": []}


def test_a_file_that_is_no_yaml_is_a_problem_with_its_line(interlock: Interlock, definition: Write) -> None:
    ended = interlock("validate", definition("nodes: [\n"))
    assert (ended.code, "line 2" in ended.out) == (1, True)


def test_health_and_readiness_of_a_server(interlock: Interlock, server: RunningServer) -> None:
    assert "connected" in interlock("health").out
    assert interlock("health", server.url, "--json").json["ok"] is True
    assert interlock("health", "--ready").out == f"The server at {server.url} takes work.\n"
    assert interlock("health", "--ready", "--json").json == {"ready": True}


@pytest.mark.parametrize("arguments", [["list"], ["show", "x"], ["approve", "x"], ["health"], ["signal", "x", "go"]])
def test_without_a_server_every_command_says_how_to_start_one(interlock: Interlock, arguments: list[str]) -> None:
    ended = interlock(*arguments, "--url", "http://127.0.0.1:9")
    assert (ended.code, ended.out) == (1, "")
    assert ended.err == (
        "Error: No server answers at http://127.0.0.1:9.\n"
        "Next:  Start one with `interlock up`, or name another with --url or INTERLOCK_URL.\n"
    )
    for_programs = interlock(*arguments, "--url", "http://127.0.0.1:9", "--json")
    assert (for_programs.code, for_programs.out) == (1, "")
    assert json.loads(for_programs.err)["error"]["code"] == "NO_SERVER"


def test_a_wrong_token_is_a_sentence_with_a_next_step(interlock: Interlock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INTERLOCK_TOKEN", "not-a-token")
    ended = interlock("list")
    assert (ended.code, ended.out) == (1, "")
    assert "INTERLOCK_TOKEN" in ended.err.splitlines()[1]


def test_wrong_json_is_wrong_use_before_anything_is_sent(interlock: Interlock, definition: Write) -> None:
    ended = interlock("run", definition(ECHO), "--input", "{n: 1}")
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.startswith("Error: The value of --input is not JSON")


@pytest.mark.parametrize(
    "arguments",
    [["run"], ["lst"], ["list", "--limit", "0"], ["migrate", "down"], ["--token", "x"], ["list", "--token"]],
)
def test_other_wrong_use_is_exit_code_2_on_stderr(interlock: Interlock, arguments: list[str]) -> None:
    ended = interlock(*arguments)
    assert (ended.code, ended.out) == (2, "")
    assert "Error" in ended.err


def test_token_prints_one_the_server_takes(interlock: Interlock, monkeypatch: pytest.MonkeyPatch) -> None:
    token = interlock("token").out.strip()
    assert interlock("token", "--json").json["token"].count(".") == 2
    monkeypatch.setenv("INTERLOCK_TOKEN", token)
    assert interlock("list").code == 0


def test_version_and_completion_need_no_server(interlock: Interlock) -> None:
    assert interlock("version").out.startswith("interlock ")
    assert interlock("version", "--json").json["name"] == "interlock"
    script = interlock("completion", "show", "bash")
    assert "_INTERLOCK_COMPLETE=complete_bash" in script.out
    assert interlock("completion", "show", "zsh", "--json").json["script"].startswith("#compdef interlock")


def test_completion_is_installed_for_a_shell(
    interlock: Interlock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    ended = interlock("completion", "install", "bash", "--json")
    assert (ended.code, ended.json["shell"]) == (0, "bash")
    assert Path(ended.json["path"]).read_text().count("interlock") >= 2
