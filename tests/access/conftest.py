"""One served process for the tests of who may do what, and two tenants in it that have one of everything."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest

from serving import Serving
from tenants_house import Owner, owner_of_everything


@pytest.fixture(scope="session")
def serving(database: Any) -> Iterator[Serving]:
    """A process over the main database, in local mode: callers without a credential are there too."""
    with tempfile.TemporaryDirectory(prefix="interlock-access-") as folder:
        running = Serving(Path(folder), database.serve_url, INTERLOCK_LOCAL="true")
        try:
            yield running.ready()
        finally:
            running.stop()


@dataclass(frozen=True)
class Tenants:
    """Two that know nothing of each other."""

    a: Owner
    b: Owner


@pytest.fixture(scope="session")
async def tenants(serving: Serving) -> AsyncIterator[Tenants]:
    """Both have the same things under the same names, where names are theirs to choose."""
    async with httpx2.AsyncClient(base_url=serving.url, timeout=30.0) as http:
        yield Tenants(await owner_of_everything(serving.mint, http), await owner_of_everything(serving.mint, http))
