"""Every event that is committed once a subscription was answered is told, whichever process commits it.

Each test moves two processes to one of the moments that lie close together: what one knows of webhooks, the commit of
a subscription in the other, and a flush under way. No process is asked what it believes.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from conftest import AT, Database, Plant, Tenant
from interlock.backends.egress.address import AddressPolicy
from interlock.backends.egress.stored import StoredUrls
from interlock.backends.secrets.aes_gcm import AesGcmSecrets
from interlock.backends.secrets.given_keys import GivenKeys
from interlock.backends.store.postgres.ledger import PostgresLedger
from interlock.backends.store.postgres.store import PostgresStore
from interlock.backends.store.postgres.webhook_secrets import PostgresSigningSecrets
from interlock.core.errors import InterlockError
from interlock.core.subscription import Webhook
from interlock.kit.clock import SystemClock
from interlock.kit.ids import RandomIds
from interlock.ports.ledger import Flush
from interlock.services.webhooks.subscribe import ManageWebhooks

TYPE = "task.progressed"
FOR_JOURNALS = "relation = 'interlock.journals'::regclass"
FOR_A_ROW = "locktype = 'transactionid'"
SUBSCRIBE = """insert into interlock.webhooks (webhook_id, tenant_id, user_id, url, events)
  values ($1, $2, 'ann', 'https://r.example/', array[$3])"""


class Process:
    """The part of a process that commits events: those of one execution of its own."""

    def __init__(self, ledger: PostgresLedger, runner_id: int, execution_id: UUID, seq: int) -> None:
        self._ledger = ledger
        self._runner_id = runner_id
        self._execution_id = execution_id
        self._seq = seq
        self._number = 0

    async def commit(self) -> int:
        """Commit one event; its number."""
        self._number, self._seq = self._number + 1, self._seq + 1
        flush = Flush(
            number=self._number,
            touched=[self._execution_id],
            execution_ids=[self._execution_id],
            seqs=[self._seq],
            types=[TYPE],
            data=["{}"],
            refs=[None],
            at=[AT + timedelta(seconds=self._seq)],
            trace_ids=["t"],
        )
        assert (await self._ledger.flush(self._runner_id, flush)).alive
        return self._seq


@dataclass
class Scene:
    """A database with a tenant, subscriptions of it, and somebody who can hold up others and look at everything."""

    database: Database
    tenant: Tenant
    webhooks: ManageWebhooks
    superuser: Any
    plant_in: Plant
    stack: AsyncExitStack

    async def process(self) -> Process:
        """A new one, that has not heard of any webhook."""
        ledger = PostgresLedger(self.database.serve_url, connections=1)
        await ledger.open()
        self.stack.push_async_callback(ledger.close)
        runner_id, _ = await ledger.register("p")
        found = await self.plant_in(self.database, tenant_id=self.tenant.tenant_id, owner=runner_id)
        return Process(ledger, runner_id, found.execution_id, found.events)

    async def subscribe(self) -> Webhook:
        url, events = "https://r.example/", [TYPE]
        return (await self.webhooks.create(self.tenant.principal, url=url, events=events)).webhook

    async def told(self) -> list[int]:
        """The events in the outbox."""
        return [row[0] for row in await self.superuser.fetch("select seq from interlock.outbox order by seq")]

    async def until_waiting(self, condition: str = FOR_JOURNALS) -> None:
        """Wait until somebody waits for a lock."""
        async with asyncio.timeout(10):
            while not await self.superuser.fetchval(f"select count(*) from pg_locks where not granted and {condition}"):
                await asyncio.sleep(0.005)


@pytest.fixture
async def scene(own_database: Database, new_tenant: Any, plant_in: Plant) -> AsyncIterator[Scene]:
    async with AsyncExitStack() as stack:
        store, ledger = PostgresStore(own_database.serve_url), PostgresLedger(own_database.serve_url, connections=1)
        for opened in (store, ledger):
            await opened.open()
            stack.push_async_callback(opened.close)
        clock = SystemClock()
        seals = AesGcmSecrets(GivenKeys(["a key for tests, of 32 bytes or more"]))
        secrets = PostgresSigningSecrets(ledger.connection, seals, clock)
        webhooks = ManageWebhooks(store, secrets, StoredUrls(AddressPolicy()), clock, RandomIds())
        superuser = await asyncpg.connect(own_database.superuser_url)
        stack.push_async_callback(superuser.close)
        yield Scene(own_database, new_tenant(), webhooks, superuser, plant_in, stack)


async def test_the_next_event_is_told_by_every_process(scene: Scene) -> None:
    """However sure they were that nobody listens; also by one that starts later."""
    processes = [await scene.process() for _ in range(2)]
    for process in processes:
        await process.commit()
    assert await scene.told() == []
    await scene.subscribe()
    told = [await process.commit() for process in processes]
    told.append(await (await scene.process()).commit())
    assert await scene.told() == sorted(told)


async def test_processes_stop_telling_and_begin_again_with_the_subscriptions(scene: Scene) -> None:
    process, principal = await scene.process(), scene.tenant.principal
    told = []
    for _ in range(3):
        webhook = await scene.subscribe()
        told += [await process.commit(), await process.commit()]
        await scene.webhooks.switch(principal, webhook.webhook_id, is_active=False)
        await process.commit()
        await scene.webhooks.switch(principal, webhook.webhook_id, is_active=True)
        told.append(await process.commit())
        await scene.webhooks.delete(principal, webhook.webhook_id)
        await process.commit()
    assert await scene.told() == told


async def test_a_further_subscription_is_heard_as_soon_as_the_first(scene: Scene, new_tenant: Any) -> None:
    """A process that tells already, but of others."""
    await scene.superuser.execute(SUBSCRIBE, RandomIds().new(), new_tenant().tenant_id, TYPE)
    process = await scene.process()
    await process.commit()
    assert await scene.told() == []
    await scene.subscribe()
    told = await process.commit()
    assert await scene.told() == [told]


@pytest.mark.parametrize("is_heard", [False, True])
async def test_a_subscription_is_answered_after_the_flushes_that_did_not_see_it(
    scene: Scene, new_tenant: Any, is_heard: bool
) -> None:
    """Whether they leave the outbox out, or look for subscriptions in it."""
    if is_heard:
        await scene.superuser.execute(SUBSCRIBE, RandomIds().new(), new_tenant().tenant_id, TYPE)
    process = await scene.process()
    await process.commit()
    async with scene.superuser.transaction():
        await scene.superuser.execute("select from interlock.journals for update")
        flush = asyncio.create_task(process.commit())
        await scene.until_waiting(FOR_A_ROW)
        subscription = asyncio.create_task(scene.subscribe())
        await scene.until_waiting()
        assert not flush.done() and not subscription.done()
    await asyncio.gather(flush, subscription)
    assert await scene.told() == [], "it was committed before anybody was answered"
    told = await process.commit()
    assert await scene.told() == [told]


@pytest.mark.parametrize("is_heard", [False, True])
async def test_a_flush_that_comes_while_a_subscription_is_committed_waits_and_tells(
    scene: Scene, new_tenant: Any, is_heard: bool
) -> None:
    if is_heard:
        await scene.superuser.execute(SUBSCRIBE, RandomIds().new(), new_tenant().tenant_id, TYPE)
    process = await scene.process()
    await process.commit()
    async with scene.superuser.transaction():
        await scene.superuser.execute(SUBSCRIBE, RandomIds().new(), scene.tenant.tenant_id, TYPE)
        await scene.superuser.execute("set constraints all immediate")  # what its commit begins with
        flush = asyncio.create_task(process.commit())
        await scene.until_waiting()
    told = await flush
    assert await scene.told() == [told]


async def test_a_flush_that_hangs_holds_up_a_subscription_for_two_seconds_and_then_it_is_refused(scene: Scene) -> None:
    process = await scene.process()
    async with scene.superuser.transaction():
        await scene.superuser.execute("select from interlock.journals for update")
        flush = asyncio.create_task(process.commit())
        await scene.until_waiting(FOR_A_ROW)
        with pytest.raises(InterlockError) as refused:
            await scene.subscribe()
        assert (refused.value.code, refused.value.retryable) == ("SERVICE_UNAVAILABLE", True)
    await flush
    assert await scene.webhooks.list(scene.tenant.principal) == []
    assert await scene.told() == []
