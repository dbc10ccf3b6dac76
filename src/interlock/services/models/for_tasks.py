"""Model calls of tasks: each paid once, however often its attempt is repeated, by whoever started the execution."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID

import msgspec

from interlock.core.api_key import KEY_SUBJECT, ApiKey
from interlock.core.models.requests import Kind, read_chat, read_embeddings
from interlock.core.principal import Principal, Scope
from interlock.ports.models import Books, Place
from interlock.services.models.once import Claimed
from interlock.services.models.relay import RelayModels

SUBJECT = "engine"
"""Who calls, in the ledger, for an execution that nobody knows any more."""
KEEP_SECONDS = 30 * 86_400.0
"""How long an answer is kept for attempts of the same task."""
FindKey = Callable[[str], Awaitable[ApiKey | None]]
"""The API key with a public id, of whatever tenant, good or not."""


class CallForTasks:
    """Satisfies ``ports/models.ModelCalls``."""

    def __init__(self, relay: RelayModels, books: Books, find_key: FindKey) -> None:
        self._relay = relay
        self._books = books
        self._find_key = find_key

    async def call(
        self, tenant_id: str, execution_id: UUID, effect_key: str, trace_id: str, kind: Kind, body: dict[str, Any]
    ) -> dict[str, Any]:
        """The answer; it is kept in the commit that books it, before it is returned."""
        known = await self._books.recall(tenant_id, effect_key)
        if known is None:
            principal = await self._payer(tenant_id, execution_id)
            request = read_embeddings(body) if kind == "embeddings" else read_chat({**body, "stream": False})
            claimed = Claimed(Place(tenant_id=tenant_id, effect_key=effect_key, seconds=KEEP_SECONDS))
            known = (await self._relay.complete(principal, request, trace_id, claimed=claimed)).body
        answer: dict[str, Any] = msgspec.json.decode(known)
        return answer

    async def _payer(self, tenant_id: str, execution_id: UUID) -> Principal:
        """Whoever started the execution: a task spends that budget, and asks no model which that key may not ask.

        That a workflow asks models is a matter of who wrote it: the scope for it is given.
        """
        scopes = frozenset({Scope.MODELS_USE})
        subject = await self._books.starter_of(tenant_id, execution_id) or SUBJECT
        if subject.startswith(KEY_SUBJECT):
            key = await self._find_key(subject.removeprefix(KEY_SUBJECT))
            if key is not None and key.tenant_id == tenant_id:
                return msgspec.structs.replace(key.principal(), scopes=scopes)
        return Principal(subject, tenant_id, scopes, kind="service")
