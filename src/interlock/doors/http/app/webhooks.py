"""Outgoing webhooks: subscriptions, their deliveries, and sending one again."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import Meta

from interlock.core.errors import rule_broken
from interlock.core.principal import Scope
from interlock.core.subscription import Delivery, DeliveryStatus, Webhook
from interlock.doors.http.app.door import APP, read_id
from interlock.doors.http.plumbing.described import SigningSecret, described
from interlock.doors.http.plumbing.operation import Call, Handler, Keeping, Operation, Policy, Reply
from interlock.doors.http.plumbing.replies import NO_STORE, JsonReply
from interlock.kit.instants import rfc3339


class WebhookBody(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """``events`` are types, groups such as ``execution.*``, or ``*``; without ``workflow_id`` those of all.

    ``workflow_id`` may also be the id under which a flow is registered.
    """

    url: Annotated[str, Meta(min_length=1, max_length=2048)]
    events: Annotated[list[Annotated[str, Meta(max_length=64)]], Meta(min_length=1, max_length=100)]
    workflow_id: Annotated[str, Meta(min_length=1, max_length=128)] | None = None
    description: Annotated[str, Meta(max_length=500)] = ""
    secret: SigningSecret | None = None


class SwitchBody(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Whether messages are sent."""

    is_active: bool


class SecretBody(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """A secret of one's own; without it one is made."""

    secret: SigningSecret | None = None


class DeliveriesQuery(msgspec.Struct, kw_only=True):
    """``status`` is pending, delivered or failed; without it all."""

    status: Annotated[str, described(enum=[*DeliveryStatus])] | None = None
    limit: Annotated[int, Meta(ge=1, le=200)] = 50


class WebhookObject(msgspec.Struct, kw_only=True):
    """``disabled_reason`` is ``gone`` (the receiver said 410), ``failing`` (a day in vain), ``by hand``."""

    webhook_id: str
    url: str
    events: list[str]
    workflow_id: str | None
    description: str
    is_active: bool
    disabled_reason: str | None
    last_success_at: str | None
    created_at: str
    created_by: str


class NewWebhookObject(WebhookObject, kw_only=True):
    """With the secret that signs its messages, which is not shown again."""

    secret: str


class SigningSecretObject(msgspec.Struct, kw_only=True):
    """A secret, shown once."""

    secret: str


class WebhookList(msgspec.Struct, kw_only=True):
    webhooks: list[WebhookObject]
    total: int


class WebhookDeleted(msgspec.Struct, kw_only=True):
    success: bool
    message: str


class AttemptObject(msgspec.Struct, kw_only=True):
    attempt: int
    at: str
    status: int | None
    error: str | None
    milliseconds: int


class DeliveryObject(msgspec.Struct, kw_only=True):
    """``message_id`` is the ``webhook-id`` of every attempt; ``due_at`` is when the next one is made."""

    delivery_id: str
    message_id: str
    webhook_id: str
    execution_id: str
    seq: int
    type: str
    status: str
    attempts: list[AttemptObject]
    due_at: str | None
    created_at: str
    ended_at: str | None
    redelivery_of: str | None


class DeliveryList(msgspec.Struct, kw_only=True):
    deliveries: list[DeliveryObject]
    total: int


async def create(call: Call[WebhookBody, None]) -> Reply:
    """Subscribe to events."""
    body = call.body
    made = await call.services.webhooks.subscriptions.create(
        call.principal,
        url=body.url,
        events=body.events,
        workflow=body.workflow_id,
        description=body.description,
        secret=body.secret,
    )
    call.acts_on(str(made.webhook.webhook_id), f"events={','.join(body.events)}")
    return JsonReply(_with_secret(made.webhook, made.secret), status=201, headers=NO_STORE)


async def list_webhooks(call: Call[None, None]) -> Reply:
    """All subscriptions of the tenant, newest first."""
    found = [_webhook(webhook) for webhook in await call.services.webhooks.subscriptions.list(call.principal)]
    return JsonReply(WebhookList(webhooks=found, total=len(found)))


async def show(call: Call[None, None]) -> Reply:
    """One subscription."""
    webhook_id = read_id(call.path["webhook_id"], "webhook")
    return JsonReply(_webhook(await call.services.webhooks.subscriptions.get(call.principal, webhook_id)))


async def switch(call: Call[SwitchBody, None]) -> Reply:
    """Turn a subscription on or off."""
    call.acts_on(call.path["webhook_id"], f"active={call.body.is_active}".lower())
    webhook_id = read_id(call.path["webhook_id"], "webhook")
    manage = call.services.webhooks.subscriptions
    return JsonReply(_webhook(await manage.switch(call.principal, webhook_id, is_active=call.body.is_active)))


async def rotate(call: Call[SecretBody, None]) -> Reply:
    """Give a subscription a new secret; for a day messages carry a signature of the former one too."""
    webhook_id = read_id(call.path["webhook_id"], "webhook")
    made = await call.services.webhooks.subscriptions.rotate(call.principal, webhook_id, call.body.secret)
    return JsonReply(_with_secret(made.webhook, made.secret), headers=NO_STORE)


async def rotate_calls(call: Call[SecretBody, None]) -> Reply:
    """Set the secret that signs calls of webhook nodes to addresses that are not registered."""
    secret = await call.services.webhooks.subscriptions.rotate_calls(call.principal, call.body.secret)
    return JsonReply(SigningSecretObject(secret=secret), headers=NO_STORE)


async def delete(call: Call[None, None]) -> Reply:
    """Delete a subscription with its deliveries."""
    await call.services.webhooks.subscriptions.delete(call.principal, read_id(call.path["webhook_id"], "webhook"))
    return JsonReply(WebhookDeleted(success=True, message="Webhook deleted"))


async def list_deliveries(call: Call[None, DeliveriesQuery]) -> Reply:
    """Messages of a subscription with every attempt, newest first."""
    status = call.query.status
    if status is not None and status not in set(DeliveryStatus):
        known = ", ".join(DeliveryStatus)
        raise rule_broken("VALIDATION_ERROR", f"Unknown status {status[:64]!r}; use {known}", field="status")
    found = await call.services.webhooks.deliveries.list(
        call.principal, read_id(call.path["webhook_id"], "webhook"), status=status, limit=call.query.limit
    )
    return JsonReply(DeliveryList(deliveries=[_delivery(delivery) for delivery in found], total=len(found)))


async def redeliver(call: Call[None, None]) -> Reply:
    """Send a message again, as a new delivery."""
    delivery_id = read_id(call.path["delivery_id"], "delivery")
    made = await call.services.webhooks.deliveries.redeliver(call.principal, delivery_id)
    return JsonReply(_delivery(made), status=202)


def _fields(webhook: Webhook) -> dict[str, Any]:
    return {
        "webhook_id": str(webhook.webhook_id),
        "url": webhook.url,
        "events": list(webhook.events),
        "workflow_id": str(webhook.workflow_id) if webhook.workflow_id is not None else None,
        "description": webhook.description,
        "is_active": webhook.is_active,
        "disabled_reason": webhook.disabled_reason,
        "last_success_at": rfc3339(webhook.last_success_at) if webhook.last_success_at is not None else None,
        "created_at": rfc3339(webhook.created_at),
        "created_by": webhook.user_id,
    }


def _webhook(webhook: Webhook) -> WebhookObject:
    return WebhookObject(**_fields(webhook))


def _with_secret(webhook: Webhook, secret: str) -> NewWebhookObject:
    return NewWebhookObject(**_fields(webhook), secret=secret)


def _delivery(delivery: Delivery) -> DeliveryObject:
    return DeliveryObject(
        delivery_id=str(delivery.delivery_id),
        message_id=delivery.message_id,
        webhook_id=str(delivery.webhook_id),
        execution_id=str(delivery.execution_id),
        seq=delivery.seq,
        type=delivery.type,
        status=delivery.status,
        attempts=[
            AttemptObject(
                attempt=told.attempt,
                at=rfc3339(told.at),
                status=told.status,
                error=told.error,
                milliseconds=told.milliseconds,
            )
            for told in delivery.log
        ],
        due_at=rfc3339(delivery.due_at) if delivery.due_at is not None else None,
        created_at=rfc3339(delivery.created_at),
        ended_at=rfc3339(delivery.ended_at) if delivery.ended_at is not None else None,
        redelivery_of=str(delivery.redelivery_of) if delivery.redelivery_of is not None else None,
    )


def _operation(method: str, path: str, scope: Scope, summary: str, handler: Handler, **rest: Any) -> Operation:
    return Operation(
        method=method,
        path="/webhooks" + path,
        door=APP,
        summary=summary,
        handler=handler,
        policy=Policy.USER,
        scope=scope,
        tags=("webhooks",),
        **rest,
    )


_READ, _WRITE = Scope.DEPLOYMENTS_READ, Scope.DEPLOYMENTS_WRITE
WEBHOOKS: tuple[Operation, ...] = (
    _operation("GET", "", _READ, "List webhooks", list_webhooks, answer=WebhookList),
    _operation(
        "POST",
        "",
        _WRITE,
        "Make a webhook",
        create,
        body=WebhookBody,
        answer=NewWebhookObject,
        status=201,
        failures=(404, 409),
        keeping=Keeping.ONCE,
    ),
    _operation(
        "POST",
        "/signing-secret",
        Scope.REGISTRY_WRITE,
        "Set the secret of calls to addresses",
        rotate_calls,
        body=SecretBody,
        answer=SigningSecretObject,
        keeping=Keeping.ONCE,
    ),
    _operation("GET", "/{webhook_id}", _READ, "Show a webhook", show, answer=WebhookObject),
    _operation(
        "PATCH", "/{webhook_id}", _WRITE, "Turn a webhook on or off", switch, body=SwitchBody, answer=WebhookObject
    ),
    _operation("DELETE", "/{webhook_id}", _WRITE, "Delete a webhook", delete, answer=WebhookDeleted),
    _operation(
        "POST",
        "/{webhook_id}/rotate-secret",
        _WRITE,
        "Replace the secret of a webhook",
        rotate,
        body=SecretBody,
        answer=NewWebhookObject,
        keeping=Keeping.ONCE,
    ),
    _operation(
        "GET",
        "/{webhook_id}/deliveries",
        _READ,
        "List the deliveries of a webhook",
        list_deliveries,
        query=DeliveriesQuery,
        answer=DeliveryList,
    ),
    _operation(
        "POST",
        "/deliveries/{delivery_id}/redeliver",
        _WRITE,
        "Send a message again",
        redeliver,
        answer=DeliveryObject,
        status=202,
        failures=(409,),
        keeping=Keeping.ONCE,
    ),
)
