"""What became of the messages, and sending one again."""

from __future__ import annotations

from uuid import UUID

from interlock.core.errors import conflict, not_found
from interlock.core.principal import Principal, Scope
from interlock.core.subscription import Delivery
from interlock.ports.store import Store
from interlock.ports.webhooks import Outbox
from interlock.services.webhooks.subscribe import unknown_webhook


class ManageDeliveries:
    """The delivery log of the caller's tenant."""

    def __init__(self, store: Store, outbox: Outbox) -> None:
        self._store = store
        self._outbox = outbox

    async def list(self, principal: Principal, webhook_id: UUID, *, status: str | None, limit: int) -> list[Delivery]:
        """Deliveries of one webhook with all their attempts, newest first. Raises DENIED, NOT_FOUND."""
        principal.require(Scope.DEPLOYMENTS_READ)
        async with self._store.transaction(principal, read_only=True) as transaction:
            if await transaction.webhook(webhook_id) is None:
                raise unknown_webhook(webhook_id)
            return await transaction.list_deliveries(webhook_id, status, limit)

    async def redeliver(self, principal: Principal, delivery_id: UUID) -> Delivery:
        """Send the message of a delivery again, as a new delivery with an id of its own.

        Raises DENIED, NOT_FOUND, CONFLICT if its webhook is turned off.
        """
        principal.require(Scope.DEPLOYMENTS_WRITE)
        async with self._store.transaction(principal, read_only=True) as transaction:
            delivery = await transaction.delivery(delivery_id)
            webhook = await transaction.webhook(delivery.webhook_id) if delivery is not None else None
        if delivery is None or webhook is None:
            raise not_found("NOT_FOUND", f"There is no delivery {delivery_id}")
        if not webhook.is_active:
            raise conflict("WEBHOOK_DISABLED", f"The webhook {webhook.webhook_id} is turned off; turn it on first")
        again = await self._outbox.redeliver(principal.tenant_id, delivery_id)
        async with self._store.transaction(principal, read_only=True) as transaction:
            made = await transaction.delivery(again) if again is not None else None
        if made is None:
            raise not_found("NOT_FOUND", f"There is no delivery {delivery_id}")
        return made
