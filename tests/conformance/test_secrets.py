"""What every backend of the secrets port promises, and how keys are kept and rotated."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from interlock.backends.secrets.aes_gcm import AesGcmSecrets
from interlock.backends.secrets.given_keys import GivenKeys
from interlock.backends.secrets.key_file import FILE_NAME, KeyFile
from interlock.bootstrap.secrets import known_secrets, open_secrets
from interlock.config import Settings, SettingsRefused, load
from interlock.core.errors import InterlockError
from interlock.kit.clock import SystemClock
from interlock.ports.secrets import Secrets
from served import environment

NEW = "n3w-" + "kJ8sLq2vXz7TbYw4RfHd9MgC5PaE1uNo"
OLD = "0ld-" + "Zx5cVb7nMq1wEr3tYu6iOp8aSd2fGh4j"
CALM = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
FEW = settings(max_examples=50, deadline=None, suppress_health_check=CALM)

SHORT = st.text(max_size=9)

Open = Callable[[], Secrets]


def key_file(folder: Path) -> KeyFile:
    keys = KeyFile(folder, SystemClock())
    keys.open()
    return keys


@pytest.fixture(params=["setting", "file"])
def open_again(request: pytest.FixtureRequest, tmp_path: Path) -> Open:
    """Opens the secrets of one server, again and again, as its restarts and its other processes do."""
    if request.param == "setting":
        return lambda: AesGcmSecrets(GivenKeys([NEW, OLD]))
    return lambda: AesGcmSecrets(key_file(tmp_path))


@FEW
@given(tenant=st.text(max_size=40), name=st.text(max_size=40), plain=st.binary(max_size=5000))
def test_what_was_sealed_opens_after_a_restart(open_again: Open, tenant: str, name: str, plain: bytes) -> None:
    """H5."""
    sealed = open_again().seal(tenant, name, plain)
    assert open_again().open(tenant, name, sealed) == plain
    assert open_again().is_current(sealed)


@FEW
@given(
    one=st.tuples(st.text(max_size=9), st.text(max_size=9)), other=st.tuples(st.text(max_size=9), st.text(max_size=9))
)
def test_it_opens_nowhere_else(open_again: Open, one: tuple[str, str], other: tuple[str, str]) -> None:
    secrets = open_again()
    sealed = secrets.seal(*one, b"plain")
    if one == other:
        assert secrets.open(*other, sealed) == b"plain"
    else:
        with pytest.raises(InterlockError, match="another tenant or name"):
            secrets.open(*other, sealed)


def test_tenant_and_name_do_not_run_into_each_other(open_again: Open) -> None:
    secrets = open_again()
    with pytest.raises(InterlockError):
        secrets.open("ab", "c", secrets.seal("a", "bc", b"plain"))


def test_nothing_of_it_can_be_changed(open_again: Open) -> None:
    secrets = open_again()
    sealed = secrets.seal("t", "n", b"a secret")
    for at in range(len(sealed)):
        with pytest.raises(InterlockError) as refused:
            secrets.open("t", "n", sealed[:at] + bytes([sealed[at] ^ 1]) + sealed[at + 1 :])
        assert refused.value.code in ("SECRET_UNREADABLE", "SECRET_KEY_UNKNOWN")
    for end in range(len(sealed)):
        with pytest.raises(InterlockError):
            secrets.open("t", "n", sealed[:end])


def test_the_same_twice_gives_two_values_and_none_shows_what_is_in_it(open_again: Open) -> None:
    """H5."""
    secrets = open_again()
    first, second = (secrets.seal("t", "n", b"a secret of some length") for _ in range(2))
    assert first != second
    assert b"secret" not in first + second


def test_a_server_with_other_keys_says_which_key_it_lacks(tmp_path: Path) -> None:
    """H5."""
    sealed = AesGcmSecrets(GivenKeys([OLD])).seal("t", "n", b"plain")
    for other in (AesGcmSecrets(GivenKeys([NEW])), AesGcmSecrets(key_file(tmp_path))):
        with pytest.raises(InterlockError) as refused:
            other.open("t", "n", sealed)
        assert refused.value.code == "SECRET_KEY_UNKNOWN"
        assert sealed[1:9].hex() in refused.value.message
        assert "former keys" in refused.value.details["next"]


def test_a_rotated_setting_reads_what_the_old_key_sealed_and_seals_with_the_new_one() -> None:
    """H5."""
    before, both, after = (AesGcmSecrets(GivenKeys(keys)) for keys in ([OLD], [NEW, OLD], [NEW]))
    sealed = before.seal("t", "n", b"plain")
    assert both.open("t", "n", sealed) == b"plain"
    assert not both.is_current(sealed)
    anew = both.seal("t", "n", both.open("t", "n", sealed))
    assert both.is_current(anew)
    assert after.open("t", "n", anew) == b"plain"
    with pytest.raises(InterlockError, match="does not have"):
        after.open("t", "n", sealed)


def test_a_rotated_file_is_followed_by_servers_that_run(tmp_path: Path) -> None:
    running = AesGcmSecrets(key_file(tmp_path))
    before = running.seal("t", "n", b"plain")
    key_file(tmp_path).rotate()
    assert not running.is_current(before)
    anew = running.seal("t", "n", b"plain")
    assert before[1:9] != anew[1:9]
    assert running.open("t", "n", before) == running.open("t", "n", anew) == b"plain"


def test_a_key_made_by_another_process_just_now_is_found(tmp_path: Path) -> None:
    running, other = key_file(tmp_path), key_file(tmp_path)
    other.rotate()
    sealed = AesGcmSecrets(other).seal("t", "n", b"plain")
    assert AesGcmSecrets(running).open("t", "n", sealed) == b"plain"


def test_older_keys_are_thrown_away_only_on_demand(tmp_path: Path) -> None:
    keys = key_file(tmp_path)
    secrets = AesGcmSecrets(keys)
    sealed = secrets.seal("t", "n", b"plain")
    keys.rotate()
    assert len(keys.key_ids()) == 2
    assert keys.forget_older() == [sealed[1:9].hex()]
    assert keys.forget_older() == []
    with pytest.raises(InterlockError, match="does not have"):
        secrets.open("t", "n", sealed)


def test_twenty_rotations_at_once_lose_no_key(tmp_path: Path) -> None:
    first = key_file(tmp_path).key_ids()
    code = (
        "import sys; from pathlib import Path; from interlock.backends.secrets.key_file import KeyFile\n"
        "from interlock.kit.clock import SystemClock\n"
        "keys = KeyFile(Path(sys.argv[1]), SystemClock()); keys.open()\n"
        "for _ in range(10): print(keys.rotate())"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=dict(os.environ)) for _ in range(2)]
    made = {line for process in running for line in process.communicate(timeout=60)[0].split()}
    assert len(made) == 20
    assert set(key_file(tmp_path).key_ids()) == made | set(first)


def test_the_file_is_for_its_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "data" / FILE_NAME
    key_file(tmp_path / "data").rotate()
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    path.chmod(0o640)
    with pytest.raises(InterlockError, match="chmod 600"):
        key_file(tmp_path / "data")


@pytest.mark.parametrize("content", ["", "[]", "nonsense", '[{"key_id": "00", "material": "AA==", "created_at": 1}]'])
def test_a_broken_file_is_refused_without_showing_it(tmp_path: Path, content: str) -> None:
    path = tmp_path / FILE_NAME
    path.write_text(content)
    path.chmod(0o600)
    with pytest.raises(InterlockError) as refused:
        key_file(tmp_path)
    assert refused.value.code == "ENCRYPTION_KEYS_UNUSABLE"
    assert "backup" in refused.value.details["next"]


def test_a_key_that_was_changed_in_the_file_is_noticed(tmp_path: Path) -> None:
    key_file(tmp_path)
    path = tmp_path / FILE_NAME
    stored = json.loads(path.read_text())
    stored[0]["key_id"] = "0" * 16
    path.write_text(json.dumps(stored))
    with pytest.raises(InterlockError, match="changed"):
        key_file(tmp_path)


def test_nothing_that_is_printed_shows_a_key(tmp_path: Path) -> None:
    keys = key_file(tmp_path)
    material = json.loads((tmp_path / FILE_NAME).read_text())[0]["material"]
    shown = f"{keys!r} {keys.newest()!r} {keys.newest().cipher!r} {vars(keys)!r} {AesGcmSecrets(keys)!r}"
    assert material not in shown
    assert keys.key_ids()[0] in shown


@pytest.mark.parametrize(
    "key", ["short", "a" * 64, "changeme-changeme-changeme-change", f"{NEW}, {OLD}", f"{NEW},short", f"{NEW},"]
)
def test_a_weak_key_is_refused_and_not_repeated(monkeypatch: pytest.MonkeyPatch, key: str) -> None:
    monkeypatch.setenv("INTERLOCK_ENCRYPTION_KEY", key)
    with pytest.raises(SettingsRefused) as refused:
        load()
    assert "too easy to guess" in str(refused.value)
    assert key not in str(refused.value)


def test_the_setting_wins_over_the_file_and_is_the_same_everywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INTERLOCK_ENCRYPTION_KEY", f"{NEW},{OLD}")
    here = open_secrets(load(data_dir=tmp_path / "here"), SystemClock())
    there = open_secrets(load(data_dir=tmp_path / "there"), SystemClock())
    assert there.open("t", "n", here.seal("t", "n", b"plain")) == b"plain"
    assert not (tmp_path / "here").exists()


def test_all_secrets_of_the_settings_are_known_whole_and_in_parts() -> None:
    found = known_secrets(
        Settings(
            database_url=SecretStr("postgresql://u:p%40ssw0rd-1@h/d"),
            encryption_key=SecretStr(f"{NEW},{OLD}"),
            token=SecretStr("token-of-somebody"),
            mcp_api_keys=SecretStr('{"il_prod_abc_def": {"key_hash": "hash-of-it", "scopes": ["tools:read"]}}'),
        )
    )
    assert {"p%40ssw0rd-1", "p@ssw0rd-1", NEW, OLD, "token-of-somebody", "il_prod_abc_def", "hash-of-it"} <= found


def interlock(*arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "interlock", "secrets", *arguments]
    told = environment(**settings)
    return subprocess.run(command, capture_output=True, text=True, env=told, timeout=60, check=False)


def test_the_command_rotates_the_keys_of_a_data_directory(tmp_path: Path) -> None:
    running = AesGcmSecrets(key_file(tmp_path))
    sealed = running.seal("t", "n", b"plain")
    made = interlock("rotate", "--data", str(tmp_path))
    assert made.returncode == 0, made.stderr
    listed = json.loads(interlock("list", "--data", str(tmp_path), "--json").stdout)
    assert listed == {"keys": [sealed[1:9].hex(), made.stdout.strip()], "newest": made.stdout.strip()}
    assert running.seal("t", "n", b"plain")[1:9].hex() == listed["newest"]
    assert running.open("t", "n", sealed) == b"plain"


def test_the_command_says_how_keys_of_the_setting_are_rotated(tmp_path: Path) -> None:
    refused = interlock("rotate", "--data", str(tmp_path), INTERLOCK_ENCRYPTION_KEY=NEW)
    assert refused.returncode == 2
    assert "before the old one" in refused.stderr
    assert NEW not in refused.stderr
