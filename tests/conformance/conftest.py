"""What the conformance tests share."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from conftest import Database, Tenant
from engine_house import House


@pytest.fixture
async def house(own_database: Database, tenant: Tenant) -> AsyncIterator[House]:
    """A database of its own with room for engines; all of them are stopped at the end."""
    house = House(own_database, tenant)
    await house.open()
    yield house
    await house.close()
