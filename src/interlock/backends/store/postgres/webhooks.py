"""Subscriptions and deliveries under one caller's claims."""

from __future__ import annotations

from uuid import UUID

import asyncpg
import msgspec

from interlock.backends.store.postgres.queries import load
from interlock.backends.store.postgres.session import Session
from interlock.core.subscription import Delivery, DeliveryStatus, Try, Webhook

_SQL = load("webhooks")
_tries: msgspec.json.Decoder[tuple[Try, ...]] = msgspec.json.Decoder(tuple[Try, ...])


class WebhookQueries:
    """The part of a transaction that is about webhooks."""

    _session: Session

    async def add_webhook(self, webhook: Webhook) -> None:
        """A new subscription. Raises DENIED for one of another tenant or person."""
        await self._session.run(
            _SQL["add_webhook"],
            webhook.webhook_id,
            webhook.tenant_id,
            webhook.user_id,
            webhook.url,
            webhook.description,
            webhook.events,
            webhook.workflow_id,
            webhook.created_at,
        )

    async def webhook(self, webhook_id: UUID) -> Webhook | None:
        row = await self._session.row(_SQL["webhook"], webhook_id)
        return None if row is None else webhook_of(row)

    async def list_webhooks(self, limit: int) -> list[Webhook]:
        """Newest first."""
        return [webhook_of(row) for row in await self._session.rows(_SQL["list_webhooks"], limit)]

    async def switch_webhook(self, webhook_id: UUID, is_active: bool, reason: str | None) -> bool:
        """Turn a subscription on or off; False if there is none."""
        return await self._session.value(_SQL["switch_webhook"], webhook_id, is_active, reason) is not None

    async def delete_webhook(self, webhook_id: UUID) -> bool:
        """Delete a subscription with its deliveries; False if there is none."""
        return await self._session.value(_SQL["delete_webhook"], webhook_id) is not None

    async def list_deliveries(self, webhook_id: UUID, status: str | None, limit: int) -> list[Delivery]:
        """Newest first."""
        rows = await self._session.rows(_SQL["list_deliveries"], webhook_id, status, limit)
        return [delivery_of(row) for row in rows]

    async def delivery(self, delivery_id: UUID) -> Delivery | None:
        row = await self._session.row(_SQL["delivery"], delivery_id)
        return None if row is None else delivery_of(row)


def webhook_of(row: asyncpg.Record) -> Webhook:
    """A subscription from its row."""
    columns = dict(row)
    return Webhook(**columns | {"events": tuple(columns["events"])})


def delivery_of(row: asyncpg.Record) -> Delivery:
    """A delivery from its row."""
    columns = dict(row)
    return Delivery(**columns | {"status": DeliveryStatus(columns["status"]), "log": _tries.decode(columns["log"])})
