"""What a webhook node needs for one call: where to call back, until when, and what signs it."""

from __future__ import annotations

from datetime import timedelta
from urllib.parse import urlencode
from uuid import UUID

import msgspec

from interlock.core.callback import Place, make_token
from interlock.core.webhook import key_of
from interlock.kit.clock import Clock
from interlock.ports.webhooks import CALLBACKS, CALLS, SigningSecrets, WebhookCall, headers_of_node, of_node

_headers: msgspec.json.Decoder[dict[str, str]] = msgspec.json.Decoder(dict[str, str])


class PrepareWebhookCalls:
    """Satisfies ``ports/webhooks.WebhookCalls``. ``public_url`` is where others reach this server."""

    def __init__(self, secrets: SigningSecrets, clock: Clock, public_url: str) -> None:
        self._secrets = secrets
        self._clock = clock
        self._public_url = public_url.rstrip("/")

    async def prepare(
        self, tenant_id: str, execution_id: UUID, task_id: str, attempt: int, node_id: str | None, seconds: float
    ) -> WebhookCall:
        proof = (await self._secrets.ensure(tenant_id, CALLBACKS))[-1]
        token = make_token(key_of(proof), tenant_id, execution_id, Place(task_id, attempt))
        owner = of_node(node_id) if node_id is not None else CALLS
        kept = await self._secrets.good(tenant_id, headers_of_node(node_id)) if node_id is not None else ()
        now = self._clock.now()
        return WebhookCall(
            callback_url=f"{self._public_url}/api/workflow/{execution_id}/callback?{urlencode({'ct': token})}",
            callback_token=token,
            deadline=now + timedelta(seconds=seconds),
            now=now,
            secrets=await self._secrets.ensure(tenant_id, owner),
            headers=_headers.decode(kept[0]) if kept else {},
        )
