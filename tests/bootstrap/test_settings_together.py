"""Settings in their surroundings: what an environment changes, what contradicts itself, and all problems at once."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from pydantic import SecretStr

from interlock.bootstrap.checks import refuse_private_blobs
from interlock.bootstrap.programs import server_settings
from interlock.bootstrap.secrets import known_secrets
from interlock.bootstrap.server import http_settings
from interlock.config import Settings, SettingsRefused, child_environment, known_names, load, worker_environment
from interlock.core.errors import InterlockError

GOOD = "rT0q7Yk2mPzX9vLcB4nW8sJdF1gH6aEu"


@pytest.fixture(autouse=True)
def _bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An environment without settings, in a folder without `.env`."""
    monkeypatch.chdir(tmp_path)
    for name in known_names():
        monkeypatch.delenv(name, raising=False)


def given(monkeypatch: pytest.MonkeyPatch, **values: str) -> None:
    for name, value in values.items():
        monkeypatch.setenv(name, value)


def problems() -> list[str]:
    with pytest.raises(SettingsRefused) as caught:
        load()
    return caught.value.problems


@pytest.mark.parametrize(
    ("told", "profile", "level", "form"),
    [
        ({}, "production", "WARNING", "json"),
        ({"ENVIRONMENT": "prod"}, "production", "WARNING", "json"),
        ({"INTERLOCK_ENVIRONMENT": "stage"}, "staging", "INFO", "json"),
        ({"ENVIRONMENT": "dev"}, "development", "DEBUG", "standard"),
        ({"INTERLOCK_LOCAL": "1"}, "local", "INFO", "standard"),
    ],
)
def test_the_environment_gives_the_defaults_of_the_log(
    monkeypatch: pytest.MonkeyPatch, told: dict[str, str], profile: str, level: str, form: str
) -> None:
    given(monkeypatch, **told)
    found = load()
    assert (found.profile, found.log_level, found.log_format) == (profile, level, form)
    given(monkeypatch, LOG_LEVEL="ERROR", INTERLOCK_LOG_FORMAT="simple")
    found = load()
    assert (found.log_level, found.log_format) == ("ERROR", "simple")


def test_an_environment_that_is_none_is_the_only_problem_it_makes(monkeypatch: pytest.MonkeyPatch) -> None:
    given(monkeypatch, ENVIRONMENT="qa")
    (problem,) = problems()
    assert problem.startswith("INTERLOCK_ENVIRONMENT=qa: ")


def test_pages_of_a_developer_may_call_in_development_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load().cors_origins == ()
    given(monkeypatch, ENVIRONMENT="dev")
    assert load().cors_origins == ("http://localhost:3000", "http://localhost:8080")


def test_all_pages_may_call_but_never_with_cookies_or_in_local_mode(monkeypatch: pytest.MonkeyPatch) -> None:
    given(monkeypatch, CORS_ORIGINS="*")
    assert http_settings(load()).allowed_origins == {"*"}
    given(monkeypatch, CORS_ALLOW_CREDENTIALS="true")
    assert "CORS_ALLOW_CREDENTIALS" in problems()[0]
    given(monkeypatch, CORS_ALLOW_CREDENTIALS="false", INTERLOCK_LOCAL="true")
    assert "local mode" in problems()[0]


def test_one_setting_under_two_names_with_different_values_stops_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    given(monkeypatch, HOST="0.0.0.0", INTERLOCK_HOST="127.0.0.1", SECRET_KEY="a", INTERLOCK_JWT_SECRET_KEY="secret-b")
    found = problems()
    assert {problem.split(" are ")[0] for problem in found} == {
        "INTERLOCK_HOST and HOST",
        "INTERLOCK_JWT_SECRET_KEY and SECRET_KEY",
    }
    assert "secret-b" not in str(found)


def test_the_same_value_under_two_names_is_one_value(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    given(monkeypatch, HOST="0.0.0.0", INTERLOCK_HOST="0.0.0.0", RLS_ENABLED="1", INTERLOCK_RLS_ENABLED="true")
    (tmp_path / ".env").write_text("HOST=10.0.0.1\n")  # the environment is stronger, and that is no contradiction
    assert load().host == "0.0.0.0"
    (tmp_path / ".env").write_text("PORT=1\nINTERLOCK_PORT=2\n")
    assert "INTERLOCK_PORT and PORT" in problems()[0]


def test_a_serving_process_is_told_each_setting_once(monkeypatch: pytest.MonkeyPatch) -> None:
    given(monkeypatch, HOST="0.0.0.0", PORT="1")
    told = worker_environment(load(host="127.0.0.1", port=0), 8123)
    assert (told["INTERLOCK_HOST"], told["INTERLOCK_PORT"]) == ("127.0.0.1", "8123")
    assert not {"HOST", "PORT"} & told.keys()


@pytest.mark.parametrize("name", ["RLS_ENABLED", "SUPABASE_AUTH_ENABLED", "INTERLOCK_MCP_API_KEY_REQUIRED"])
def test_a_wall_that_shall_be_open_stops_the_start_outside_local_mode(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    given(monkeypatch, **{name: "false"})
    (problem,) = problems()
    assert "cannot be switched off" in problem
    given(monkeypatch, INTERLOCK_LOCAL="true")
    assert load().open_walls == [f"INTERLOCK_{name.removeprefix('INTERLOCK_')}"]


def test_everything_that_is_wrong_is_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    given(
        monkeypatch,
        PORT="nowhere",
        API_SECRET_KEY="short",
        JWT_SECRET_KEY="short",
        MCP_API_KEYS=json.dumps({"k" * 40: {"client_name": "c", "scopes": ["tools:fly"]}}),
        RATE_LIMIT_STORAGE="redis",
        RLS_ENABLED="no",
    )
    with pytest.raises(InterlockError) as refused:
        server_settings()
    lines = refused.value.message.splitlines()[1:]
    for said in (
        "INTERLOCK_PORT=nowhere: ",
        "INTERLOCK_API_SECRET_KEY: holds a key that is too easy",
        "INTERLOCK_JWT_SECRET_KEY is too easy",
        "MCP_API_KEYS cannot be used: ",
        "INTERLOCK_RATE_LIMIT_STORAGE=redis needs",
        "INTERLOCK_RLS_ENABLED=false",
        "INTERLOCK_ENCRYPTION_KEY is missing",
    ):
        assert sum(line.removeprefix("  - ").startswith(said) for line in lines) == 1, (said, lines)
    assert len(lines) == 7, lines
    assert "k" * 40 not in refused.value.message


def test_missing_secrets_alone_are_said_in_a_line() -> None:
    with pytest.raises(InterlockError) as refused:
        server_settings()
    assert refused.value.code == "SETTINGS_SECRET_MISSING"


def test_a_server_with_good_settings_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    given(monkeypatch, API_SECRET_KEY=GOOD, ENCRYPTION_KEY=GOOD, JWT_SECRET_KEY=GOOD)
    assert isinstance(server_settings(port=1), Settings)


def test_a_folder_for_large_values_must_be_one_that_all_servers_see(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    given(monkeypatch, INTERLOCK_BLOBS_DIR=str(tmp_path))
    with pytest.raises(InterlockError, match=str(tmp_path)) as refused:
        refuse_private_blobs(load(), embedded=False)
    assert "INTERLOCK_BLOBS_DIR_IS_SHARED=true" in str(refused.value.details["next"])
    refuse_private_blobs(load(), embedded=True)
    given(monkeypatch, INTERLOCK_BLOBS_DIR_IS_SHARED="true")
    refuse_private_blobs(load(), embedded=False)


BUCKET = {
    "INTERLOCK_BLOBS_URL": "s3://box/large?region=eu-west-1",
    "INTERLOCK_BLOBS_ACCESS_KEY_ID": "id",
    "INTERLOCK_BLOBS_SECRET_ACCESS_KEY": "a secret of a bucket",
}


@pytest.mark.parametrize(
    ("told", "problem"),
    [
        ({**BUCKET, "INTERLOCK_BLOBS_DIR": "/blobs"}, "name two places"),
        ({"INTERLOCK_BLOBS_URL": "s3://box?region=r"}, "needs INTERLOCK_BLOBS_ACCESS_KEY_ID"),
        ({**BUCKET, "INTERLOCK_BLOBS_URL": "s3://box"}, "does not name its region"),
    ],
)
def test_a_bucket_is_named_with_its_region_and_keys(
    monkeypatch: pytest.MonkeyPatch, told: dict[str, str], problem: str
) -> None:
    given(monkeypatch, **told)
    assert problem in "; ".join(problems())


def test_the_secret_of_a_bucket_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    given(monkeypatch, **BUCKET)
    found = load()
    assert "a secret of a bucket" in known_secrets(found)
    assert "a secret of a bucket" not in repr(found)
    refuse_private_blobs(found, embedded=False)


def test_a_secret_may_stand_in_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text(GOOD + "\n")
    given(monkeypatch, INTERLOCK_ENCRYPTION_KEY_FILE=str(file), DATABASE_URL_FILE=str(file))
    found = load()
    assert (found.encryption_key, found.database_url) == (SecretStr(GOOD), SecretStr(GOOD))
    assert GOOD in known_secrets(found)
    assert "DATABASE_URL_FILE" not in child_environment()
    given(monkeypatch, INTERLOCK_ENCRYPTION_KEY=GOOD)
    assert problems() == [
        "INTERLOCK_ENCRYPTION_KEY and INTERLOCK_ENCRYPTION_KEY_FILE are one setting; leave one of them out"
    ]


def test_a_file_that_cannot_be_read_and_one_of_no_secret_are_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "bytes").write_bytes(b"\xff")
    given(monkeypatch, INTERLOCK_API_SECRET_KEY_FILE="/nowhere", INTERLOCK_ENCRYPTION_KEY_FILE=str(tmp_path / "bytes"))
    given(monkeypatch, INTERLOCK_LOG_LEVEL_FILE="/nowhere")
    told = "; ".join(problems())
    assert "INTERLOCK_API_SECRET_KEY_FILE=/nowhere: cannot be read" in told
    assert "is not UTF-8" in told
    assert "INTERLOCK_LOG_LEVEL_FILE is not a setting" in told


@pytest.mark.parametrize("text", ["short", "your-secret-key-your-secret-key-your-secret-key"])
def test_what_stands_in_a_file_is_checked_like_the_rest(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str
) -> None:
    (tmp_path / "key").write_text(text)
    given(monkeypatch, INTERLOCK_ENCRYPTION_KEY_FILE=str(tmp_path / "key"))
    (problem,) = problems()
    assert "too easy to guess" in problem
    assert text not in problem
