"""Which issuer a server believes, by its settings; what does not fit together stops the start."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import jwt
import pytest

from interlock.backends.identity.local import LocalIdentity
from interlock.backends.secrets.aes_gcm import AesGcmSecrets
from interlock.backends.secrets.given_keys import GivenKeys
from interlock.bootstrap.identity import Identities, open_identities
from interlock.config import Settings
from interlock.core.errors import InterlockError
from interlock.kit.clock import ManualClock
from interlock.kit.ids import RandomIds
from issuer_house import NOW, SECRET, Issuer, running_issuer

NOWHERE = "postgresql://nobody@127.0.0.1:1/none"


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as stack:
        yield stack


@pytest.fixture
async def issuer() -> AsyncIterator[Issuer]:
    async with running_issuer() as running:
        yield running


def opened(stack: AsyncExitStack, data_dir: Path, url: str = NOWHERE, **given: Any) -> tuple[Identities, LocalIdentity]:
    clock = ManualClock(NOW)
    data_dir.mkdir(exist_ok=True)
    settings = Settings(_env_file=None, data_dir=data_dir, **given)
    local = LocalIdentity(data_dir, clock)
    secrets = AesGcmSecrets(GivenKeys(["a key for tests, of 32 bytes or more"]))
    return open_identities(settings, local, url, clock, RandomIds(), stack, secrets), local


def base(issuer: Issuer) -> str:
    return issuer.url.removesuffix("/auth/v1")


async def test_a_supabase_project_is_believed_by_its_public_keys(
    stack: AsyncExitStack, tmp_path: Path, issuer: Issuer
) -> None:
    found, _ = opened(stack, tmp_path, supabase_url=base(issuer) + "/", supabase_anon_key="public-key")
    assert found.directory is None
    assert (await found.identity.authenticate(issuer.token())).email == "ann@example.org"
    with pytest.raises(InterlockError):
        await found.identity.authenticate(issuer.legacy_token())


async def test_a_project_with_a_legacy_secret_is_believed_by_that_alone(
    stack: AsyncExitStack, tmp_path: Path, issuer: Issuer
) -> None:
    found, _ = opened(
        stack, tmp_path, supabase_url=base(issuer), supabase_secret_key="public-key", supabase_jwt_secret=SECRET
    )
    assert await found.identity.authenticate(issuer.legacy_token())
    with pytest.raises(InterlockError):
        await found.identity.authenticate(issuer.token())
    assert issuer.key_fetches == 0


async def test_another_issuer_says_in_its_token_that_an_address_is_confirmed(
    stack: AsyncExitStack, tmp_path: Path, issuer: Issuer
) -> None:
    keys = f"{issuer.url}/.well-known/jwks.json"
    found, _ = opened(stack, tmp_path, jwt_issuer=issuer.url, jwks_url=keys, jwt_algorithm="ES256")
    assert await found.identity.authenticate(issuer.token(email_verified=True))
    for token in (issuer.token(), issuer.token("rsa-1", email_verified=True)):
        with pytest.raises(InterlockError):
            await found.identity.authenticate(token)
    assert issuer.user_questions == 0


async def test_without_an_issuer_the_directory_is_built_in(stack: AsyncExitStack, tmp_path: Path) -> None:
    found, local = opened(stack, tmp_path)
    assert found.directory is not None
    assert not found.directory.own_accounts.confirms_at_once
    assert (await found.identity.authenticate(local.mint())).subject == "local"
    found, _ = opened(stack, tmp_path, local=True)
    assert found.directory is not None
    assert found.directory.own_accounts.confirms_at_once


PROJECT = {"supabase_url": "https://ref.supabase.co", "supabase_anon_key": "k"}


@pytest.mark.parametrize(
    ("given", "are_taken"),
    [
        (PROJECT, False),
        ({"jwt_issuer": "https://i.example", "jwks_url": "https://i.example/keys"}, False),
        ({**PROJECT, "local": True}, True),
        ({**PROJECT, "local_tokens": True}, True),
        ({"jwt_secret_key": SECRET}, True),
        ({"jwt_secret_key": SECRET, "local_tokens": False}, False),
    ],
)
async def test_tokens_of_the_data_directory_count_only_where_they_are_needed(
    stack: AsyncExitStack, tmp_path: Path, given: dict[str, Any], are_taken: bool
) -> None:
    elsewhere = LocalIdentity(tmp_path, ManualClock(NOW))
    found, local = opened(stack, tmp_path, **given)
    assert (tmp_path / "signing-keys.json").exists() == are_taken, "no key is made for nothing"
    elsewhere.open()
    for token in (local.mint(), elsewhere.mint("somebody")):
        if are_taken:
            assert (await found.identity.authenticate(token)).tenant_id == "default"
        else:
            with pytest.raises(InterlockError, match="issuer"):
                await found.identity.authenticate(token)


async def test_replicas_with_one_key_take_each_others_tokens_and_share_nothing_else(
    stack: AsyncExitStack, tmp_path: Path, database: Any
) -> None:
    here, there = [
        opened(stack, tmp_path / name, url=database.serve_url, jwt_secret_key=SECRET, auto_confirm_email=True)[0]
        for name in ("here", "there")
    ]
    other, _ = opened(stack, tmp_path / "other", url=database.serve_url, jwt_secret_key=SECRET[::-1])
    assert here.directory is not None
    account = await here.directory.own_accounts.sign_up(f"{RandomIds().new().hex}@example.org", "a long password", {})
    token = (await here.directory.log_in.open(account)).access_token
    assert jwt.get_unverified_header(token)["alg"] == "HS256"
    assert (await there.identity.authenticate(token)).subject == str(account.user_id)
    assert here.directory.tokens.public_keys() == []
    for stranger in (other, opened(stack, tmp_path / "own", url=database.serve_url, local=True)[0]):
        with pytest.raises(InterlockError) as refused:
            await stranger.identity.authenticate(token)
        assert refused.value.details["reason"] == "invalid_token"


async def test_local_mode_leaves_a_key_of_another_program_alone(stack: AsyncExitStack, tmp_path: Path) -> None:
    found, _ = opened(stack, tmp_path, local=True, jwt_secret_key="django-insecure-key")
    assert found.directory is not None
    assert len(found.directory.tokens.public_keys()) == 1


SUPABASE = {"supabase_url": "https://ref.supabase.co", "supabase_anon_key": "k"}


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"supabase_url": "http://ref.supabase.co", "supabase_anon_key": "k"}, "INTERLOCK_SUPABASE_URL"),
        ({"supabase_url": "ref.supabase.co", "supabase_anon_key": "k"}, "INTERLOCK_SUPABASE_URL"),
        ({"supabase_url": "https://ref.supabase.co"}, "INTERLOCK_SUPABASE_ANON_KEY"),
        ({**SUPABASE, "supabase_jwt_secret": "short"}, "INTERLOCK_SUPABASE_JWT_SECRET"),
        ({**SUPABASE, "jwt_algorithm": "HS256"}, "INTERLOCK_SUPABASE_JWT_SECRET"),
        ({**SUPABASE, "supabase_jwt_secret": SECRET, "jwt_algorithm": "ES256"}, "INTERLOCK_SUPABASE_JWT_SECRET"),
        ({**SUPABASE, "jwks_url": "http://keys.example/jwks.json"}, "INTERLOCK_JWKS_URL"),
        ({"jwks_url": "https://keys.example/jwks.json"}, "INTERLOCK_JWT_ISSUER"),
        ({"jwt_issuer": "https://i.example", "jwt_secret_key": "short"}, "INTERLOCK_JWT_SECRET_KEY"),
        ({"jwt_secret_key": SECRET, "jwt_algorithm": "ES256"}, "INTERLOCK_JWT_SECRET_KEY"),
        ({"jwt_algorithm": "RS256"}, "INTERLOCK_JWT_SECRET_KEY"),
    ],
)
async def test_settings_that_do_not_fit_together_stop_the_start(
    stack: AsyncExitStack, tmp_path: Path, given: dict[str, Any], named: str
) -> None:
    with pytest.raises(InterlockError, match=named) as refused:
        opened(stack, tmp_path, **given)
    assert refused.value.code == "SETTINGS_IDENTITY"
