"""What a server says when it is ready works as it stands, in a shell that knows nothing of it."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from interlock.bootstrap.announce import EXAMPLE, EXAMPLE_INPUT, announce, exports, program
from interlock.config import Settings, default_data_dir, default_url
from interlock.core.definition import read_definition
from interlock.kit import strict_json, strict_yaml

ROOT = Path(__file__).parents[2]


def settings(data_dir: Path, **given: object) -> Settings:
    return Settings(_env_file=None, data_dir=data_dir, **{"log_format": "standard", **given})  # type: ignore[call-arg, arg-type]


def said(capsys: pytest.CaptureFixture[str], chosen: Settings, url: str = "http://127.0.0.1:81", **how: object) -> str:
    token = str(how.pop("token", "TOKEN"))
    announce(url, token, chosen, **{"as_json": False, **how})  # type: ignore[arg-type]
    return capsys.readouterr().out


def test_the_first_words_are_ready_and_token(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = said(capsys, settings(tmp_path)).splitlines()
    assert lines[:2] == ["ready http://127.0.0.1:81", "token TOKEN"]
    assert lines[-1] == "Interactive documentation: http://127.0.0.1:81/docs"


def test_a_server_where_clients_look_needs_no_exports() -> None:
    assert exports(default_url(), default_data_dir()) == []


def test_any_other_server_is_named_to_its_clients(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place = tmp_path / "my data"
    assert exports("http://127.0.0.1:81", place) == [
        "INTERLOCK_URL=http://127.0.0.1:81",
        f"INTERLOCK_DATA_DIR='{place}'",
    ]
    text = said(capsys, settings(place))
    assert f"  export INTERLOCK_DATA_DIR='{place}'\n" in text


def test_the_example_is_offered_only_where_it_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert "run FILE --watch" in said(capsys, settings(tmp_path))
    monkeypatch.chdir(ROOT)
    assert f"run {EXAMPLE} --input '{EXAMPLE_INPUT}' --watch" in said(capsys, settings(tmp_path))


def test_the_example_that_is_offered_can_be_run_with_that_input() -> None:
    definition, problems = read_definition(strict_yaml.load((ROOT / EXAMPLE).read_text()))
    assert (definition is not None, problems) == (True, [])
    used = {name for name in ("people", "nights") if f"$json.{name}" in (ROOT / EXAMPLE).read_text()}
    assert set(strict_json.decode(EXAMPLE_INPUT.encode())) == used


def test_several_processes_and_all_addresses_are_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = said(capsys, settings(tmp_path, host="0.0.0.0"), processes=4)
    assert "\n4 processes serve there.\nIt listens on every address of this machine.\n" in text


def test_programs_get_one_object(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told = json.loads(said(capsys, settings(tmp_path), as_json=True, processes=2))
    assert told == {"ready": "http://127.0.0.1:81", "token": "TOKEN", "processes": 2}


def test_without_a_token_none_is_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "token " not in said(capsys, settings(tmp_path), token="").partition("Try in")[0]
    assert json.loads(said(capsys, settings(tmp_path), token="", as_json=True)).keys() == {"ready", "processes"}


def test_who_must_bring_a_token_is_told_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    project = settings(tmp_path, supabase_url="https://ref.supabase.co")
    assert "With a token in INTERLOCK_TOKEN, try:" in said(capsys, project, token="")
    assert "Try in another terminal:" in said(capsys, settings(tmp_path), token="")


def test_in_a_log_of_json_it_is_one_line_of_it_and_shows_no_token(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (line,) = said(capsys, settings(tmp_path, log_format="json", local=True), processes=2).splitlines()
    told = json.loads(line)
    assert list(told)[:5] == ["timestamp", "level", "message", "event", "logger"]
    assert (told["event"], told["url"], told["processes"]) == ("server.ready", "http://127.0.0.1:81", 2)
    assert "TOKEN" not in line


def test_the_program_is_called_so_that_a_shell_finds_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = tmp_path / "interlock"
    script.write_text("#!/bin/sh\n")
    script.chmod(0o755)
    monkeypatch.setattr(sys, "argv", [str(script)])
    monkeypatch.setenv("PATH", "/nowhere")
    assert program() == str(script)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert program() == "interlock"
    monkeypatch.setattr(sys, "argv", [str(tmp_path / "__main__.py")])
    assert program() == f"{sys.executable} -m interlock"
