"""Tenants whose receivers hang leave room for the others, however many messages they have."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from conftest import Database, Plant
from interlock.backends.secrets.aes_gcm import AesGcmSecrets
from interlock.backends.secrets.given_keys import GivenKeys
from interlock.backends.store.postgres.connection import connect_as_engine
from interlock.backends.store.postgres.webhook_ledger import PostgresWebhooks
from interlock.backends.store.postgres.webhook_secrets import PostgresSigningSecrets
from interlock.backends.telemetry.prometheus import PrometheusTelemetry
from interlock.kit.clock import SystemClock
from interlock.ports.egress import EgressResponse
from interlock.runtime.relay import AT_ONCE, Relay

SUBSCRIBE = """
with made as (
  insert into interlock.webhooks (webhook_id, tenant_id, user_id, url, events)
  select gen_random_uuid(), $1, 'ann', 'https://' || $1 || '.example/hook', '{execution.started}'
  from generate_series(1, $2) returning webhook_id, tenant_id
)
insert into interlock.deliveries (webhook_id, tenant_id, execution_id, seq, type)
select webhook_id, tenant_id, $3, 1, 'execution.started' from made, generate_series(1, $4)
"""


@dataclass
class Receivers:
    """All of them hang but that of the tenant ``good``."""

    under_way: Counter[str] = field(default_factory=Counter)
    is_told: asyncio.Event = field(default_factory=asyncio.Event)

    async def request(self, method: str, url: str, **told: Any) -> EgressResponse:
        if "//good." in url:
            self.is_told.set()
            return EgressResponse(204, {}, b"", False)
        self.under_way[url] += 1
        await asyncio.Event().wait()
        raise AssertionError("unreachable")


@dataclass
class Bench:
    """A relay, and a way to give a tenant webhooks with messages that are due."""

    relay: Relay
    receivers: Receivers
    superuser: Any
    plant: Any

    async def subscribe(self, tenant_id: str, webhooks: int, messages: int) -> None:
        execution_id: UUID = (await self.plant(tenant_id)).execution_id
        await self.superuser.execute(SUBSCRIBE, tenant_id, webhooks, execution_id, messages)

    async def until_full(self) -> int:
        """Wait until no more calls are begun; how many there are."""
        async with asyncio.timeout(10):
            before = -1
            while (now := self.receivers.under_way.total()) != before or not now:
                before = now
                await asyncio.sleep(0.5)
        return now


@pytest.fixture
async def bench(own_database: Database, plant_in: Plant) -> AsyncIterator[Bench]:
    connection, turn = await connect_as_engine(own_database.serve_url), asyncio.Lock()

    @asynccontextmanager
    async def use() -> AsyncIterator[Any]:
        async with turn:
            yield connection

    clock, receivers = SystemClock(), Receivers()
    seals = AesGcmSecrets(GivenKeys(["a key for tests, of 32 bytes or more"]))
    rows = PostgresWebhooks(use)
    relay = Relay(
        rows,
        PostgresSigningSecrets(use, seals, clock),
        receivers,
        clock,
        PrometheusTelemetry("0"),
        lambda *told: None,
    )
    superuser = await asyncpg.connect(own_database.superuser_url)
    yield Bench(
        relay, receivers, superuser, lambda tenant: plant_in(own_database, tenant_id=tenant, status="succeeded")
    )
    await relay.stop()
    await superuser.close()
    await connection.close()


@pytest.mark.parametrize("hanging", [2, 12])
async def test_tenants_that_hang_leave_room_for_another(bench: Bench, hanging: int) -> None:
    """J5."""
    for number in range(hanging):
        await bench.subscribe(f"bad{number}", 100, 4)
    bench.relay.start()
    assert await bench.until_full() < AT_ONCE
    shares = bench.receivers.under_way.values()
    assert len(shares) == hanging
    assert max(shares) <= AT_ONCE // 4
    await bench.subscribe("good", 1, 1)
    bench.relay.wake()
    async with asyncio.timeout(10):
        await bench.receivers.is_told.wait()


async def test_in_one_look_each_tenant_comes_first_before_any_comes_twice(bench: Bench) -> None:
    await bench.subscribe("bad", 100, 4)
    await bench.subscribe("good", 1, 1)
    bench.relay.start()
    async with asyncio.timeout(10):
        await bench.receivers.is_told.wait()
