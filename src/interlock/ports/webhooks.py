"""Webhooks: what a node needs to make a signed call, and what the relay and callbacks need to keep."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any, Protocol
from uuid import UUID

import msgspec

from interlock.core.events import CallbackReceived
from interlock.core.subscription import Delivery, Try, Webhook

CALLBACKS = "callbacks"
"""Whose secret proves callback tokens, one in each tenant."""
CALLS = "calls"
"""Whose secret signs calls to addresses that are no registered node."""


def of_node(node_id: str) -> str:
    """Whose secret signs the calls of a registered node."""
    return f"node/{node_id}"


def of_headers(version_id: UUID) -> str:
    """Whose secret are the headers (a JSON object) of one version of a registered node."""
    return f"headers/{version_id}"


def of_webhook(webhook_id: UUID) -> str:
    """Whose secret signs the messages of a subscription."""
    return f"webhook/{webhook_id}"


class WebhookCall(msgspec.Struct, frozen=True, kw_only=True):
    """What one attempt needs to call a webhook. ``secrets`` sign it, ``headers`` go with it.

    ``endpoint`` is that of a registered node, None for any other address.
    """

    session_id: str
    callback_url: str
    callback_token: str
    deadline: datetime
    now: datetime
    secrets: tuple[str, ...]
    headers: dict[str, str] = {}
    endpoint: str | None = None


class WebhookCalls(Protocol):
    """Prepares calls of webhook nodes."""

    async def prepare(
        self, tenant_id: str, execution_id: UUID, task_id: str, attempt: int, node_id: str | None, seconds: float | None
    ) -> WebhookCall:
        """What an attempt needs to call the registered node ``node_id``, or any address if that is None.

        The callback may come for ``seconds`` from now; None: as long as the node says. Raises NOT_FOUND.
        """
        ...


class SigningSecrets(Protocol):
    """Secrets by tenant and owner, sealed where they are kept. ``owner`` is one of the names above."""

    async def good(self, tenant_id: str, owner: str) -> tuple[str, ...]:
        """The texts that are good now, the newest first: two for a day after a change; none if there are none."""
        ...

    async def ensure(self, tenant_id: str, owner: str) -> tuple[str, ...]:
        """The same; a new random secret is made if there is none."""
        ...

    async def put(self, tenant_id: str, owner: str, secret: str, *, keeps_former: bool = True) -> None:
        """Put a text in place of the former one, which stays good for a day if ``keeps_former``."""
        ...

    async def drop(self, tenant_id: str, owner: str) -> None:
        """Forget it at once."""
        ...


class RegisteredNode(msgspec.Struct, frozen=True, kw_only=True):
    """One version of a node that a tenant registered to be called; its headers are a secret of their own."""

    version_id: UUID
    endpoint: str
    timeout_seconds: float
    has_headers: bool


class RegisteredNodes(Protocol):
    """Looks up whom to call, and who may call back."""

    async def node_for(self, execution_id: UUID, tenant_id: str, node_id: str) -> RegisteredNode | None:
        """The node as it was when the session started, for any other execution as it is; None if there is none."""
        ...

    async def is_registered(self, tenant_id: str, node_id: str) -> bool:
        """Whether the node is registered now."""
        ...

    async def bind_message(self, tenant_id: str, signer: str, message_id: str, execution_id: UUID) -> bool:
        """Remember for an hour which execution a signed message was for; False if it was for another one."""
        ...

    async def session_id(self, execution_id: UUID) -> str:
        """What an execution is called by whoever started it."""
        ...


class CallbackTarget(msgspec.Struct, frozen=True, kw_only=True):
    """The execution a callback is for. ``node_id`` is the registered node that its step calls.

    ``has_step`` tells whether the version has a step of that name.
    """

    tenant_id: str
    status: str
    is_ended: bool
    has_step: bool
    node_id: str | None = None


class AcceptedCallback(msgspec.Struct, frozen=True):
    task_id: str
    node_id: str
    digest: str
    callback_id: str


class FlowPosition(msgspec.Struct, frozen=True, kw_only=True):
    """Where an execution stands; ``active`` are the flow states it is in."""

    status: str
    waiting_reason: str | None
    active: tuple[str, ...]


class CallbackRows(Protocol):
    """What is known of executions that are called back."""

    async def callback_target(self, execution_id: UUID, step: str) -> CallbackTarget | None: ...

    async def accepted_callbacks(self, execution_id: UUID) -> list[AcceptedCallback]:
        """Those accepted last, at most 1,000."""
        ...

    async def was_accepted(self, execution_id: UUID, first_seq: int, last_seq: int) -> tuple[bool, str]:
        """Whether the callback recorded among these events was accepted, and if not, why."""
        ...

    async def position(self, execution_id: UUID) -> FlowPosition: ...

    async def late_callbacks(self, execution_id: UUID, digest: str, step: str) -> tuple[int, bool]:
        """How many came after the execution had ended, and whether one of them was equal to this."""
        ...

    async def keep_late(
        self, execution_id: UUID, tenant_id: str, told: dict[str, Any], event: CallbackReceived, trace_id: str
    ) -> None:
        """Keep a callback of an execution that has ended: what it said in the inbox, and ``event`` behind the log.

        Raises UNAVAILABLE: then send it again.
        """
        ...


class Due(msgspec.Struct, frozen=True, kw_only=True):
    """A delivery to attempt now, for the ``attempt``-th time; ``at`` and the rest are those of its event.

    ``session_id`` is what a client called its session; None if it left that to us.
    """

    delivery_id: UUID
    webhook_id: UUID
    tenant_id: str
    url: str
    attempt: int
    failures: int
    execution_id: UUID
    workflow_id: UUID | None
    is_session: bool
    session_id: str | None
    flow_id: str | None
    seq: int
    type: str
    at: datetime
    trace_id: str
    data: str | None  # JSON text; None if it is too large to send


class Outbox(Protocol):
    """Events that were committed and are to be told, and the deliveries made of them."""

    async def fan_out(self, limit: int) -> int:
        """Make deliveries of the oldest events in the outbox, all or nothing; how many events were taken."""
        ...

    async def take_due(
        self,
        limit: int,
        per_webhook: int,
        busy: Collection[UUID],
        lease: float,
        room: int,
        under_way: Mapping[str, int],
    ) -> list[Due]:
        """Deliveries that are due, tenant by tenant in turn, of all webhooks but ``busy`` ones.

        A tenant gets as many as there is ``room`` for beside those it has ``under_way``.
        Each is due again after ``lease`` seconds, unless it is settled before.
        """
        ...

    async def settle(
        self,
        due: Due,
        told: Try,
        *,
        is_delivered: bool,
        retry_in: float | None,
        disable: str | None,
    ) -> bool:
        """Write down how an attempt ended. ``disable`` turns the webhook off and says why.

        Changes nothing if another process has taken the delivery meanwhile. True if the webhook was turned off.
        """
        ...

    async def redeliver(self, tenant_id: str, delivery_id: UUID) -> UUID | None:
        """A new delivery of the same event to the same webhook, due at once; None if there is no such delivery."""
        ...

    async def purge(self, keep_days: int) -> None:
        """Forget deliveries that ended so long ago, ids of callbacks that can prove nothing any more, versions of nodes
        that no unfinished execution began with, and secrets of what is gone.
        """
        ...


class WebhookRows(RegisteredNodes, CallbackRows, Outbox, Protocol):
    """All rows of webhooks but the secrets."""


class WebhookQueries(Protocol):
    """The part of a caller's transaction that is about webhooks."""

    async def add_webhook(self, webhook: Webhook) -> None: ...
    async def webhook(self, webhook_id: UUID) -> Webhook | None: ...
    async def list_webhooks(self, limit: int) -> list[Webhook]: ...
    async def switch_webhook(self, webhook_id: UUID, is_active: bool, reason: str | None) -> bool: ...
    async def delete_webhook(self, webhook_id: UUID) -> bool: ...
    async def list_deliveries(self, webhook_id: UUID, status: str | None, limit: int) -> list[Delivery]: ...
    async def delivery(self, delivery_id: UUID) -> Delivery | None: ...
