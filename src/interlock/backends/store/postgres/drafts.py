"""Drafts of task graphs under one caller's claims."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

import asyncpg
import msgspec

from interlock.backends.store.postgres.queries import load
from interlock.backends.store.postgres.rows import encoded
from interlock.backends.store.postgres.session import Session
from interlock.core.draft import Draft, DraftTask, EdgeKind, SavedTask, TaskKind
from interlock.core.workflow import Version

_SQL = load("drafts")
_WORKFLOWS = load("workflows")
_read_saved = msgspec.json.Decoder(SavedTask).decode


class DraftQueries:
    """Satisfies ``ports.drafts.DraftQueries``."""

    _session: Session

    async def add_draft(self, draft_id: UUID, name: str) -> None:
        """A new one without tasks."""
        await self._session.run(_SQL["add_draft"], draft_id, name)

    async def forget_drafts(self, age: timedelta) -> None:
        """Some of those that nobody has touched for so long."""
        await self._session.run(_SQL["forget_drafts"], age)

    async def count_drafts(self) -> int:
        """All drafts of the tenant."""
        return int(await self._session.value(_SQL["count_drafts"]))

    async def draft(self, draft_id: UUID) -> Draft | None:
        """The draft as it is now."""
        return _draft(await self._session.row(_SQL["draft"], draft_id))

    async def change_draft(self, draft_id: UUID) -> Draft | None:
        """The draft, locked, and from now on without a version that says the same."""
        return _draft(await self._session.row(_SQL["change_draft"], draft_id))

    async def use_draft(self, draft_id: UUID) -> Draft | None:
        """The draft, locked and touched."""
        return _draft(await self._session.row(_SQL["use_draft"], draft_id))

    async def add_draft_task(
        self, draft_id: UUID, task_id: str, kind: TaskKind, name: str | None, saved: SavedTask | None
    ) -> None:
        """A further task; without a name it is called by its number."""
        content = None if saved is None else encoded(saved)
        await self._session.run(_SQL["add_task"], draft_id, task_id, kind, name, content)

    async def count_draft_tasks(self, draft_id: UUID) -> int:
        """How many tasks there are."""
        return int(await self._session.value(_SQL["count_tasks"], draft_id))

    async def draft_task(self, draft_id: UUID, task_id: str) -> DraftTask | None:
        """One task, or None."""
        row = await self._session.row(_SQL["task"], draft_id, task_id)
        return None if row is None else _task(row)

    async def draft_tasks(self, draft_id: UUID) -> list[DraftTask]:
        """All of them in the order they were added."""
        return [_task(row) for row in await self._session.rows(_SQL["tasks"], draft_id)]

    async def draft_task_names(self, draft_id: UUID) -> list[tuple[str, str]]:
        """Ids and names in the order they were added."""
        return [(row["task_id"], row["name"]) for row in await self._session.rows(_SQL["task_names"], draft_id)]

    async def among_draft_tasks(self, draft_id: UUID, task_ids: Sequence[str]) -> set[str]:
        """Those of these that there are."""
        rows = await self._session.rows(_SQL["among_tasks"], draft_id, list(task_ids))
        return {row["task_id"] for row in rows}

    async def save_draft_task(self, draft_id: UUID, task_id: str, name: str | None, saved: SavedTask) -> None:
        """Replace what a task does; without a name it keeps its own."""
        await self._session.run(_SQL["save_task"], draft_id, task_id, name, encoded(saved))

    async def delete_draft_task(self, draft_id: UUID, task_id: str) -> bool:
        """Delete it with its edges; False if there is none."""
        if await self._session.value(_SQL["delete_task"], draft_id, task_id) is None:
            return False
        await self._session.run(_SQL["delete_edges_of"], draft_id, task_id)
        return True

    async def forget_edges_into(self, draft_id: UUID, target: str, kinds: Sequence[EdgeKind]) -> None:
        """Those of some kinds."""
        await self._session.run(_SQL["delete_edges_into"], draft_id, target, list(kinds))

    async def draw_edges(self, draft_id: UUID, sources: Sequence[str], target: str, kinds: Sequence[EdgeKind]) -> None:
        """Each source to the target, as each kind."""
        await self._session.run(_SQL["add_edges"], draft_id, list(sources), target, list(kinds))

    async def has_edge(self, draft_id: UUID, source: str, target: str) -> bool:
        """Whether an edge was drawn, by whatever."""
        return bool(await self._session.value(_SQL["has_edge"], draft_id, source, target))

    async def delete_edge(self, draft_id: UUID, source: str, target: str) -> None:
        """Forget an edge, if it is there; what the target reads is as before."""
        await self._session.run(_SQL["delete_edge"], draft_id, source, target)

    async def count_edges(self, draft_id: UUID) -> int:
        """How many pairs of tasks are joined."""
        return int(await self._session.value(_SQL["count_edges"], draft_id))

    async def first_behind(self, draft_id: UUID, task_id: str, wanted: Sequence[str]) -> str | None:
        """One of ``wanted`` that comes behind a task."""
        found = await self._session.value(_SQL["first_behind"], draft_id, task_id, list(wanted))
        return None if found is None else str(found)

    async def edges(self, draft_id: UUID) -> list[tuple[str, str]]:
        """Source and target of everything that puts tasks in an order."""
        return [(row["source"], row["target"]) for row in await self._session.rows(_SQL["edges"], draft_id)]

    async def add_draft_version(self, tenant_id: str, draft: Draft, version: Version) -> bool:
        """Store a version of the draft; False if it is there."""
        if await self._session.value(_SQL["has_version"], version.version_id):
            return False
        name = draft.name or str(draft.draft_id)
        told = (draft.draft_id, name, version.version_id, version.number, version.created_at)
        await self._session.run(_SQL["add_hidden_workflow"], *told)
        await self._session.run(
            _WORKFLOWS["add_version"],
            version.version_id,
            draft.draft_id,
            tenant_id,
            version.number,
            version.digest,
            encoded(version.definition),
            "{}",
            version.created_at,
            version.created_by,
        )
        await self._session.run(_SQL["count_version"], draft.draft_id, version.number)
        return True

    async def set_frozen(self, draft_id: UUID, version_id: UUID) -> None:
        """From now on this version says what the draft says."""
        await self._session.run(_SQL["set_frozen"], draft_id, version_id)


def _draft(row: asyncpg.Record | None) -> Draft | None:
    return None if row is None else Draft(**row)


def _task(row: asyncpg.Record) -> DraftTask:
    content = row["content"]
    saved = None if content is None else _read_saved(content)
    return DraftTask(task_id=row["task_id"], kind=row["kind"], name=row["name"], saved=saved)
