"""The local identity lets in whom it has signed for, and nobody else."""

from __future__ import annotations

import asyncio
import base64
import json
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import jwt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interlock.backends.identity import believed
from interlock.backends.identity.local import AUDIENCE, ISSUER, LocalIdentity
from interlock.core.errors import ErrorKind, InterlockError
from interlock.core.principal import Scope
from interlock.kit.clock import ManualClock

NOW = datetime(2026, 11, 21, 10, 0, tzinfo=UTC)
DAY = timedelta(hours=24)
SECOND = timedelta(seconds=1)


class Here:
    """A local identity in a folder of its own, with a clock that is moved by hand."""

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir
        self.clock = ManualClock(NOW)
        self.identity = self.opened()

    def opened(self) -> LocalIdentity:
        """Another process over the same folder."""
        identity = LocalIdentity(self.data_dir, self.clock)
        identity.open()
        return identity

    @property
    def file(self) -> Path:
        return self.data_dir / "signing-keys.json"

    def keys(self) -> list[dict[str, Any]]:
        keys: list[dict[str, Any]] = json.loads(self.file.read_bytes())
        return keys

    def forged(self, *, key: str | None = None, header: dict[str, Any] | None = None, **claims: Any) -> str:
        """A token like a minted one but for what is given; None leaves a claim out."""
        newest = self.keys()[-1]
        content = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": "local",
            "tenant_id": "default",
            "scope": "workflows:read",
            "exp": int((NOW + DAY).timestamp()),
            **claims,
        }
        content = {name: value for name, value in content.items() if value is not None}
        headers = {"kid": newest["kid"], **(header or {})}
        return jwt.encode(content, key or newest["secret"], algorithm="HS256", headers=headers)


@pytest.fixture
def here(tmp_path: Path) -> Here:
    return Here(tmp_path)


async def reason_for(identity: LocalIdentity, token: str) -> str:
    """Why a token is refused."""
    with pytest.raises(InterlockError) as refused:
        await identity.authenticate(token)
    assert (refused.value.kind, refused.value.code) == (ErrorKind.UNAUTHENTICATED, "AUTHENTICATION_FAILED")
    reason: str = refused.value.details["reason"]
    return reason


async def test_a_minted_token_is_its_principal(here):
    principal = await here.identity.authenticate(here.identity.mint())
    assert (principal.subject, principal.tenant_id, principal.kind) == ("local", "default", "user")
    assert principal.scopes == frozenset(Scope) - {Scope.ADMIN}
    assert not principal.has_scope(Scope.ADMIN)
    other = await here.identity.authenticate(here.identity.mint("ann", "acme", ["approvals:read"]))
    assert (other.subject, other.tenant_id, other.scopes) == ("ann", "acme", frozenset({"approvals:read"}))


async def test_an_untouched_forgery_would_be_let_in(here):
    assert (await here.identity.authenticate(here.forged())).subject == "local"


FORGERIES: dict[str, dict[str, Any]] = {
    "another key": {"key": "x" * 64},
    "an unknown kid": {"header": {"kid": "other"}},
    "a kid that is no text": {"header": {"kid": 5}},
    "no kid": {"header": {"kid": None}},
    "an unknown critical extension": {"header": {"crit": ["b64"], "b64": False}},
    "an empty list of critical extensions": {"header": {"crit": []}},
    "another issuer": {"iss": "https://example.org"},
    "no issuer": {"iss": None},
    "another audience": {"aud": "authenticated"},
    "no audience": {"aud": None},
    "no end": {"exp": None},
    "an end that is text": {"exp": "tomorrow"},
    "an end that is a list": {"exp": [1]},
    "no subject": {"sub": None},
    "a subject that is a number": {"sub": 7},
    "no tenant": {"tenant_id": None},
    "a tenant that is a list": {"tenant_id": ["default"]},
    "scopes that are a list": {"scope": ["admin"]},
    "no scopes": {"scope": None},
    "a beginning that is yet to come": {"nbf": int((NOW + DAY).timestamp())},
}


@pytest.mark.parametrize("forgery", FORGERIES)
async def test_a_forged_token_is_refused(here, forgery):
    try:
        token = here.forged(**FORGERIES[forgery])
    except (TypeError, jwt.PyJWTError):  # the library will not even write it
        token = unsigned_by_library(here, **FORGERIES[forgery])
    assert await reason_for(here.identity, token) == "invalid_token"


def unsigned_by_library(here: Here, *, header: dict[str, Any] | None = None, **claims: Any) -> str:
    """A rightly signed token, put together by hand."""
    proper = here.forged()
    first, second, _ = proper.split(".")
    heading = {**json.loads(decoded(first)), **(header or {})}
    content = {**json.loads(decoded(second)), **claims}
    signed = ".".join(
        encoded(json.dumps({k: v for k, v in part.items() if v is not None})) for part in (heading, content)
    )
    algorithm = jwt.get_algorithm_by_name("HS256")
    signature = algorithm.sign(signed.encode(), algorithm.prepare_key(here.keys()[-1]["secret"]))
    return signed + "." + base64.urlsafe_b64encode(signature).rstrip(b"=").decode()


def decoded(part: str) -> bytes:
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))


def encoded(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode()).rstrip(b"=").decode()


@pytest.mark.parametrize("algorithm", ["none", "None", "HS512", "RS256", "hs256"])
async def test_only_one_algorithm_is_taken(here, algorithm):
    first, second, third = here.forged().split(".")
    heading = encoded(json.dumps({**json.loads(decoded(first)), "alg": algorithm}))
    assert await reason_for(here.identity, f"{heading}.{second}.{third}") == "invalid_token"
    assert await reason_for(here.identity, f"{heading}.{second}.") == "invalid_token"
    if algorithm == "HS512":
        key = here.keys()[-1]
        token = jwt.encode(json.loads(decoded(second)), key["secret"], algorithm="HS512", headers={"kid": key["kid"]})
        assert await reason_for(here.identity, token) == "invalid_token"


async def test_no_token_is_missing_and_rubbish_is_invalid(here):
    assert await reason_for(here.identity, "") == "missing_token"
    for rubbish in ("x", "a.b.c", "..", "é.é.é", "\ud800", "\0", "il_dev_x_y", "x" * 9_000, here.identity.mint() + "x"):
        assert await reason_for(here.identity, rubbish) == "invalid_token"


@settings(max_examples=200, deadline=None)
@given(place=st.integers(0, 10_000), letter=st.sampled_from("AQgw_-.=xZ9"))
async def test_a_changed_letter_is_never_let_in_as_somebody_else(tmp_path_factory, place, letter):
    here = Here(tmp_path_factory.mktemp("identity"))
    token = here.identity.mint("ann")
    place %= len(token)
    changed = token[:place] + letter + token[place + 1 :]
    (outcome,) = await asyncio.gather(here.identity.authenticate(changed), return_exceptions=True)
    if isinstance(outcome, InterlockError):
        assert outcome.details["reason"] == "invalid_token"
        return
    assert changed == token or place == len(token) - 1, "the last letter of a signature has bits to spare"
    assert outcome.subject == "ann"


async def test_a_token_ends_when_it_says(here):
    token = here.identity.mint(ttl=timedelta(seconds=90))
    assert (await here.identity.authenticate(token)).subject == "local"
    here.clock.advance(timedelta(seconds=89))
    assert (await here.identity.authenticate(token)).subject == "local"
    here.clock.advance(SECOND)
    assert await reason_for(here.identity, token) == "expired"


async def test_a_token_in_memory_ends_when_it_says(here):
    token = here.identity.mint(ttl=timedelta(seconds=5))
    assert (await here.identity.authenticate(token)).subject == "local"
    here.clock.advance(timedelta(seconds=5))
    assert await reason_for(here.identity, token) == "expired"


async def test_a_verified_token_is_believed_for_four_seconds_and_no_longer(here):
    token = here.identity.mint()
    await here.identity.authenticate(token)
    here.file.unlink()
    here.opened()  # new keys: whatever was signed before is void
    here.clock.advance(timedelta(seconds=3))
    assert (await here.identity.authenticate(token)).subject == "local"
    here.clock.advance(SECOND)
    assert await reason_for(here.identity, token) == "invalid_token"


async def test_what_is_believed_is_the_whole_token(here):
    token = here.identity.mint()
    await here.identity.authenticate(token)
    head, _, signature = token.rpartition(".")
    assert await reason_for(here.identity, f"{head}.{signature[::-1]}") == "invalid_token"
    assert await reason_for(here.identity, head + ".") == "invalid_token"


async def test_memory_for_tokens_is_bounded(here, monkeypatch):
    monkeypatch.setattr(believed, "_MOST", 3)
    tokens = [here.identity.mint(f"user-{number}") for number in range(8)]
    for token in tokens:
        await here.identity.authenticate(token)
    assert len(here.identity._believed._known) == 3
    assert [(await here.identity.authenticate(token)).subject for token in tokens] == [f"user-{n}" for n in range(8)]


async def test_keys_are_made_once_private_and_different_everywhere(here, tmp_path_factory):
    assert stat.S_IMODE(here.file.stat().st_mode) == 0o600
    (key,) = here.keys()
    assert set(key) == {"kid", "secret", "created_at"}
    assert len(key["secret"]) >= 64
    again = here.opened()
    assert here.keys() == [key]
    assert (await again.authenticate(here.identity.mint())).subject == "local"
    elsewhere = Here(tmp_path_factory.mktemp("elsewhere"))
    assert elsewhere.keys()[0]["secret"] != key["secret"]
    assert await reason_for(elsewhere.identity, here.identity.mint()) == "invalid_token"
    assert [path.name for path in here.data_dir.iterdir()] == ["signing-keys.json"]


async def test_many_first_starts_at_once_agree_on_one_key(tmp_path):
    clock = ManualClock(NOW)
    identities = [LocalIdentity(tmp_path / "new", clock) for _ in range(8)]
    await asyncio.gather(*(asyncio.to_thread(identity.open) for identity in identities))
    for identity in identities:
        assert (await identities[0].authenticate(identity.mint())).subject == "local"


async def test_a_rotation_ends_all_tokens_of_before(here):
    old = here.identity.mint()
    await here.identity.authenticate(old)
    kid = here.identity.rotate()
    new = here.identity.mint(ttl=timedelta(days=9))
    assert jwt.get_unverified_header(new)["kid"] == kid == here.keys()[-1]["kid"]
    assert len(here.keys()) == 1
    assert stat.S_IMODE(here.file.stat().st_mode) == 0o600
    here.clock.advance(timedelta(seconds=4))
    assert await reason_for(here.identity, old) == "invalid_token"
    assert (await here.identity.authenticate(new)).subject == "local"


async def test_a_running_server_knows_what_another_process_rotated(here):
    old, other = here.identity.mint(), here.opened()
    other.rotate()
    assert (await here.identity.authenticate(other.mint())).subject == "local"
    assert await reason_for(here.identity, old) == "invalid_token"
    assert jwt.get_unverified_header(here.identity.mint())["kid"] == here.keys()[-1]["kid"]


@pytest.mark.parametrize("content", ["", "[]", "{}", '[{"kid": "x"}]', "\0"])
async def test_broken_keys_are_said_and_not_replaced(here, content):
    here.file.write_text(content)
    with pytest.raises(InterlockError, match=r"signing-keys\.json") as refused:
        here.opened()
    assert refused.value.kind is ErrorKind.UNAVAILABLE
    assert here.file.read_text() == content


async def test_keys_that_others_may_read_are_refused(here):
    here.file.chmod(0o640)
    with pytest.raises(InterlockError, match="chmod 600"):
        here.opened()


def test_a_secret_is_not_shown_by_accident(here):
    key = here.identity._keys.newest()
    assert key.secret not in repr(key)
    assert key.secret not in str([key])
