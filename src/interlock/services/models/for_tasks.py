"""Model calls of tasks: each paid once, however often its attempt is repeated."""

from __future__ import annotations

from typing import Any

import msgspec

from interlock.core.models.requests import Kind, read_chat, read_embeddings
from interlock.core.principal import Principal, Scope
from interlock.ports.models import Books, Place
from interlock.services.models.once import Claimed
from interlock.services.models.relay import RelayModels

SUBJECT = "engine"
"""Who calls in the ledger; the budget is the tenant's."""
KEEP_SECONDS = 30 * 86_400.0
"""How long an answer is kept for attempts of the same task."""


class CallForTasks:
    """Satisfies ``ports/models.ModelCalls``."""

    def __init__(self, relay: RelayModels, books: Books) -> None:
        self._relay = relay
        self._books = books

    async def call(
        self, tenant_id: str, effect_key: str, trace_id: str, kind: Kind, body: dict[str, Any]
    ) -> dict[str, Any]:
        """The answer; it is kept in the commit that books it, before it is returned."""
        known = await self._books.recall(tenant_id, effect_key)
        if known is None:
            principal = Principal(SUBJECT, tenant_id, frozenset({Scope.MODELS_USE}), kind="service")
            request = read_embeddings(body) if kind == "embeddings" else read_chat({**body, "stream": False})
            claimed = Claimed(Place(tenant_id=tenant_id, effect_key=effect_key, seconds=KEEP_SECONDS))
            known = (await self._relay.complete(principal, request, trace_id, claimed=claimed)).body
        answer: dict[str, Any] = msgspec.json.decode(known)
        return answer
