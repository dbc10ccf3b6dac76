"""The edges of a draft: draw and delete."""

from __future__ import annotations

from interlock.core.draft import MAX_EDGES, broken, circle
from interlock.core.principal import Principal, Scope
from interlock.ports.store import Store
from interlock.services.drafts.find import changing, require_tasks


class DrawEdges:
    """Put one task behind another one."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def __call__(self, principal: Principal, draft_id: str, source: str, target: str) -> None:
        """Draw an edge; one that is there stays. Raises DENIED, NOT_FOUND, RULE for a circle."""
        principal.require(Scope.WORKFLOWS_WRITE)
        async with self._store.transaction(principal) as transaction:
            draft = await changing(transaction, draft_id)
            await require_tasks(transaction, draft, source, target)
            if source == target or await transaction.first_behind(draft.draft_id, target, [source]) is not None:
                raise circle(source, target)
            if await transaction.has_edge(draft.draft_id, source, target):
                return
            await transaction.draw_edges(draft.draft_id, [source], target, ["drawn"])
            if await transaction.count_edges(draft.draft_id) > MAX_EDGES:
                raise broken(f"A workflow has at most {MAX_EDGES} edges")


class DeleteEdges:
    """Let tasks go without one another."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def __call__(self, principal: Principal, draft_id: str, source: str, target: str) -> None:
        """Delete an edge, if it is there; what the target reads it still waits for. Raises DENIED, NOT_FOUND."""
        principal.require(Scope.WORKFLOWS_WRITE)
        async with self._store.transaction(principal) as transaction:
            draft = await changing(transaction, draft_id)
            await require_tasks(transaction, draft, source, target)
            await transaction.delete_edge(draft.draft_id, source, target)
