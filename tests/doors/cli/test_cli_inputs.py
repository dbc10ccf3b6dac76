"""What people hand to the command line, and what it says when that cannot work."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from interlock.core.errors import ErrorKind, InterlockError
from interlock.doors.cli.calling import Caller
from interlock.doors.cli.failures import WrongUseError, exit_code, from_answer, not_running
from interlock.doors.cli.inputs import read_definition, read_value
from interlock.doors.cli.output import Output
from interlock.doors.cli.programs import CliEnvironment
from interlock.doors.cli.remedies import next_step
from interlock.doors.cli.saving import place_of
from interlock.doors.cli.server import is_this_machine, read_url
from interlock.kit.clock import SystemClock
from interlock.kit.ids import RandomIds


def test_an_option_holds_json_or_the_name_of_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "in.json").write_text('{"n": 3}')
    (tmp_path / "in.yaml").write_text("n: 3")
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(b"[1]")))
    assert read_value('{"n": 3}', "--input") == {"n": 3}
    assert read_value(f"@{tmp_path / 'in.json'}", "--input") == {"n": 3}
    assert read_value(f"@{tmp_path / 'in.yaml'}", "--input") == {"n": 3}
    assert read_value("@-", "--input") == [1]


@pytest.mark.parametrize("text", ["", "{x}", "NaN", '{"a":1,"a":2}', "\udcff"])
def test_what_is_no_json_is_wrong_use_with_a_next_step(text: str) -> None:
    with pytest.raises(WrongUseError, match=r"The value of --input is not JSON: .+\.") as refused:
        read_value(text, "--input")
    assert exit_code(refused.value) == 2
    assert next_step(refused.value).startswith("Write JSON such as")


def test_a_file_that_is_missing_or_no_text_is_named(tmp_path: Path) -> None:
    with pytest.raises(WrongUseError, match=r"The file .*nowhere.json cannot be read: no such file or directory"):
        read_value(f"@{tmp_path / 'nowhere.json'}", "--input")
    (tmp_path / "bad.yaml").write_bytes(b"\xff\xfe")
    with pytest.raises(WrongUseError, match=r"is not UTF-8 text \(byte 0\)"):
        read_definition(tmp_path / "bad.yaml")


def test_a_definition_is_read_from_yaml_or_json_and_named_after_its_file(tmp_path: Path) -> None:
    (tmp_path / "sums.yaml").write_text("nodes: [{id: a, type: echo}]")
    (tmp_path / "named.json").write_text('{"name": "other", "nodes": []}')
    assert read_definition(tmp_path / "sums.yaml") == ({"nodes": [{"id": "a", "type": "echo"}], "name": "sums"}, [])
    assert read_definition(tmp_path / "named.json") == ({"name": "other", "nodes": []}, [])


@pytest.mark.parametrize(
    ("name", "content", "place"),
    [
        ("a.yaml", "nodes: [\n", "line 2"),
        ("a.yaml", "a: &x [*x]", "line 1"),
        ("a.yaml", "!!python/object:os.system x", "line 1"),
        ("a.json", '{"nodes": [}', "byte 11"),
        ("a.yaml", "- one", ""),
        ("a.yaml", "just text", ""),
    ],
)
def test_a_definition_that_cannot_be_read_is_a_problem_with_its_place(
    tmp_path: Path, name: str, content: str, place: str
) -> None:
    (tmp_path / name).write_text(content)
    source, (problem,) = read_definition(tmp_path / name)
    assert source is None
    assert (problem.code, problem.path[: len(place)]) == ("SYNTAX", place)
    assert problem.hint


@pytest.mark.parametrize(
    ("given", "url"),
    [
        ("http://127.0.0.1:8000/", "http://127.0.0.1:8000"),
        ("localhost:8000", "http://localhost:8000"),
        ("https://interlock.example/base", "https://interlock.example/base"),
    ],
)
def test_addresses_are_read_kindly(given: str, url: str) -> None:
    assert read_url(given) == url


@pytest.mark.parametrize(
    "given", ["ftp://x", "http://", "http://a:b@c", "http://x?y=1", "http://x:99999", "http://[::1", ""]
)
def test_other_addresses_are_wrong_use(given: str) -> None:
    with pytest.raises(WrongUseError) as refused:
        read_url(given)
    assert "b@c" not in refused.value.message
    assert next_step(refused.value)


@pytest.mark.parametrize(
    ("url", "is_here"),
    [
        ("http://127.0.0.1:1", True),
        ("http://[::1]:1", True),
        ("http://localhost", True),
        ("http://a.localhost", True),
        ("http://localhost.example.org", False),
        ("http://10.0.0.1", False),
        ("https://interlock.example", False),
    ],
)
def test_only_loopback_is_this_machine(url: str, is_here: bool) -> None:
    assert is_this_machine(url) is is_here


class Settings:
    """The settings' side of the programs: an address, perhaps a token, and a signing key that may be asked."""

    def __init__(self, token: str | None) -> None:
        self._token = token
        self.minted = 0

    def environment(self) -> CliEnvironment:
        return CliEnvironment("http://127.0.0.1:8000", self._token, Path("data"))

    def mint_token(self, data_dir: Path) -> str:
        self.minted += 1
        return "local-token"


async def test_the_local_users_token_never_leaves_this_machine() -> None:
    settings = Settings(None)
    caller = Caller(settings, SystemClock(), RandomIds())  # type: ignore[arg-type]  # the part that is asked here
    assert await caller.server(None)._headers() == {"authorization": "Bearer local-token"}
    with pytest.raises(InterlockError, match=r"There is no token for https://interlock\.example") as refused:
        caller.server("https://interlock.example")
    assert refused.value.kind is ErrorKind.UNAUTHENTICATED
    assert settings.minted == 1


async def test_a_token_that_was_given_goes_where_the_caller_points() -> None:
    caller = Caller(Settings("given"), SystemClock(), RandomIds())  # type: ignore[arg-type]  # as above
    assert await caller.server("https://interlock.example")._headers() == {"authorization": "Bearer given"}


@pytest.mark.parametrize("name", ["../x", "/etc/passwd", "a/../../x", "", "c:\\x", "a\\..\\x", "a\0b"])
def test_an_artifact_cannot_be_saved_outside_its_directory(name: str) -> None:
    with pytest.raises(InterlockError, match="which is no name for a file"):
        place_of(Path("out"), name)


def test_an_artifact_may_lie_in_a_folder_of_its_own() -> None:
    assert place_of(Path("out"), "charts/a.svg") == Path("out/charts/a.svg")


@pytest.mark.parametrize(
    ("status", "body", "retry_after", "code", "step"),
    [
        (401, {"error_code": "AUTHENTICATION_FAILED"}, None, "AUTHENTICATION_FAILED", "INTERLOCK_TOKEN"),
        (404, {"error_code": "NOT_FOUND", "message": "m"}, None, "NOT_FOUND", "interlock list"),
        (429, {"error_code": "RATE_LIMIT_EXCEEDED", "message": "m"}, "7", "RATE_LIMIT_EXCEEDED", "in 7 s"),
        (400, {"error_code": "WORKFLOW_INVALID", "message": "m"}, None, "WORKFLOW_INVALID", "interlock validate"),
        (410, {"error_code": "APPROVAL_EXPIRED", "message": "m"}, None, "APPROVAL_EXPIRED", "interlock show"),
        (503, {"code": "SERVICE_UNAVAILABLE", "detail": "m"}, "1", "SERVICE_UNAVAILABLE", "in 1 s"),
        (500, "text", None, "HTTP_500", "server's log"),
    ],
)
def test_a_servers_refusal_has_a_next_step(
    status: int, body: Any, retry_after: str | None, code: str, step: str
) -> None:
    error = from_answer(status, body, retry_after)
    assert error.code == code
    assert step in next_step(error)
    assert exit_code(error) == 1


def test_wrong_settings_are_wrong_use() -> None:
    assert exit_code(InterlockError(ErrorKind.RULE, "SETTINGS_REFUSED", "m")) == 2


def test_an_error_is_sentences_for_people_and_one_object_for_programs() -> None:
    error = InterlockError(
        ErrorKind.RULE,
        "WORKFLOW_INVALID",
        "The definition is not valid",
        details={"errors": [{"path": "nodes[0].type", "message": "unknown", "hint": "echo?"}]},
    )
    for_people, for_programs = io.StringIO(), io.StringIO()
    Output(out=io.StringIO(), err=for_people).error(error)
    Output(as_json=True, out=io.StringIO(), err=for_programs).error(error)
    assert for_people.getvalue().splitlines() == [
        "Error: The definition is not valid.",
        "  nodes[0].type: unknown (echo?)",
        "Next:  Mend the definition; `interlock validate FILE` shows every problem.",
    ]
    told = json.loads(for_programs.getvalue())["error"]
    assert (told["code"], told["exit_code"], len(told["details"]["errors"])) == ("WORKFLOW_INVALID", 1, 1)


def test_a_server_that_is_not_there_is_said_with_the_command_that_starts_one() -> None:
    error = not_running("http://127.0.0.1:8000")
    assert error.message == "No server answers at http://127.0.0.1:8000"
    assert next_step(error).startswith("Start one with `interlock up`")
