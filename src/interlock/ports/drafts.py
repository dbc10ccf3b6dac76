"""What drafts need of the store, under one caller's claims."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Protocol
from uuid import UUID

from interlock.core.draft import Draft, DraftTask, EdgeKind, SavedTask, TaskKind
from interlock.core.workflow import Version


class DraftQueries(Protocol):
    """The part of a transaction that is about drafts. An unknown and a foreign draft are alike."""

    async def add_draft(self, draft_id: UUID, name: str) -> None: ...

    async def forget_drafts(self, age: timedelta) -> None:
        """Some of those that nobody has touched for so long."""
        ...

    async def count_drafts(self) -> int: ...

    async def draft(self, draft_id: UUID) -> Draft | None:
        """The draft as it is now; others may change it at once. It counts as used."""
        ...

    async def change_draft(self, draft_id: UUID) -> Draft | None:
        """The draft, which from now on says something new; nobody else changes it until the transaction ends."""
        ...

    async def use_draft(self, draft_id: UUID) -> Draft | None:
        """The draft, which stays as it is until the transaction ends."""
        ...

    async def add_draft_task(
        self, draft_id: UUID, task_id: str, kind: TaskKind, name: str | None, saved: SavedTask | None
    ) -> None:
        """A further task; without a name it is called by its number."""
        ...

    async def count_draft_tasks(self, draft_id: UUID) -> int: ...
    async def draft_task(self, draft_id: UUID, task_id: str) -> DraftTask | None: ...

    async def draft_tasks(self, draft_id: UUID) -> list[DraftTask]:
        """All of them in the order they were added."""
        ...

    async def draft_task_names(self, draft_id: UUID) -> list[tuple[str, str]]:
        """Ids and names in the order they were added; none of an unknown draft."""
        ...

    async def among_draft_tasks(self, draft_id: UUID, task_ids: Sequence[str]) -> set[str]:
        """Those of these that there are."""
        ...

    async def save_draft_task(self, draft_id: UUID, task_id: str, name: str | None, saved: SavedTask) -> None: ...

    async def delete_draft_task(self, draft_id: UUID, task_id: str) -> bool:
        """Delete it with its edges; False if there is none."""
        ...

    async def forget_edges_into(self, draft_id: UUID, target: str, kinds: Sequence[EdgeKind]) -> None: ...

    async def draw_edges(self, draft_id: UUID, sources: Sequence[str], target: str, kinds: Sequence[EdgeKind]) -> None:
        """Each source to the target, as each kind; what is there stays."""
        ...

    async def has_edge(self, draft_id: UUID, source: str, target: str) -> bool: ...
    async def delete_edge(self, draft_id: UUID, source: str, target: str) -> None: ...
    async def count_edges(self, draft_id: UUID) -> int: ...

    async def first_behind(self, draft_id: UUID, task_id: str, wanted: Sequence[str]) -> str | None:
        """One of ``wanted`` that comes behind a task, by edges or because it reads."""
        ...

    async def edges(self, draft_id: UUID) -> list[tuple[str, str]]:
        """Source and target of everything that puts tasks in an order, each pair once."""
        ...

    async def add_draft_version(self, tenant_id: str, draft: Draft, version: Version) -> bool:
        """Store a version of the draft; False if it is there."""
        ...

    async def set_frozen(self, draft_id: UUID, version_id: UUID) -> None:
        """From now on this version says what the draft says."""
        ...
