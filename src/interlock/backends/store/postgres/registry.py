"""Registered nodes and flows, and blackboards without an execution, under one caller's claims."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

import asyncpg

from interlock.backends.store.postgres.queries import load
from interlock.backends.store.postgres.rows import decoded, encoded
from interlock.backends.store.postgres.session import Session
from interlock.core.workflow import Workflow
from interlock.ports.registry import FlowEntry, ScratchValue, WebhookNode

_SQL = load("registry")
_WORKFLOWS = load("workflows")


class RegistryQueries:
    """Satisfies ``ports.registry.RegistryQueries``."""

    _session: Session

    async def list_nodes(self) -> list[WebhookNode]:
        """All nodes of the tenant by id."""
        return [_node_of(row) for row in await self._session.rows(_SQL["list_nodes"])]

    async def find_nodes(self, node_ids: Sequence[str]) -> dict[str, WebhookNode]:
        """Those of these nodes that there are."""
        rows = await self._session.rows(_SQL["find_nodes"], list(node_ids))
        return {row["node_id"]: _node_of(row) for row in rows}

    async def put_node(self, node: WebhookNode) -> None:
        """Add or replace a node; its version is that of ``add_node_version``."""
        await self._session.run(
            _SQL["put_node"],
            node.node_id,
            node.name,
            node.description,
            node.endpoint,
            encoded(node.param_schema),
            node.timeout_seconds,
            node.version_id,
        )

    async def add_node_version(
        self, version_id: UUID, node_id: str, endpoint: str, timeout_seconds: float, *, has_headers: bool
    ) -> None:
        """What sessions that start from now on keep to."""
        told = (version_id, node_id, endpoint, timeout_seconds, has_headers)
        await self._session.run(_SQL["add_node_version"], *told)

    async def delete_node(self, node_id: str) -> bool:
        """Forget a node; False if there is none."""
        return await self._session.value(_SQL["delete_node"], node_id) is not None

    async def count_nodes(self) -> int:
        """All nodes of the tenant."""
        return int(await self._session.value(_SQL["count_nodes"]))

    async def count_node_versions(self) -> int:
        """The versions that are kept of all nodes of the tenant, also of those that were forgotten."""
        return int(await self._session.value(_SQL["count_node_versions"]))

    async def count_flows(self) -> int:
        """All flows of the tenant."""
        return int(await self._session.value(_SQL["count_flows"]))

    async def list_flows(self) -> list[FlowEntry]:
        """All flows of the tenant by id."""
        return [FlowEntry(**row) for row in await self._session.rows(_SQL["list_flows"])]

    async def find_flow(self, flow_id: str) -> FlowEntry | None:
        """The flow of this id with its newest version, or None."""
        row = await self._session.row(_SQL["find_flow"], flow_id)
        return None if row is None else FlowEntry(**row)

    async def name_flow(self, flow_id: str, workflow_id: UUID) -> bool:
        """Call a workflow by a name; False if the name is taken."""
        return await self._session.value(_SQL["name_flow"], flow_id, workflow_id) is not None

    async def add_hidden_workflow(self, workflow: Workflow) -> None:
        """A workflow that is in no list, for its version alone."""
        version = workflow.version
        await self._session.run(
            _SQL["add_hidden_workflow"],
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
        await self._session.run(
            _WORKFLOWS["add_version"],
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

    async def successors(self, session_id: str) -> list[str]:
        """The sessions that inherited from one, oldest first, at most 1,000."""
        return [str(row[0]) for row in await self._session.rows(_SQL["successors"], session_id)]

    async def scratch(self, session_id: str) -> dict[str, ScratchValue]:
        """The keys of a blackboard without an execution that is not out of date."""
        rows = await self._session.rows(_SQL["scratch"], session_id)
        return {row["key"]: ScratchValue(decoded(row["value"]), row["version"]) for row in rows}

    async def lock_scratch(self, session_id: str) -> None:
        """Until the transaction ends nobody else writes this blackboard; what is out of date is forgotten."""
        await self._session.run(_SQL["lock_scratch"], session_id)
        await self._session.run(_SQL["forget_scratch"])

    async def scratch_size(self, session_id: str, without: str) -> int:
        """Bytes of all values but one."""
        return int(await self._session.value(_SQL["scratch_size"], session_id, without))

    async def write_scratch(self, session_id: str, key: str, value: Any, size: int, lifetime: timedelta) -> int:
        """Write a key and keep the whole blackboard for ``lifetime`` from now; the key's new version."""
        version = await self._session.value(_SQL["write_scratch"], session_id, key, encoded(value), size, lifetime)
        await self._session.run(_SQL["keep_scratch"], session_id, lifetime)
        return int(version)


def _node_of(row: asyncpg.Record) -> WebhookNode:
    return WebhookNode(**{**row, "param_schema": decoded(row["param_schema"])})
