"""A server seals stored secrets anew as long as it runs, whatever went wrong with one round."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import Any

import pytest
from structlog.testing import capture_logs

from interlock.backends.secrets.aes_gcm import AesGcmSecrets
from interlock.backends.secrets.given_keys import GivenKeys
from interlock.backends.store.postgres.connection import EnginePool
from interlock.backends.store.postgres.webhook_secrets import PostgresSigningSecrets
from interlock.backends.telemetry.prometheus import PrometheusTelemetry
from interlock.bootstrap import webhooks
from interlock.core.errors import InterlockError
from interlock.kit.clock import SystemClock

OLD, NEW = (f"the {name} key of these tests, long enough" for name in ("old", "new"))
PLACE = ("a", "webhook/1")
DEADLINE = 20.0


class FailingOnce(AesGcmSecrets):
    """Raises once what nobody expects of it."""

    has_failed = False

    def is_current(self, sealed: bytes) -> bool:
        if not self.has_failed:
            self.has_failed = True
            raise RuntimeError("not this time")
        return super().is_current(sealed)


async def test_an_error_nobody_expected_is_logged_and_the_next_round_seals(
    own_database: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, telemetry = SystemClock(), PrometheusTelemetry("1.0")
    pool = EnginePool(own_database.serve_url, 1)

    def signing(key: str) -> PostgresSigningSecrets:
        return PostgresSigningSecrets(pool.use, AesGcmSecrets(GivenKeys([key])), clock)

    async with AsyncExitStack() as stack:
        await pool.open()
        stack.push_async_callback(pool.close)
        made = await signing(OLD).ensure(*PLACE)
        with pytest.raises(InterlockError, match="which this server does not have"):
            await signing(NEW).good(*PLACE)
        monkeypatch.setattr(webhooks, "RESEAL_SECONDS", 0.01)
        with capture_logs() as logged:
            both = FailingOnce(GivenKeys([NEW, OLD]))
            await webhooks.open_webhooks(own_database.serve_url, (), both, clock, telemetry, stack)
            async with asyncio.timeout(DEADLINE):
                while not any(line["event"] == "secrets.resealed" for line in logged):
                    await asyncio.sleep(0.01)
        assert [line["exc_info"] for line in logged if line["event"] == "secrets.not_resealed"] == [True]
        assert await signing(NEW).good(*PLACE) == made
