"""Subscriptions: make, list, turn on and off, change the secret, delete."""

from __future__ import annotations

import secrets as randomness
from collections.abc import Sequence
from uuid import UUID

import msgspec

from interlock.core.errors import InterlockError, conflict, not_found
from interlock.core.principal import Principal, Scope
from interlock.core.subscription import Webhook, event_types
from interlock.core.webhook import SECRET_BYTES, key_of, make_secret
from interlock.kit.clock import Clock
from interlock.kit.ids import Ids
from interlock.ports.egress import CheckUrl
from interlock.ports.store import Store, Transaction
from interlock.ports.webhooks import CALLS, SigningSecrets, of_webhook
from interlock.services.webhooks.addresses import check_address

MAX_WEBHOOKS = 100
"""Subscriptions of a tenant."""


class Subscribed(msgspec.Struct, frozen=True):
    """A new subscription and the secret that signs its messages, which is not shown again."""

    webhook: Webhook
    secret: str


class ManageWebhooks:
    """Subscriptions of the caller's tenant. Messages tell of what the tenant shares and of what their maker may see."""

    def __init__(self, store: Store, secrets: SigningSecrets, check_url: CheckUrl, clock: Clock, ids: Ids) -> None:
        self._store = store
        self._secrets = secrets
        self._check_url = check_url
        self._clock = clock
        self._ids = ids

    async def create(
        self,
        principal: Principal,
        *,
        url: str,
        events: Sequence[str],
        workflow: str | None = None,
        description: str = "",
        secret: str | None = None,
    ) -> Subscribed:
        """Subscribe. Without a secret of the caller's one is made. ``workflow`` is the id of one, or of a flow.

        Raises DENIED, RULE for an address, type or secret that cannot be used, NOT_FOUND for the workflow, CONFLICT
        beyond ``MAX_WEBHOOKS``.
        """
        _require(principal, Scope.DEPLOYMENTS_WRITE)
        check_address(self._check_url, "url", url)
        wanted = Webhook(
            webhook_id=self._ids.new(),
            tenant_id=principal.tenant_id,
            user_id=principal.subject,
            url=url,
            description=description,
            events=event_types(events),
            workflow_id=None,
            is_active=True,
            disabled_reason=None,
            last_success_at=None,
            created_at=self._clock.now(),
        )
        text = _secret(secret)
        async with self._store.transaction(principal) as transaction:
            workflow_id = await _find_workflow(transaction, workflow) if workflow is not None else None
            webhook = msgspec.structs.replace(wanted, workflow_id=workflow_id)
            if len(await transaction.list_webhooks(MAX_WEBHOOKS)) >= MAX_WEBHOOKS:
                raise conflict("TOO_MANY_WEBHOOKS", f"A tenant has at most {MAX_WEBHOOKS} webhooks; delete one first")
            await transaction.add_webhook(webhook)
            # Last: what is refused leaves no secret, and nobody sees the webhook before its secret is there.
            await self._secrets.put(principal.tenant_id, of_webhook(webhook.webhook_id), text)
        return Subscribed(webhook, text)

    async def list(self, principal: Principal) -> list[Webhook]:
        """Those of the tenant, newest first. Raises DENIED."""
        _require(principal, Scope.DEPLOYMENTS_READ)
        async with self._store.transaction(principal, read_only=True) as transaction:
            return await transaction.list_webhooks(MAX_WEBHOOKS)

    async def get(self, principal: Principal, webhook_id: UUID) -> Webhook:
        """Raises DENIED, NOT_FOUND."""
        _require(principal, Scope.DEPLOYMENTS_READ)
        async with self._store.transaction(principal, read_only=True) as transaction:
            webhook = await transaction.webhook(webhook_id)
        if webhook is None:
            raise unknown_webhook(webhook_id)
        return webhook

    async def switch(self, principal: Principal, webhook_id: UUID, *, is_active: bool) -> Webhook:
        """Turn it on or off. What is due waits meanwhile; events of that time are not told later.

        Raises DENIED, NOT_FOUND, RULE if its address can no longer be called.
        """
        _require(principal, Scope.DEPLOYMENTS_WRITE)
        if is_active:
            check_address(self._check_url, "url", (await self.get(principal, webhook_id)).url)
        reason = None if is_active else "by hand"
        async with self._store.transaction(principal) as transaction:
            if not await transaction.switch_webhook(webhook_id, is_active, reason):
                raise unknown_webhook(webhook_id)
        return await self.get(principal, webhook_id)

    async def rotate(self, principal: Principal, webhook_id: UUID, secret: str | None = None) -> Subscribed:
        """Give it a new secret; for a day its messages are signed with the former one as well.

        Raises DENIED, NOT_FOUND, RULE.
        """
        _require(principal, Scope.DEPLOYMENTS_WRITE)
        webhook, text = await self.get(principal, webhook_id), _secret(secret)
        await self._secrets.put(principal.tenant_id, of_webhook(webhook_id), text)
        return Subscribed(webhook, text)

    async def rotate_calls(self, principal: Principal, secret: str | None = None) -> str:
        """A new secret for calls of webhook nodes to addresses that are not registered. Raises DENIED, RULE."""
        principal.require(Scope.REGISTRY_WRITE)
        text = _secret(secret)
        await self._secrets.put(principal.tenant_id, CALLS, text)
        return text

    async def delete(self, principal: Principal, webhook_id: UUID) -> None:
        """Delete it with its deliveries. Raises DENIED, NOT_FOUND."""
        _require(principal, Scope.DEPLOYMENTS_WRITE)
        async with self._store.transaction(principal) as transaction:
            if not await transaction.delete_webhook(webhook_id):
                raise unknown_webhook(webhook_id)
        await self._secrets.drop(principal.tenant_id, of_webhook(webhook_id))


async def _find_workflow(transaction: Transaction, reference: str) -> UUID:
    """The workflow with this id, or the one that is registered as this flow. Raises NOT_FOUND."""
    workflow_id = _read_id(reference)
    if workflow_id is not None and await transaction.head(workflow_id) is not None:
        return workflow_id
    flow = await transaction.find_flow(reference)
    if flow is None:
        raise not_found("NOT_FOUND", f"There is no workflow and no flow {reference[:64]}")
    return flow.workflow_id


def _read_id(reference: str) -> UUID | None:
    """The id that a reference is; None for the name of a flow."""
    try:
        return UUID(reference)
    except ValueError:
        return None


def unknown_webhook(webhook_id: UUID) -> InterlockError:
    return not_found("NOT_FOUND", f"There is no webhook {webhook_id}")


def _require(principal: Principal, scope: Scope) -> None:
    """Whoever hears of executions must also be allowed to read them."""
    principal.require(scope)
    principal.require(Scope.EXECUTIONS_READ)


def _secret(given: str | None) -> str:
    if given is None:
        return make_secret(randomness.token_bytes(SECRET_BYTES))
    key_of(given)
    return given
