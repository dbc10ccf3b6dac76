"""What a webhook node needs for one call: whom to call, where to call back, until when, and what signs it."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from urllib.parse import urlencode
from uuid import UUID

import msgspec

from interlock.core.callback import Place, make_token
from interlock.core.errors import InterlockError, not_found, unavailable
from interlock.core.webhook import key_of
from interlock.kit.clock import Clock
from interlock.ports.webhooks import (
    CALLBACKS,
    CALLS,
    RegisteredNode,
    RegisteredNodes,
    SigningSecrets,
    WebhookCall,
    of_headers,
    of_node,
)

DEFAULT_SECONDS = 3600.0
"""How long a callback may take unless somebody says otherwise."""
_PATIENCE = (0.2, 0.5, 1.0, 2.0, 4.0, 8.0)


class PrepareWebhookCalls:
    """Satisfies ``ports/webhooks.WebhookCalls``. ``public_url`` is where others reach this server."""

    def __init__(self, nodes: RegisteredNodes, secrets: SigningSecrets, clock: Clock, public_url: str) -> None:
        self._nodes = nodes
        self._secrets = secrets
        self._clock = clock
        self._public_url = public_url.rstrip("/")

    async def prepare(
        self, tenant_id: str, execution_id: UUID, task_id: str, attempt: int, node_id: str | None, seconds: float | None
    ) -> WebhookCall:
        for wait in _PATIENCE:  # a database of ours that is slow or away is no failure of the webhook
            try:
                return await self._prepare(tenant_id, execution_id, task_id, attempt, node_id, seconds)
            except InterlockError as error:
                if not error.retryable:
                    raise
                await asyncio.sleep(wait)
        return await self._prepare(tenant_id, execution_id, task_id, attempt, node_id, seconds)

    async def _prepare(
        self, tenant_id: str, execution_id: UUID, task_id: str, attempt: int, node_id: str | None, seconds: float | None
    ) -> WebhookCall:
        node = await self._nodes.node_for(execution_id, tenant_id, node_id) if node_id is not None else None
        if node_id is not None and node is None:
            raise not_found("NODE_NOT_FOUND", f"There is no registered node {node_id[:64]!r} any more")
        proof = (await self._secrets.ensure(tenant_id, CALLBACKS))[0]
        token = make_token(key_of(proof), tenant_id, execution_id, Place(task_id, attempt))
        now = self._clock.now()
        registered = node.timeout_seconds if node is not None else DEFAULT_SECONDS
        return WebhookCall(
            session_id=await self._nodes.session_id(execution_id),
            callback_url=f"{self._public_url}/api/workflow/{execution_id}/callback?{urlencode({'ct': token})}",
            callback_token=token,
            deadline=now + timedelta(seconds=seconds or registered),
            now=now,
            secrets=await self._secrets.ensure(tenant_id, of_node(node_id) if node_id is not None else CALLS),
            headers=await self._headers(tenant_id, node),
            endpoint=node.endpoint if node is not None else None,
        )

    async def _headers(self, tenant_id: str, node: RegisteredNode | None) -> dict[str, str]:
        if node is None or not node.has_headers:
            return {}
        kept = await self._secrets.good(tenant_id, of_headers(node.version_id))
        if not kept:
            raise unavailable("The headers of this node are being stored; try again")
        return msgspec.json.decode(kept[0], type=dict[str, str])
