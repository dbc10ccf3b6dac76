"""Workflows and versions under one caller's claims."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from interlock.backends.store.postgres.counting import COUNTED, total
from interlock.backends.store.postgres.queries import load
from interlock.backends.store.postgres.rows import encoded, head_of, version_of, workflow_of
from interlock.backends.store.postgres.session import Session
from interlock.core.workflow import Version, Workflow
from interlock.ports.store import Page, WorkflowHead

_SQL = load("workflows")
_FRAME = load("session")


class WorkflowQueries:
    """The part of a transaction that is about workflows. Deleted ones are not found."""

    _session: Session

    async def heads(self, workflow_ids: Sequence[UUID]) -> dict[UUID, WorkflowHead]:
        """The heads of those that exist and are visible."""
        rows = await self._session.rows(_SQL["heads"], workflow_ids)
        return {row["workflow_id"]: head_of(row) for row in rows}

    async def head(self, workflow_id: UUID) -> WorkflowHead | None:
        """What starting an execution needs to know, or None."""
        return (await self.heads([workflow_id])).get(workflow_id)

    async def workflow(self, workflow_id: UUID, number: int | None) -> Workflow | None:
        """A workflow with its version ``number``, or with its newest; its source is that of this version."""
        row = await self._session.row(_SQL["workflow"], workflow_id, number)
        return None if row is None else workflow_of(row)

    async def find_workflow(self, reference: str) -> UUID | None:
        """The id behind an id or a name; of several with one name, the one changed last."""
        found: UUID | None = await self._session.value(_SQL["find_workflow"], reference, _as_id(reference))
        return found

    async def list_workflows(self, *, search: str | None, tags: Sequence[str], limit: int, offset: int) -> Page:
        """Workflows, last changed first, whose name or description holds ``search`` and that have all ``tags``.

        The total is exact up to 10,000 and stays there.
        """
        wanted = (search or None, list(tags))
        await self._session.run(_FRAME["plan_by_values"])
        rows = await self._session.rows(_SQL["list_workflows"], *wanted, limit, offset)

        async def count() -> int:
            return int(await self._session.value(_SQL["count_workflows"], *wanted, COUNTED))

        return Page([workflow_of(row) for row in rows], await total(offset, limit, len(rows), count))

    async def count_workflows(self, at_most: int) -> int:
        """How many workflows the caller sees, counted no further than ``at_most``."""
        return int(await self._session.value(_SQL["count_workflows"], None, [], at_most))

    async def versions(self, workflow_id: UUID) -> list[Version]:
        """All versions of a workflow, newest first."""
        return [version_of(row) for row in await self._session.rows(_SQL["versions"], workflow_id)]

    async def versions_by_id(self, version_ids: Sequence[UUID]) -> dict[UUID, tuple[Version, int]]:
        """Versions, also of deleted workflows, each with the size of its definition in characters."""
        rows = await self._session.rows(_SQL["versions_by_id"], version_ids)
        return {row["version_id"]: (version_of(row), len(row["definition"])) for row in rows}

    async def add_workflow(self, workflow: Workflow) -> None:
        """A new workflow with its first version. Raises CONFLICT if its id is taken, DENIED if it is another's."""
        version = workflow.version
        await self._session.run(
            _SQL["add_workflow"],
            workflow.workflow_id,
            workflow.tenant_id,
            workflow.user_id,
            workflow.visibility,
            workflow.kind,
            workflow.name,
            workflow.description,
            workflow.tags,
            workflow.icon_url,
            version.version_id,
            version.number,
            encoded(workflow.source),
            workflow.created_at,
            workflow.updated_at,
        )
        await self._add_version(workflow)

    async def change_workflow(self, workflow: Workflow, expected_number: int) -> bool:
        """Move the head to ``workflow`` and add its version; False, and nothing done, if the newest is another number.

        A version with the expected number is the newest one itself: then only the rest changes.
        """
        version = workflow.version
        changed = await self._session.value(
            _SQL["change_workflow"],
            workflow.workflow_id,
            workflow.visibility,
            workflow.kind,
            workflow.name,
            workflow.description,
            workflow.tags,
            workflow.icon_url,
            version.version_id,
            version.number,
            encoded(workflow.source),
            expected_number,
            workflow.updated_at,
        )
        if changed is not None and version.number != expected_number:
            await self._add_version(workflow)
        return changed is not None

    async def delete_workflow(self, workflow_id: UUID) -> bool:
        """Hide a workflow from all further questions but those of its executions; False if there is none."""
        return await self._session.value(_SQL["delete_workflow"], workflow_id) is not None

    async def _add_version(self, workflow: Workflow) -> None:
        version = workflow.version
        await self._session.run(
            _SQL["add_version"],
            version.version_id,
            workflow.workflow_id,
            workflow.tenant_id,
            version.number,
            version.digest,
            encoded(version.definition),
            encoded(workflow.source),
            version.created_at,
            version.created_by,
        )


def _as_id(reference: str) -> UUID | None:
    try:
        return UUID(reference)
    except ValueError:
        return None
