"""Begin a draft."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

from interlock.core.errors import conflict
from interlock.core.principal import Principal, Scope
from interlock.kit.ids import Ids
from interlock.ports.store import Store

MAX_DRAFTS = 100_000
"""Drafts of one tenant."""
LIFETIME = timedelta(days=30)
"""How long a draft is kept after it was changed or run for the last time."""


class CreateDrafts:
    """Begin drafts; those that nobody has touched for long are forgotten then."""

    def __init__(self, store: Store, ids: Ids) -> None:
        self._store = store
        self._ids = ids

    async def __call__(self, principal: Principal, name: str) -> UUID:
        """The id of a new draft without tasks. Raises DENIED, CONFLICT beyond ``MAX_DRAFTS``."""
        principal.require(Scope.WORKFLOWS_WRITE)
        draft_id = self._ids.new()
        async with self._store.transaction(principal) as transaction:
            await transaction.forget_drafts(LIFETIME)
            if await transaction.count_drafts() >= MAX_DRAFTS:
                message = f"There are at most {MAX_DRAFTS} workflows that are built by calls; they are kept for 30 days"
                raise conflict("TOO_MANY_WORKFLOWS", message)
            await transaction.add_draft(draft_id, name)
        return draft_id
