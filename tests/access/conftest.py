"""One served process for the tests of who may do what, and two tenants in it that have one of everything."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx2
import pytest

from conftest import Database, Postgres, further_database
from interlock.backends.store.postgres.migrate import migrate
from serving import Serving
from tenants_house import Owner, owner_of_everything


@pytest.fixture(scope="session")
async def database(postgres: Postgres) -> AsyncIterator[Database]:
    """A database of these tests alone. Whoever shares one shares its work as well, and what is written down of it: the
    process below would take messages of other tests' webhooks, whose secrets it cannot open.
    """
    async with further_database(postgres) as made:
        await migrate(made.migrate_url, made.server_role)
        yield made


@pytest.fixture(scope="session")
def serving(database: Database) -> Iterator[Serving]:
    """A process over that database, in local mode: callers without a credential are there too."""
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
