"""A database that stands still for longer than every lease, and goes on: nobody is declared dead for it."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from conftest import Database, Postgres, Tenant
from engine_house import DEADLINE, Gate, House, chain, node
from interlock.backends.store.embedded import EmbeddedPostgres
from interlock.backends.store.embedded.roles import SERVER
from interlock.backends.store.postgres.migrate import migrate
from interlock.runtime.liveness import LEASE

PAUSE = LEASE + 2.0


@pytest.fixture
async def cluster() -> AsyncIterator[EmbeddedPostgres]:
    """A Postgres of this test alone: the one of the session has other users."""
    root = Path(tempfile.mkdtemp(prefix="interlock-pause-"))
    root.chmod(0o755)  # root's Postgres may have to run as another user, who must get here
    server = EmbeddedPostgres(root / "data", None, root / "shared")
    try:
        yield server
    finally:
        await server.stop()
        shutil.rmtree(root)


@pytest.fixture
async def house(cluster: EmbeddedPostgres, tenant: Tenant) -> AsyncIterator[House]:
    urls = await cluster.start()
    await migrate(urls.migrate_url, SERVER)
    database: Database = Postgres(cluster, urls).database()
    house = House(database, tenant)
    await house.open()
    yield house
    await house.close()


@contextmanager
def standing_still(postmaster: int) -> Iterator[None]:
    """The server and all its processes are stopped, none is killed."""
    frozen = [postmaster]
    os.kill(postmaster, signal.SIGSTOP)  # first, so that it forks no more
    try:
        for child in Path(f"/proc/{postmaster}/task/{postmaster}/children").read_text().split():
            with suppress(ProcessLookupError):  # a connection that was just closed
                os.kill(int(child), signal.SIGSTOP)
                frozen.append(int(child))
        yield
    finally:
        for pid in frozen:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)


async def _postmaster(house: House) -> int:
    rows = await house.rows("select pg_read_file('postmaster.pid')")
    return int(rows[0][0].splitlines()[0])


async def test_a_pause_of_the_database_is_a_pause_of_the_work_and_nothing_else(house: House) -> None:
    gates = Gate(), Gate()
    engines = [await house.engine(f"e{number}", nodes=(gate,)) for number, gate in enumerate(gates)]
    held = [await house.start(engine, chain(node("g", "gate"), node("b")), wait=0) for engine in engines]
    for gate in gates:
        await asyncio.wait_for(gate.entered.wait(), DEADLINE)
    runners = [engine.runner_id for engine in engines]
    postmaster = await _postmaster(house)
    with standing_still(postmaster):
        for gate in gates:
            gate.opened.set()  # these results cannot be recorded now
        await asyncio.sleep(PAUSE)
    for engine, standing in zip(engines, held, strict=True):
        done = await engine.standing(standing.execution_id, 2 * DEADLINE)
        assert (done.status, done.output) == ("succeeded", {"by": 1})
        log = await house.log(standing.execution_id)
        assert [kind for _, kind in log].count("task.completed") == 2
        assert [seq for seq, _ in log] == list(range(1, len(log) + 1))
    assert [len(gate.attempts) for gate in gates] == [1, 1], "nothing was taken over or begun again"
    found = await house.rows("select runner_id from interlock.runners order by runner_id")
    assert [row[0] for row in found] == runners, "both live on under the id they had"
