"""What the registry and scratch blackboards need of the store, under one caller's claims."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any, Protocol
from uuid import UUID

import msgspec

from interlock.core.workflow import Workflow


class WebhookNode(msgspec.Struct, frozen=True, kw_only=True):
    """A node that is called over HTTP, as it is now. Its secret and its headers are kept apart, sealed."""

    node_id: str
    name: str
    endpoint: str
    version_id: UUID
    description: str = ""
    param_schema: dict[str, Any] = {}
    timeout_seconds: float = 3600.0


class FlowEntry(msgspec.Struct, frozen=True, kw_only=True):
    """What a flow is called, and the newest version of the workflow it stands for."""

    flow_id: str
    workflow_id: UUID
    version_id: UUID
    number: int
    name: str
    description: str


class ScratchValue(msgspec.Struct, frozen=True):
    """A value of a blackboard without an execution; ``version`` counts its writes."""

    value: Any
    version: int


class RegistryQueries(Protocol):
    """The part of a transaction that is about registered things."""

    async def list_nodes(self) -> list[WebhookNode]: ...
    async def find_nodes(self, node_ids: Sequence[str]) -> dict[str, WebhookNode]: ...

    async def put_node(self, node: WebhookNode) -> None:
        """Add or replace; its version is one of ``add_node_version``."""
        ...

    async def add_node_version(
        self, version_id: UUID, node_id: str, endpoint: str, timeout_seconds: float, *, has_headers: bool
    ) -> None:
        """What sessions that start from now on keep to."""
        ...

    async def delete_node(self, node_id: str) -> bool: ...

    async def count_nodes(self) -> int:
        """All nodes of the tenant."""
        ...

    async def count_node_versions(self) -> int:
        """The versions that are kept of all nodes of the tenant, also of those that were forgotten."""
        ...

    async def count_flows(self) -> int:
        """All flows of the tenant."""
        ...

    async def list_flows(self) -> list[FlowEntry]: ...
    async def find_flow(self, flow_id: str) -> FlowEntry | None: ...

    async def name_flow(self, flow_id: str, workflow_id: UUID) -> bool:
        """Call a workflow by a name; False if another one that is not deleted has it."""
        ...

    async def add_hidden_workflow(self, workflow: Workflow) -> None:
        """A workflow that is in no list, for its version alone. Raises CONFLICT if it is there."""
        ...

    async def successors(self, session_id: str) -> list[str]:
        """The sessions that inherited from one, oldest first."""
        ...

    async def scratch(self, session_id: str) -> dict[str, ScratchValue]: ...
    async def lock_scratch(self, session_id: str) -> None: ...
    async def scratch_size(self, session_id: str, without: str) -> int: ...

    async def write_scratch(self, session_id: str, key: str, value: Any, size: int, lifetime: timedelta) -> int:
        """Write a key and keep the whole blackboard for ``lifetime`` from now; the key's new version."""
        ...
