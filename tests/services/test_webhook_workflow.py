"""A subscription for a workflow that cannot be read is broken, and not one for a workflow that is not there."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest

from interlock.core.errors import InterlockError
from interlock.core.principal import Principal, Scope
from interlock.kit.clock import ManualClock
from interlock.kit.ids import CountingIds
from interlock.services.webhooks.subscribe import ManageWebhooks

PRINCIPAL = Principal("ann", "acme", frozenset({Scope.DEPLOYMENTS_WRITE, Scope.EXECUTIONS_READ}))


class Rows:
    """A store in which no flow is registered, and whose workflows cannot be read."""

    @asynccontextmanager
    async def transaction(self, principal: Principal) -> AsyncIterator[Rows]:
        yield self

    async def head(self, workflow_id: UUID) -> None:
        raise ValueError("a row that cannot be read")

    async def find_flow(self, flow_id: str) -> None:
        return None


async def subscribe(workflow: str) -> None:
    broken: Any = Rows()
    webhooks = ManageWebhooks(
        broken, broken, lambda url: None, ManualClock(datetime(2026, 11, 22, tzinfo=UTC)), CountingIds()
    )
    await webhooks.create(PRINCIPAL, url="https://example.com/", events=["execution.*"], workflow=workflow)


async def test_a_read_that_breaks_is_not_an_unknown_workflow() -> None:
    with pytest.raises(ValueError, match="cannot be read"):
        await subscribe("00000000-0000-4000-8000-000000000001")


async def test_what_is_no_id_is_the_name_of_a_flow() -> None:
    with pytest.raises(InterlockError, match="no workflow and no flow nightly"):
        await subscribe("nightly")
