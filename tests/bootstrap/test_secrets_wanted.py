"""Outside local mode a server starts only with the secrets of its installation, and says how to make one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from interlock.bootstrap.checks import missing_secrets, refuse_missing_secrets
from interlock.bootstrap.doctor import examine
from interlock.config import Settings
from interlock.core.errors import InterlockError

API, SEALING, PEOPLE = "INTERLOCK_API_SECRET_KEY", "INTERLOCK_ENCRYPTION_KEY", "INTERLOCK_JWT_SECRET_KEY"
GOOD = "rT0q7Yk2mPzX9vLcB4nW8sJdF1gH6aEu"
GIVEN = {"api_secret_key": GOOD, "encryption_key": GOOD, "jwt_secret_key": GOOD}


def settings(**given: Any) -> Settings:
    return Settings(_env_file=None, **{"data_dir": Path("/nowhere"), **given})


def named(problems: list[str]) -> set[str]:
    return {problem.partition(" ")[0] for problem in problems}


def test_local_mode_makes_its_secrets_itself() -> None:
    assert missing_secrets(settings(local=True)) == []


@pytest.mark.parametrize("profile", [None, "development", "staging", "production"])
def test_elsewhere_all_that_are_missing_are_named_at_once(profile: str | None) -> None:
    assert named(missing_secrets(settings(environment=profile))) == {API, SEALING, PEOPLE}
    assert missing_secrets(settings(environment=profile, **GIVEN)) == []


def test_who_logs_in_elsewhere_needs_no_key_for_people() -> None:
    for issuer in (
        {"supabase_url": "https://ref.supabase.co"},
        {"jwt_issuer": "https://i.example", "jwks_url": "https://i.example/keys"},
    ):
        assert named(missing_secrets(settings(**issuer))) == {API, SEALING}


@pytest.mark.parametrize("key", ["short", "a" * 40, "your-super-secret-jwt-token-with-at-least-32-characters"])
def test_a_key_for_people_that_can_be_guessed_counts_as_none(key: str) -> None:
    assert named(missing_secrets(settings(**{**GIVEN, "jwt_secret_key": key}))) == {PEOPLE}


DEFAULT_OF_SUPABASE = "super-secret-jwt-token-with-at-least-32-characters-long"


@pytest.mark.parametrize("key", ["change-me-change-me-change-me-change-me", "a" * 41, DEFAULT_OF_SUPABASE])
def test_a_secret_of_an_issuer_that_can_be_guessed_stops_the_start(key: str) -> None:
    rest = {"api_secret_key": GOOD, "encryption_key": GOOD}
    own = settings(jwt_issuer="https://i.example", jwt_secret_key=key, **rest)
    project = settings(supabase_url="https://ref.supabase.co", supabase_jwt_secret=key, **rest)
    assert named(missing_secrets(own)) == {PEOPLE}
    assert named(missing_secrets(project)) == {"INTERLOCK_SUPABASE_JWT_SECRET"}
    with pytest.raises(InterlockError, match="easy to guess") as refused:
        refuse_missing_secrets(project)
    assert key not in str(refused.value)
    local = {"local": True, "supabase_url": "http://127.0.0.1:54321"}
    assert missing_secrets(settings(**local, supabase_jwt_secret=key)) == [], "the project of one's own machine"


@pytest.mark.parametrize("name", ["api_secret_key", "encryption_key"])
def test_a_key_from_a_manual_is_refused_without_being_quoted(name: str) -> None:
    with pytest.raises(ValueError, match="too easy to guess") as refused:
        settings(**{name: "CHANGE-ME-0123456789-abcdefghijklmnop"})
    assert "openssl rand -base64 48" in str(refused.value)


def test_the_refusal_is_a_line_and_says_how_to_make_one() -> None:
    with pytest.raises(InterlockError) as refused:
        refuse_missing_secrets(settings())
    assert refused.value.code == "SETTINGS_SECRET_MISSING"
    assert "\n" not in refused.value.message
    assert all(name in refused.value.message for name in (API, SEALING, PEOPLE))
    assert "openssl rand -base64 48" in refused.value.details["next"]


async def test_the_doctor_names_what_is_missing(tmp_path: Path) -> None:
    async def secrets_of(**given: Any) -> Any:
        checks = await examine(settings(data_dir=tmp_path, database_url="postgresql://nobody@127.0.0.1:1/x", **given))
        return next(check for check in checks if check.name == "secrets")

    missing, given = await secrets_of(), await secrets_of(**GIVEN)
    assert (missing.is_ok, given.is_ok) == (False, True)
    assert API in missing.found
    assert "openssl" in missing.remedy
    assert (await secrets_of(local=True)).is_ok
