"""What a stranger does wrong: each time a sentence with a next step, an exit code that is not 0, and no traceback."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import jwt
import pytest

from cli_house import Interlock, Started, Write
from conftest import Database
from interlock.core.errors import ErrorKind, InterlockError
from interlock.doors.cli.remedies import next_step
from interlock.kit.clock import SystemClock
from interlock.kit.ids import RandomIds
from served import SECRETS, RunningServer, environment

SOURCE = Path(__file__).parents[3] / "src" / "interlock"
WAITS = "nodes: [{id: w, type: wait, parameters: {signal: go}}]\n"


def run(*arguments: str, **told: str) -> subprocess.CompletedProcess[str]:
    """The real program in a process of its own, as from a shell; it is not given long."""
    command = [sys.executable, "-m", "interlock", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment(**told), check=False)


def is_a_sentence_with_a_next_step(said: str) -> bool:
    """Whether an error is one: what is wrong, and what to do."""
    wrong, _, step = said.strip().rpartition("\nNext:  ")
    return re.match(r"Error: [A-Z'\"`./\d]", wrong) is not None and wrong[-1] in ".?!" and step.endswith(".")


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["show", "nonsense"], 1, "There is no execution nonsense."),
        (["show", ""], 2, "'' is no id."),
        (["watch", ".."], 2, "'..' is no id."),
        (["approve", "nonsense"], 1, "There is no approval nonsense."),
        (["signal", "nonsense", "go"], 1, "There is no execution nonsense."),
        (["signal", "nonsense", "go", "--payload", "[1,"], 2, "The value of --payload is not JSON"),
        (["cancel", "nonsense"], 1, "There is no execution nonsense."),
        (["artifacts", "nonsense"], 1, "There is no execution nonsense."),
        (["list", "--cursor", "zzz"], 1, "The cursor is not one of this list"),
        (["list", "--workflow", "nonsense"], 1, "There is no workflow nonsense."),
        (["list", "--url", "ftp://x"], 2, "'ftp://x' is not an address of a server."),
        (["list", "--url", "http://127.0.0.1:99999"], 2, "is not an address of a server."),
        (["run", "nowhere.yaml"], 2, "The file nowhere.yaml cannot be read: no such file or directory."),
        (["run", "/"], 2, "The file / cannot be read: is a directory."),
        (["token", "--data", "/nowhere/at/all"], 1, "No server has made a key in /nowhere/at/all yet"),
    ],
)
def test_a_wrong_argument_is_a_sentence_with_a_next_step(
    interlock: Interlock, arguments: list[str], code: int, said: str
) -> None:
    ended = interlock(*arguments)
    assert (ended.code, ended.out) == (code, "")
    assert said in ended.err
    assert is_a_sentence_with_a_next_step(ended.err), ended.err
    told = json.loads(interlock(*arguments, "--json").err)["error"]
    assert told["exit_code"] == code
    assert told["next"]


@pytest.mark.parametrize(
    "arguments", [["lst"], ["list", "--stauts", "x"], ["list", "--limit", "0"], ["run"], ["completion", "shw"]]
)
def test_wrong_use_is_one_object_for_programs(interlock: Interlock, arguments: list[str]) -> None:
    ended = interlock(*arguments, "--json")
    assert (ended.code, ended.out) == (2, "")
    told = json.loads(ended.err)["error"]
    assert (told["code"], told["exit_code"]) == ("WRONG_USE", 2)
    assert told["next"].startswith("See `")
    assert told["next"].endswith("--help`.")


def test_a_workflow_may_be_named_where_its_id_is_wanted(
    interlock: Interlock, started: Started, definition: Write
) -> None:
    path = definition(WAITS)
    execution_id = interlock("run", path, "--json").json["execution_id"]
    assert execution_id in interlock("list", "--workflow", Path(path).stem).out


def test_one_error_is_not_said_twice(interlock: Interlock, started: Started) -> None:
    ended = interlock("signal", started(WAITS), "")
    assert (ended.code, len(ended.err.splitlines())) == (1, 2)


def signed(server: RunningServer, seconds: float, scope: str) -> str:
    """A token of this server, with its own end and scopes."""
    key = json.loads((server.data_dir / "signing-keys.json").read_text())[-1]
    ends = (SystemClock().now() + timedelta(seconds=seconds)).timestamp()
    claims = {"iss": "interlock-local", "aud": "interlock", "sub": "local", "tenant_id": "default", "scope": scope}
    return jwt.encode({**claims, "iat": 1, "exp": int(ends)}, key["secret"], "HS256", headers={"kid": key["kid"]})


def test_a_given_token_that_is_wrong_or_over_says_where_another_comes_from(
    interlock: Interlock, server: RunningServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for token, said in (("a.b.c", "The token is not valid here"), (signed(server, -9, ""), "The token has expired")):
        monkeypatch.setenv("INTERLOCK_TOKEN", token)
        ended = interlock("list")
        assert (ended.code, ended.out) == (1, "")
        assert ended.err.startswith(f"Error: {said}")
        assert "`interlock token --data DIR`" in ended.err.splitlines()[-1]


def test_a_token_of_another_data_directory_says_which_key_made_it(
    interlock: Interlock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = [{"kid": "k", "secret": "s" * 40, "created_at": "2026-11-21T00:00:00Z"}]
    (tmp_path / "signing-keys.json").write_text(json.dumps(key))
    (tmp_path / "signing-keys.json").chmod(0o600)
    monkeypatch.setenv("INTERLOCK_DATA_DIR", str(tmp_path))
    ended = interlock("list")
    assert (ended.code, ended.out) == (1, "")
    assert f"with the key in {tmp_path}." in ended.err.splitlines()[-1]
    assert "`export INTERLOCK_DATA_DIR=DIR`" in ended.err.splitlines()[-1]


def test_without_a_key_that_no_server_is_there_is_said_first(
    interlock: Interlock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INTERLOCK_DATA_DIR", str(tmp_path / "none"))
    assert interlock("list", "--url", "http://127.0.0.1:9").err.startswith("Error: No server answers at")
    assert interlock("list").err.startswith(f"Error: No server has made a key in {tmp_path / 'none'} yet")
    assert not (tmp_path / "none").exists(), "asking makes no data directory"


def test_a_caller_who_may_not_see_workflows_sees_executions(
    interlock: Interlock, server: RunningServer, started: Started, monkeypatch: pytest.MonkeyPatch
) -> None:
    execution_id = started(WAITS)
    monkeypatch.setenv("INTERLOCK_TOKEN", signed(server, 60, "executions:read"))
    assert execution_id in interlock("list").out
    assert interlock("cancel", execution_id).err.startswith("Error: This call needs the scope executions:cancel.")


class Stranger(BaseHTTPRequestHandler):
    """Some other web server."""

    def do_GET(self) -> None:  # the name that the library wants
        self.send_response(404)
        self.end_headers()
        self.wfile.write(b"<html>not here</html>")

    def log_message(self, *_: object) -> None:
        """Says nothing."""


@pytest.fixture
def stranger() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), Stranger) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("arguments", [["list"], ["show", "x"], ["watch", "x"], ["approve", "x"], ["health"]])
def test_another_web_server_is_recognised(interlock: Interlock, stranger: str, arguments: list[str]) -> None:
    ended = interlock(*arguments, "--url", stranger)
    assert (ended.code, ended.out) == (1, "")
    assert f"What answers at {stranger} is no Interlock server (status 404)." in ended.err
    assert is_a_sentence_with_a_next_step(ended.err)


def test_https_to_a_plain_server_is_said_as_such(interlock: Interlock, server: RunningServer) -> None:
    ended = interlock("list", "--url", server.url.replace("http://", "https://"))
    assert (ended.code, ended.out) == (1, "")
    assert ended.err.startswith("Error: There is no secure connection to https://")
    assert "http://" in ended.err.splitlines()[-1]


@pytest.mark.parametrize(
    ("arguments", "told", "code", "said"),
    [
        (["up", "--local", "--host", "0.0.0.0"], {}, 2, "others can reach 0.0.0.0."),
        (["up", "--host", "203.0.113.9"], {}, 1, "Cannot listen on 203.0.113.9:0"),
        (["up", "--data", "/proc/nothing"], {}, 1, "The data directory /proc/nothing cannot be made"),
        (["demo", "--data", "/proc/nothing"], {}, 1, "The data directory /proc/nothing cannot be made"),
        (["up"], {"INTERLOCK_LOG_FILE": "/nowhere/x.log"}, 2, "The log cannot be written to /nowhere/x.log"),
        (["up"], {"INTERLOCK_PROT": "1"}, 2, "INTERLOCK_PROT is not a setting; did you mean INTERLOCK_PORT?"),
        (["up"], {"INTERLOCK_PG_BINDIR": "/nowhere"}, 1, "Found no programs of PostgreSQL"),
        (["up"], {"INTERLOCK_EGRESS_ALLOW": "x"}, 2, "'x' is neither a network"),
        (["serve"], {}, 2, "There is no database to serve from."),
        (["serve", "--workers", "2"], {}, 2, "Several processes need one database"),
        (["serve"], {"INTERLOCK_DATABASE_URL": "mysql://x"}, 1, "must begin with postgresql://"),
        (["serve"], {"INTERLOCK_DATABASE_URL": "postgresql://u@127.0.0.1:1/x"}, 1, "Cannot reach the database"),
        (["serve"], {"INTERLOCK_DATABASE_URL": "postgresql://u@h:p/x"}, 2, "INTERLOCK_DATABASE_URL: is no address"),
        (["serve"], {"INTERLOCK_DATABASE_URL": "postgresql://h/x?sslmode=no"}, 2, "cannot be used: `sslmode`"),
        (["migrate"], {"INTERLOCK_DATABASE_URL": "postgresql://h/x"}, 2, "no login of it is set."),
    ],
)
def test_what_keeps_a_server_from_starting_is_a_sentence_with_a_next_step(
    tmp_path: Path, arguments: list[str], told: dict[str, str], code: int, said: str
) -> None:
    here = {"INTERLOCK_DATA_DIR": str(tmp_path / "data"), "INTERLOCK_PORT": "0", "INTERLOCK_LOCAL": "false"}
    ended = run(*arguments, **here, **{**SECRETS, **told})
    assert (ended.returncode, ended.stdout) == (code, "")
    assert said in ended.stderr
    assert is_a_sentence_with_a_next_step(ended.stderr), ended.stderr


@pytest.mark.parametrize("arguments", [["up"], ["serve"], ["serve", "--workers", "2"]])
def test_no_server_starts_outside_local_mode_without_the_secrets_of_its_installation(
    tmp_path: Path, arguments: list[str]
) -> None:
    here = {"INTERLOCK_DATA_DIR": str(tmp_path), "INTERLOCK_PORT": "0", "INTERLOCK_LOCAL": "false"}
    database = {} if arguments == ["up"] else {"INTERLOCK_DATABASE_URL": "postgresql://u@127.0.0.1:1/x"}
    given = {name: value for name, value in SECRETS.items() if name != "INTERLOCK_ENCRYPTION_KEY"}
    ended = run(*arguments, **here, **database, **given)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert "INTERLOCK_ENCRYPTION_KEY is missing; it seals stored secrets." in ended.stderr
    assert "openssl rand -base64 48" in ended.stderr.splitlines()[-1]
    assert is_a_sentence_with_a_next_step(ended.stderr), ended.stderr
    assert not any(value in ended.stderr for value in SECRETS.values())


async def test_no_server_starts_over_a_database_that_would_not_keep_its_walls(
    tmp_path: Path, own_database: Database
) -> None:
    here = {"INTERLOCK_DATA_DIR": str(tmp_path), "INTERLOCK_PORT": "0", **SECRETS}
    for url, said in (
        (own_database.superuser_url, "is a superuser or bypasses row-level security"),
        (own_database.migrate_url, "owns the schema"),
    ):
        ended = await asyncio.to_thread(run, "serve", **here, INTERLOCK_DATABASE_URL=url)
        assert (ended.returncode in (1, 2), ended.stdout) == (True, ""), ended.stderr
        assert said in ended.stderr
        assert is_a_sentence_with_a_next_step(ended.stderr), ended.stderr


def test_a_second_server_on_one_data_directory_is_refused(server: RunningServer) -> None:
    ended = run("up", "--local", "--port", "0", "--data", str(server.data_dir))
    assert (ended.returncode, ended.stdout) == (1, "")
    assert f"is in use by the Interlock server with process id {server.pid}" in ended.stderr
    assert "--data" in ended.stderr.splitlines()[-1]
    assert is_a_sentence_with_a_next_step(ended.stderr), ended.stderr


def test_doctor_is_content_with_a_database_that_is_being_served_from(server: RunningServer) -> None:
    told = json.loads(run("doctor", "--json", INTERLOCK_DATA_DIR=str(server.data_dir)).stdout)
    assert told["ok"] is True
    assert any("in use by the server that runs there" in check["found"] for check in told["checks"])


def test_doctor_tells_a_newcomer_of_walls_and_is_content_with_a_database_that_the_start_makes(tmp_path: Path) -> None:
    for switch, said in (("", "(users' code is off outside local mode)"), ("false", "(users' code is off)")):
        settings = {"INTERLOCK_CODE_EXECUTION": switch} if switch else {}
        told = json.loads(run("doctor", "--json", INTERLOCK_DATA_DIR=str(tmp_path), **settings).stdout)
        found = {check["name"]: check["found"] for check in told["checks"]}
        assert told["ok"] is True
        assert found["schema"] == "made, or brought forward, by the next start"
        assert found["sandbox"].startswith(("bwrap: ", "unavailable: "))
        assert found["sandbox"].endswith(said)


def codes_of_starts() -> set[str]:
    """The codes of everything that the database, the keys and the way of starting refuse."""
    folders = ("backends/store/embedded", "backends/store/postgres", "backends/identity")
    files = [path for folder in folders for path in (SOURCE / folder).rglob("*.py")]
    found = {code for path in files for code in re.findall(r'"([A-Z]+(?:_[A-Z]+)+)"', path.read_text())}
    return {code for code in found if code.startswith(("EMBEDDED_", "DATA_DIRECTORY", "MIGRATION", "SIGNING"))} | {
        "DATABASE_NEWER",
        "DATABASE_UNFIT",
        "DATABASE_URL_INVALID",
        "SERVER_ROLE_UNFIT",
        "SERVICE_UNAVAILABLE",
    }


@pytest.mark.parametrize("code", sorted(codes_of_starts()))
def test_every_refusal_of_a_start_has_a_next_step_of_its_own(code: str) -> None:
    step = next_step(InterlockError(ErrorKind.CONFLICT, code, "m", retry_after=1.0))
    assert step.endswith(".")
    assert "interlock show" not in step
    assert "Try again in" not in step


def test_a_schema_of_another_build_names_that_build_or_a_fresh_start() -> None:
    for code in ("MIGRATION_CHANGED", "DATABASE_NEWER"):
        step = next_step(InterlockError(ErrorKind.CONFLICT, code, "m"))
        assert "use that same version" in step
        assert "--data DIR" in step


def test_an_id_that_nobody_has_leads_to_the_lists(interlock: Interlock) -> None:
    assert "`interlock list`" in interlock("show", str(RandomIds().new())).err
