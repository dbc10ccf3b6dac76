"""When keys are rotated, everything that stays is sealed anew, so that the old key can be left out."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from interlock.backends.secrets.aes_gcm import AesGcmSecrets
from interlock.backends.secrets.given_keys import GivenKeys
from interlock.backends.store.postgres import webhook_secrets
from interlock.backends.store.postgres.connection import EnginePool
from interlock.backends.store.postgres.webhook_secrets import PostgresSigningSecrets
from interlock.core.errors import InterlockError
from interlock.kit.clock import SystemClock

OLD, NEW, LOST = (f"the {name} key of these tests, long enough" for name in ("old", "new", "lost"))


@pytest.fixture
async def pool(own_database: Any) -> AsyncIterator[EnginePool]:
    opened = EnginePool(own_database.serve_url, 1)
    await opened.open()
    yield opened
    await opened.close()


def secrets(pool: EnginePool, *keys: str) -> PostgresSigningSecrets:
    return PostgresSigningSecrets(pool.use, AesGcmSecrets(GivenKeys(keys)), SystemClock())


async def test_all_is_sealed_anew_and_the_old_key_is_needed_no_longer(
    pool: EnginePool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webhook_secrets, "_PAGE", 2)
    places = [("a", "webhook/1"), ("a", "webhook/2"), ("b", "node/x"), ("c", "webhook/1"), ("c", "webhook/3")]
    made = [await secrets(pool, OLD).ensure(*place) for place in places]
    await secrets(pool, LOST).ensure("b", "of a key that nobody has")
    both = secrets(pool, NEW, OLD)
    assert [await both.reseal() for _ in range(2)] == [len(places), 0]
    assert [await secrets(pool, NEW).good(*place) for place in places] == made
    with pytest.raises(InterlockError, match="which this server does not have"):
        await both.good("b", "of a key that nobody has")
