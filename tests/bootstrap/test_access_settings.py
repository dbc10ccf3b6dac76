"""The secrets and keys that the settings give: good ones work, guessable ones stop the start without being quoted."""

from __future__ import annotations

import hashlib
import json
import stat
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from interlock.bootstrap.access import SECRET_FILE, read_configured_keys, read_peppers
from interlock.config import Settings, child_environment
from interlock.core.errors import InterlockError
from interlock.kit.clock import ManualClock
from interlock.services.access.authenticate import KeyIdentity

LONG = "a-key-that-somebody-made-with-care-0123456789"
RECORD = {"client_name": "tools", "scopes": ["tools:read"]}
NOW = datetime(2026, 11, 22, tzinfo=UTC)


def settings(tmp_path: Path, **more: Any) -> Settings:
    return Settings(data_dir=tmp_path, _env_file=None, **more)


def identity_of(found: Settings) -> KeyIdentity:
    nothing: Any = None  # none of these keys is looked up
    return KeyIdentity(nothing, ManualClock(NOW), [b"p" * 32], read_configured_keys(found))


def test_the_secret_of_the_data_directory_is_made_once_and_is_private(tmp_path: Path) -> None:
    first = read_peppers(settings(tmp_path))
    assert read_peppers(settings(tmp_path)) == first
    assert len(first[0]) >= 32
    assert stat.S_IMODE((tmp_path / SECRET_FILE).stat().st_mode) == 0o600


def test_a_secret_that_others_may_read_is_not_used(tmp_path: Path) -> None:
    read_peppers(settings(tmp_path))
    (tmp_path / SECRET_FILE).chmod(0o644)
    with pytest.raises(InterlockError, match="others may read it"):
        read_peppers(settings(tmp_path))


def test_the_secrets_of_the_setting_are_taken_newest_first(tmp_path: Path) -> None:
    new, old = LONG + "-new", LONG + "-old"
    assert read_peppers(settings(tmp_path, api_secret_key=f"{new},{old}")) == (new.encode(), old.encode())
    assert not (tmp_path / SECRET_FILE).exists()


@pytest.mark.parametrize("value", ["short", "a" * 40, f"{LONG},short", "change-me"])
def test_a_secret_that_can_be_guessed_is_refused(tmp_path: Path, value: str) -> None:
    with pytest.raises(ValidationError, match="too easy to guess"):
        settings(tmp_path, api_secret_key=value)


@pytest.mark.parametrize("named", ["text", "hash", "prefixed hash"])
async def test_a_key_of_the_settings_is_taken_by_text_or_by_hash(tmp_path: Path, named: str) -> None:
    digest = hashlib.sha256(LONG.encode()).hexdigest()
    entry = {"text": {LONG: RECORD}, "hash": {"n": {**RECORD, "key_hash": digest}}}.get(
        named, {"n": {**RECORD, "key_hash": f"sha256:{digest}"}}
    )
    identity = identity_of(settings(tmp_path, mcp_api_keys=json.dumps(entry)))
    assert identity.is_key(LONG)
    principal = await identity.authenticate(LONG)
    assert (principal.kind, principal.tenant_id, principal.scopes) == ("key", "default", {"tools:read"})
    assert not identity.is_key(LONG + "x")


@pytest.mark.parametrize("over", [{"active": False}, {"expires_at": "2026-11-21T00:00:00Z"}])
async def test_a_key_of_the_settings_that_is_over_opens_nothing(tmp_path: Path, over: dict[str, Any]) -> None:
    identity = identity_of(settings(tmp_path, mcp_api_keys=json.dumps({LONG: {**RECORD, **over}})))
    with pytest.raises(InterlockError) as refused:
        await identity.authenticate(LONG)
    assert refused.value.details["reason"] == "client_disabled"


@pytest.mark.parametrize(
    "text",
    [
        "not json",
        "[]",
        json.dumps({"dev_default": RECORD}),
        json.dumps({LONG: {**RECORD, "scopes": ["tools:fly"]}}),
        json.dumps({LONG: {**RECORD, "rate_limit_tier": "gold"}}),
        json.dumps({LONG: {**RECORD, "rate_limit_tier": "development"}}),
        json.dumps({LONG: {**RECORD, "key_hash": "abc"}}),
    ],
)
def test_keys_that_must_not_be_used_stop_the_start_and_are_not_quoted(tmp_path: Path, text: str) -> None:
    with pytest.raises(InterlockError) as refused:
        read_configured_keys(settings(tmp_path, mcp_api_keys=text))
    assert refused.value.code == "SETTINGS_REFUSED"
    assert LONG not in str(refused.value.message)
    assert "dev_default" not in str(refused.value.message)


def test_a_short_key_is_for_local_mode(tmp_path: Path) -> None:
    found = read_configured_keys(settings(tmp_path, local=True, mcp_api_keys=json.dumps({"dev_two": RECORD})))
    assert [key.client_name for key in found.values()] == ["tools"]


def test_functions_see_none_of_these_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("API_SECRET_KEY", "MCP_API_KEYS", "INTERLOCK_API_SECRET_KEY", "ENCRYPTION_KEY"):
        monkeypatch.setenv(name, "secret")
    assert "secret" not in child_environment().values()
