"""Values of settings: one spelling inside, and a sentence for each that cannot be used."""

from __future__ import annotations

from pathlib import Path

import pytest

from interlock.config import Settings, SettingsRefused, known_names, load, worker_environment


@pytest.fixture(autouse=True)
def _bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An environment without settings, in a folder without `.env`."""
    monkeypatch.chdir(tmp_path)
    for name in known_names():
        monkeypatch.delenv(name, raising=False)


def refused(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> str:
    """The one problem with a value."""
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsRefused) as caught:
        load()
    (problem,) = caught.value.problems
    return problem


def test_names_of_hosts_are_spelled_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INTERLOCK_TRUSTED_HOSTS", "Box.Example., [FD00::5] ,10.0.0.1")
    assert load().trusted_hosts == ("box.example", "fd00::5", "10.0.0.1")
    assert load(host="[::1]").host == "::1"


def test_origins_are_spelled_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CORS_ORIGINS", "https://Studio.Example/,tauri://localhost")
    assert load().cors_origins == ("https://studio.example", "tauri://localhost")


def test_a_list_may_be_a_json_array(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INTERLOCK_TRUSTED_HOSTS", ' ["a.example", "b.example"]')
    assert load().trusted_hosts == ("a.example", "b.example")


def test_a_token_loses_the_line_end_that_a_file_gave_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INTERLOCK_TOKEN", "a.b.c\n")
    token = load().token
    assert token is not None
    assert token.get_secret_value() == "a.b.c"


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("INTERLOCK_TRUSTED_HOSTS", "box.example:80", "'box.example:80' is no host name"),
        ("INTERLOCK_TRUSTED_HOSTS", "https://box.example", "is no host name"),
        ("INTERLOCK_TRUSTED_HOSTS", "*", "is no host name"),
        ("INTERLOCK_TRUSTED_HOSTS", '["a", 1]', "is no list"),
        ("INTERLOCK_TRUSTED_HOSTS", '["a"', "is no list"),
        ("INTERLOCK_CORS_ORIGINS", "studio.example", "'studio.example' is no origin"),
        ("INTERLOCK_CORS_ORIGINS", "https://studio.example/path", "is no origin"),
        ("INTERLOCK_CORS_ORIGINS", "*.example", "is no origin"),
        ("INTERLOCK_CORS_ORIGINS", "null", "is no origin"),
        ("INTERLOCK_HOST", "http://x", "is no host name"),
        ("INTERLOCK_EGRESS_ALLOW", "nonsense", "neither a network such as 10.1.0.0/16 nor the word loopback"),
        ("INTERLOCK_PORT", "abc", "INTERLOCK_PORT=abc: should be a valid integer"),
        ("PORT", "70000", "=70000: should be less than or equal to 65535"),
        ("INTERLOCK_LOCAL", "maybe", "INTERLOCK_LOCAL=maybe: should be a valid boolean"),
    ],
)
def test_a_value_that_cannot_be_used_is_named_with_what_is_wanted(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, said: str
) -> None:
    problem = refused(monkeypatch, name, value)
    assert said in problem
    assert value.split(",")[0].strip('[]" ')[:3] in problem


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("INTERLOCK_TOKEN", "gröse-secret"),
        ("INTERLOCK_TOKEN", "two secret"),
        ("INTERLOCK_DATABASE_URL", "postgresql://u:secret@host:secret/x"),
        ("DATABASE_URL", "postgresql://u:secret@[::1/x"),
        ("INTERLOCK_MIGRATE_DATABASE_URL", "postgresql://u:se#cret@host/x"),
    ],
)
def test_a_secret_that_cannot_be_used_is_not_repeated(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    problem = refused(monkeypatch, name, value)
    assert problem.startswith(("INTERLOCK_", "DATABASE_URL"))
    assert "secret" not in problem
    assert "cret@" not in problem


def test_a_file_that_is_no_text_is_named(tmp_path: Path) -> None:
    (tmp_path / ".env").write_bytes(b"A=\xff\n")
    with pytest.raises(SettingsRefused, match=r"\.env is not UTF-8 text \(byte 2\)"):
        load()


def test_a_serving_process_gets_what_options_have_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    given = {"host": "::1", "data_dir": tmp_path, "local": True, "local_allow_remote": True, "log_level": "ERROR"}
    for name, value in worker_environment(load(**given), 8123).items():
        if name.startswith("INTERLOCK_"):
            monkeypatch.setenv(name, value)
    inside = load()
    assert {name: getattr(inside, name) for name in given} == given
    assert (inside.port, inside.share_port) == (8123, True)


def test_an_empty_value_means_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in known_names():
        monkeypatch.setenv(name, "")
    assert load() == Settings(_env_file=None)  # type: ignore[call-arg]
