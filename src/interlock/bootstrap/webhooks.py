"""Webhooks of one server: where their rows and secrets are, what prepares calls, and the relay."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from uuid import UUID

import structlog

from interlock.backends.egress.address import AddressPolicy
from interlock.backends.egress.stored import StoredUrls
from interlock.backends.store.postgres.connection import EnginePool
from interlock.backends.store.postgres.ledger import PostgresLedger
from interlock.backends.store.postgres.webhook_ledger import PostgresWebhooks
from interlock.backends.store.postgres.webhook_secrets import PostgresSigningSecrets
from interlock.config import Settings
from interlock.core.audit import AuditEntry, Outcome
from interlock.core.errors import InterlockError
from interlock.kit.clock import Clock
from interlock.kit.hosts import in_url
from interlock.kit.ids import Ids
from interlock.ports.egress import Egress
from interlock.ports.secrets import Secrets
from interlock.ports.telemetry import WebhookTelemetry
from interlock.runtime.relay import OnDisabled, Relay
from interlock.runtime.webhook_calls import PrepareWebhookCalls
from interlock.services.access.audit import AuditLog
from interlock.services.webhooks.bundle import WebhookPorts

CONNECTIONS = 3
"""To the database, for webhooks alone."""
RESEAL_SECONDS = 3600.0
log = structlog.get_logger("bootstrap")


async def open_webhooks(
    url: str,
    allow: Sequence[str],
    secrets: Secrets,
    clock: Clock,
    telemetry: WebhookTelemetry,
    stack: AsyncExitStack,
) -> WebhookPorts:
    """Rows and secrets of webhooks; ``stack`` closes them. ``allow`` are the networks that may be called.

    They have connections of their own: however many messages there are, the engine waits for none of them.
    """
    pool = EnginePool(url, CONNECTIONS)
    await pool.open()
    stack.push_async_callback(pool.close)
    rows = PostgresWebhooks(pool.use)
    signing = PostgresSigningSecrets(pool.use, secrets, clock)
    keep_sealed(signing.reseal, stack)
    return WebhookPorts(rows, signing, telemetry, StoredUrls(AddressPolicy(allow)))


def keep_sealed(reseal: Callable[[], Awaitable[int]], stack: AsyncExitStack) -> None:
    """At the start, and then every hour: nothing stays sealed by a key that another one has taken the place of.

    ``reseal`` seals anew what needs it and says how much that was; ``stack`` ends it.
    """
    stack.push_async_callback(_end, asyncio.create_task(_keep_sealed(reseal), name="reseal"))


async def _keep_sealed(reseal: Callable[[], Awaitable[int]]) -> None:
    while True:
        try:
            count = await reseal()
        except InterlockError as error:
            log.warning("secrets.not_resealed", code=error.code, reason=error.message)
        except Exception:  # one round's error must not end the rounds
            log.exception("secrets.not_resealed")
        else:
            if count:
                log.info("secrets.resealed", secrets=count)
        await asyncio.sleep(RESEAL_SECONDS)


async def _end(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def prepare_calls(ports: WebhookPorts, settings: Settings, clock: Clock) -> PrepareWebhookCalls:
    """What webhook nodes are called with. Without a public address others are told the one that is listened on."""
    public_url = settings.public_url or f"http://{in_url(settings.host)}:{settings.port}"
    return PrepareWebhookCalls(ports.rows, ports.secrets, clock, public_url)


async def start_relay(
    ports: WebhookPorts,
    ledger: PostgresLedger,
    egress: Egress,
    clock: Clock,
    stack: AsyncExitStack,
    on_disabled: OnDisabled,
) -> None:
    """Begin to tell webhooks of events; ``stack`` ends it."""
    relay = Relay(ports.rows, ports.secrets, egress, clock, ports.telemetry, on_disabled)
    ledger.on_published = relay.wake
    relay.start()
    stack.push_async_callback(relay.stop)


def audit_disabled(audit: AuditLog, clock: Clock, ids: Ids) -> OnDisabled:
    """Tells the administrators of a tenant, in its audit log, that one of its webhooks was turned off."""

    def note(tenant_id: str, webhook_id: UUID, reason: str) -> None:
        audit.note(
            AuditEntry(
                audit_id=ids.new(),
                tenant_id=tenant_id,
                at=clock.now(),
                subject="relay",
                kind="server",
                action="WEBHOOK DISABLED",
                target=str(webhook_id),
                outcome=Outcome.DONE,
                status=200,
                code=f"WEBHOOK_{reason.upper()}",
                door="",
            )
        )

    return note
